"""A newer key set counts when a key of the one before has signed it, as with roots of TUF.

Else whoever has the root key could list a key of its own, and let that one sign. What was accepted
is kept: python-tuf's own files may hold what was refused. Format: `docs/PROTOCOL.md`, "The newest
trust bundle".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Root, Targets

from credproof.base.errors import VerificationFailed
from credproof.base.keys import PublicKey
from credproof.base.limits import KEY_SETS_MAX
from credproof.files import replace_file
from credproof.updating.metadata import (
    anew_since,
    is_signed_by,
    key_path,
    parse,
    provider_role,
    version_before,
)
from credproof.verification.participant import Participant

FOLDER: Final = "key-sets"
Fetch = Callable[[str, int], bytes]
"""Metadata of a role and version; empty when there is none."""


class AcceptedKeySets:
    """The key sets that a home has accepted, one per provider."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / FOLDER

    def get(self, provider: str) -> Metadata[Targets] | None:
        """The newest of a provider; None before the first.

        Raises:
            Malformed: `BAD_METADATA`.
        """
        path, role = self._path(provider), provider_role(provider)
        return parse(path.read_bytes(), Targets, role) if path.exists() else None

    def accept(self, owner: Participant, data: bytes, root: Root, fetch: Fetch) -> None:
        """Keep the newest key set of a provider, if it continues the one that is kept.

        The first one is taken as it comes, and so is one after a root that lets the provider begin
        anew. Those between are fetched.

        Raises:
            VerificationFailed: `KEYS_NOT_CONTINUED`.
            Malformed: `BAD_METADATA`.
        """
        before = self.get(owner.id)
        if before is not None and binds(before.signed.version, root, owner.id):
            found = parse(data, Targets, provider_role(owner.id))
            _require_continued(found, before.signed, owner, fetch)
        self.keep(owner.id, data)

    def keep(self, provider: str, data: bytes) -> None:
        """Go on from this key set."""
        path = self._path(provider)
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, data)

    def _path(self, provider: str) -> Path:
        return self._folder / f"{provider_role(provider)}.json"


def binds(version: int, root: Root, provider: str) -> bool:
    """Whether the key set of this version counts: no root has let the provider begin anew since.

    Then it holds all that a bundle lists, and a key of it signs the next one.
    """
    return version > anew_since(root, provider)


def continues(
    found: Metadata[Targets], before: Targets, provider: str, keys: Iterable[PublicKey]
) -> bool:
    """Whether one of these keys that the key set before holds has signed the one found."""
    return any(
        key_path(provider, key) in before.targets and is_signed_by(found, key) for key in keys
    )


def not_continued(provider: str) -> VerificationFailed:
    message = f"no key of {provider}'s key set before has signed the new one"
    return VerificationFailed("KEYS_NOT_CONTINUED", message)


def _require_continued(
    found: Metadata[Targets], before: Targets, owner: Participant, fetch: Fetch
) -> None:
    """Back from the newest, each signed by a key of the one before it, to the one that is kept."""
    keys = [key.public for key in owner.keys]
    for _ in range(KEY_SETS_MAX):
        if continues(found, before, owner.id, keys):
            return
        version = version_before(found.signed)
        data = fetch(provider_role(owner.id), version) if version > before.version else b""
        if not data:
            break
        earlier = parse(data, Targets, provider_role(owner.id))
        follows = continues(found, earlier.signed, owner.id, keys)
        if earlier.signed.version != version or not follows:
            break
        found = earlier
    raise not_continued(owner.id)
