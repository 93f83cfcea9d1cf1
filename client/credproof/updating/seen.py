"""What a home has seen of a chain: whole files, and the newest bundle that it accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Root

from credproof.base.encoding import Json, canonical_json, parse_json
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.base.members import Members
from credproof.files import replace_file
from credproof.roots import HISTORY, chain, damaged
from credproof.updating.metadata import ROOT, is_signed, parse, parse_any
from credproof.verification.registry import Change
from credproof.verification.trust import Trust
from credproof.wire.trust import TrustPackage, package_of

SEEN: Final = "bundle-version"
_TWO: Final = ("seen-bundle-{0}", "other-bundle-{0}")
"""Where both bundles of one version are kept: they show that the root signed two."""


def require_whole(folder: Path) -> None:
    """Each file of metadata must be readable: python-tuf takes one that is not for one that is not
    there, and forgets what it saw. Roots must be signed: it takes the first one for what was given.

    Raises:
        DataLoss: `METADATA_DAMAGED`.
    """
    for path in (*folder.glob("*/*.json"), *folder.glob("*.json")):
        if path.is_symlink():
            continue  # root.json, which leads to one of the others, and is made anew
        try:
            parse_any(path.read_bytes(), path.stem.rpartition(".")[2])
        except CredproofError as error:
            raise damaged(path) from error
    _require_signed_roots(chain(folder / HISTORY))


def _require_signed_roots(paths: Sequence[Path]) -> None:
    """Each by its own keys, and by those of the one before it."""
    before: Metadata[Root] | None = None
    for path in paths:
        root = parse(path.read_bytes(), Root, ROOT)
        follows = before is not None and before.signed.version + 1 == root.signed.version
        signing = [root, *([before] if before is not None and follows else [])]
        if not all(is_signed(by.signed, ROOT, root) for by in signing):
            raise damaged(path)
        before = root


class SeenBundle:
    """The newest bundle that was accepted in a folder: its version, and its text's SHA-256.

    Raises:
        DataLoss: `METADATA_DAMAGED`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.version, self._digest = _read(folder / SEEN)

    def require_same(self, package: TrustPackage, version: int, kept: TrustPackage | None) -> None:
        """A bundle of this version must be the one that was seen; else both are kept for good.

        `kept` is what the home has, which is that one unless it was lost.

        Raises:
            VerificationFailed: `TRUST_FORKED`.
        """
        if version == self.version and _digest(package.token) != self._digest:
            is_seen = kept is not None and _digest(kept.token) == self._digest
            _keep_two(self._folder, version, kept if is_seen else None, package)
            message = f"another trust bundle of version {self.version} was given before"
            raise VerificationFailed("TRUST_FORKED", message)

    def keep(self, trust: Trust) -> None:
        """It is the newest from now on, if it is newer."""
        if trust.bundle.version > self.version:
            said: dict[str, Json] = {
                "digest": _digest(trust.token),
                "version": trust.bundle.version,
            }
            replace_file(self._folder / SEEN, canonical_json(said))


def compared(history: Iterable[Change], kept: Trust, folder: Path) -> Iterator[Change]:
    """A history as it is read; where the log names another bundle than `kept` under its version,
    both are kept for good.

    Several versions that come at once pass over the one that was seen last.
    """
    for change in history:
        logged = change.trust
        if logged.bundle.version == kept.bundle.version and logged.token != kept.token:
            _keep_two(folder, kept.bundle.version, package_of(kept), package_of(logged))
        yield change


def _keep_two(folder: Path, version: int, kept: TrustPackage | None, other: TrustPackage) -> None:
    names = [folder / name.format(version) for name in _TWO]
    replace_file(names[1], other.to_bytes())
    if kept is not None:
        replace_file(names[0], kept.to_bytes())


def forked(folder: Path) -> list[int]:
    """The versions of which two bundles are kept in a folder, in order."""
    names = (path.name.rpartition("-")[2] for path in folder.glob(_TWO[1].format("*")))
    return sorted(int(name) for name in names if name.isdigit())


def _digest(token: str) -> str:
    return sha256(token.encode("ascii")).hexdigest()


def _read(path: Path) -> tuple[int, str]:
    if not path.exists():
        return 0, ""
    try:
        members = Members(parse_json(path.read_bytes()), SEEN)
        found = members.take("version", int), members.take("digest", str)
        members.finish()
    except Malformed as error:
        raise damaged(path) from error
    return found
