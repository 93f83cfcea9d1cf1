"""A provider's own key set, as its home knows it."""

from __future__ import annotations

from collections.abc import Iterable

from tuf.api.metadata import Metadata, Root, Snapshot, Targets

from credproof.base.errors import Conflict, Malformed, VerificationFailed
from credproof.base.keys import PublicKey
from credproof.home import Home
from credproof.roots import state_folder
from credproof.updating.accepted import AcceptedKeySets, binds
from credproof.updating.metadata import (
    ROOT,
    SNAPSHOT,
    is_signed_by,
    make_key_set,
    parse,
    provider_role,
)


def key_set(home: Home) -> Targets | None:
    """The key set of this home's provider that was accepted here last; None if none.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = _accepted(home)
    return found.signed if found else None


def keep_key_set(home: Home, data: bytes) -> None:
    """Go on from this key set, which the service has taken; from an older one only if it must."""
    before, role = key_set(home), provider_role(home.settings.id)
    if before is None or parse(data, Targets, role).signed.version > before.version:
        _kept(home).keep(home.settings.id, data)


def _accepted(home: Home) -> Metadata[Targets] | None:
    return _kept(home).get(home.settings.id)


def _kept(home: Home) -> AcceptedKeySets:
    return AcceptedKeySets(state_folder(home.folder, home.settings.root))


def key_set_in_force(home: Home) -> Targets | None:
    """The same, if the newest snapshot that was seen names it: one that was lost does not count.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    path = state_folder(home.folder, home.settings.root) / f"{SNAPSHOT}.json"
    named = parse(path.read_bytes(), Snapshot, SNAPSHOT).signed.meta
    return key_set(home) if f"{provider_role(home.settings.id)}.json" in named else None


def is_released(home: Home) -> bool:
    """Whether a root lets this provider begin anew after its key set, which then binds nobody.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = key_set(home)
    path = state_folder(home.folder, home.settings.root) / f"{ROOT}.json"
    root = parse(path.read_bytes(), Root, ROOT).signed
    return found is not None and not binds(found.version, root, home.settings.id)


def signed_here(home: Home) -> tuple[str, ...]:
    """The fingerprints in the key set that was accepted here last, if this home's key signed it.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    found = _accepted(home)
    is_own = found is not None and is_signed_by(found, home.signer.public)
    return key_ids(found.signed) if found is not None and is_own else ()


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
    """The next key set: the home's own key, those that it signed before, these, and `known` ones.

    `known` are fingerprints of the provider's other keys that the bundle lists or the set before
    holds; `removed` of keys of the set before, which the bundle does not list. Any other key there
    is not signed: somebody else may have listed it, and let it sign.

    Raises:
        Malformed: `NO_SUCH_KEY`, `NOT_A_PROVIDER`.
        Conflict: `KEY_LISTED`.
        VerificationFailed: `KEY_NOT_KNOWN`.
    """
    own = home.trust(at=0).participants.get(home.settings.id)
    if own is None or own.role != "provider":
        raise Malformed("NOT_A_PROVIDER", "only providers sign key sets")
    listed = {key.public.kid: key.public for key in own.keys}
    accepted = _accepted(home)
    before = accepted.signed if accepted else None
    held = set(key_ids(before)) if before else set()
    is_own = accepted is not None and is_signed_by(accepted, home.signer.public)
    for kid in removed:
        _remove(before, provider_role(own.id), kid, set(listed))
    mine = {home.signer.public.kid, *known, *(key.kid for key in keys)}
    if unknown := set(known) - set(listed) - held:
        raise Malformed("NO_SUCH_KEY", f"the bundle lists no key {min(unknown)} for you")
    _require_known(({*listed, *held} - set(removed)) - mine - (held if is_own else set()))
    found = [home.signer.public, *keys, *(listed[kid] for kid in known if kid in listed)]
    return make_key_set(own.id, found, before, now=now, signer=home.signer)


def _remove(before: Targets | None, role: str, kid: str, listed: set[str]) -> None:
    if kid in listed:
        message = "the trust bundle lists this key for you: your key set must hold it"
        raise Conflict("KEY_LISTED", message)
    if before is None or not before.targets.pop(f"{role}/{kid}", None):
        raise Malformed("NO_SUCH_KEY", "your key set holds no key of this fingerprint")


def _require_known(strange: set[str]) -> None:
    if strange:
        told = ", ".join(sorted(strange))
        message = f"a key is in your name that your own key has not signed: {told}"
        raise VerificationFailed("KEY_NOT_KNOWN", message)
