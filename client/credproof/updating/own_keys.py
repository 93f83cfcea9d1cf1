"""A provider's own key set, as its home knows it."""

from __future__ import annotations

from collections.abc import Iterable

from tuf.api.metadata import Snapshot, Targets

from credproof.base.errors import Conflict, Malformed
from credproof.base.keys import PublicKey
from credproof.home import Home
from credproof.roots import state_folder
from credproof.updating.metadata import SNAPSHOT, make_key_set, parse, provider_role


def key_set(home: Home) -> Targets | None:
    """The key set that this home's provider signed, as it was seen last; None if none.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    role = provider_role(home.settings.id)
    path = state_folder(home.folder, home.settings.root) / f"{role}.json"
    return parse(path.read_bytes(), Targets, role).signed if path.exists() else None


def key_set_in_force(home: Home) -> Targets | None:
    """The same, if the newest snapshot that was seen names it: one that was lost does not count.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    path = state_folder(home.folder, home.settings.root) / f"{SNAPSHOT}.json"
    named = parse(path.read_bytes(), Snapshot, SNAPSHOT).signed.meta
    return key_set(home) if f"{provider_role(home.settings.id)}.json" in named else None


def key_ids(found: Targets) -> tuple[str, ...]:
    """The fingerprints in a key set."""
    return tuple(sorted(path.rpartition("/")[2] for path in found.targets))


def keys_in(data: bytes, provider: str) -> tuple[str, ...]:
    """The fingerprints in a provider's key set, as `sign_keys` made it; nothing is verified.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    return key_ids(parse(data, Targets, provider_role(provider)).signed)


def sign_keys(
    home: Home,
    keys: Iterable[PublicKey],
    known: Iterable[str],
    removed: Iterable[str] = (),
    *,
    now: int,
) -> bytes:
    """The next key set: the keys of the one before, the home's own, these, and `known` ones.

    `known` are fingerprints of keys that the bundle lists for this provider; `removed` of keys of
    the set before, which it does not list.

    Raises:
        Malformed: `NO_SUCH_KEY`, `NOT_A_PROVIDER`.
        Conflict: `KEY_LISTED`.
    """
    own = home.trust(at=0).participants.get(home.settings.id)
    if own is None or own.role != "provider":
        raise Malformed("NOT_A_PROVIDER", "only providers sign key sets")
    listed = {key.public.kid: key.public for key in own.keys}
    if unknown := set(known) - set(listed):
        raise Malformed("NO_SUCH_KEY", f"the bundle lists no key {min(unknown)} for you")
    before = key_set(home)
    for kid in removed:
        if kid in listed:
            message = "the trust bundle lists this key for you: your key set must hold it"
            raise Conflict("KEY_LISTED", message)
        if before is None or not before.targets.pop(f"{provider_role(own.id)}/{kid}", None):
            raise Malformed("NO_SUCH_KEY", "your key set holds no key of this fingerprint")
    found = [home.signer.public, *keys, *(listed[kid] for kid in known)]
    return make_key_set(own.id, found, before, now=now, signer=home.signer)
