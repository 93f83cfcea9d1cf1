"""The newest trust bundle by TUF: python-tuf's updater over our own channel.

What was seen of a chain is kept in a folder: rollback, freeze and mixing are told by it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from tuf.api import exceptions
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from credproof.base.errors import Conflict, CredproofError, Malformed, VerificationFailed
from credproof.base.keys import PublicKey
from credproof.base.limits import (
    METADATA_BYTES_MAX,
    ROOT_CHAIN_MAX,
    ROOT_METADATA_BYTES_MAX,
    TIMESTAMP_METADATA_BYTES_MAX,
)
from credproof.roots import HISTORY, chain, damaged, roots_of, state_folder
from credproof.updating.accepted import AcceptedKeySets
from credproof.updating.key_sets import require_key_sets, require_plain
from credproof.updating.metadata import (
    BUNDLE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    is_role,
    is_signed_by,
    keys_of,
    parse,
    provider_role,
)
from credproof.updating.seen import SeenBundle, require_whole
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust
from credproof.wire.trust import TrustPackage

T = TypeVar("T", Root, Targets, Snapshot)
_URL: Final = "credproof://service/"
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=ROOT_CHAIN_MAX,
    root_max_length=ROOT_METADATA_BYTES_MAX,
    timestamp_max_length=TIMESTAMP_METADATA_BYTES_MAX,
    snapshot_max_length=METADATA_BYTES_MAX,
    targets_max_length=METADATA_BYTES_MAX,
)


class Source(Protocol):
    """A service, as whoever asks it for the newest bundle sees it."""

    def metadata(self, role: str, version: int) -> bytes:
        """Metadata of a role, the newest for version 0; empty when there is none."""

    def package(self) -> TrustPackage:
        """The bundle in force."""


class Found(NamedTuple):
    """The newest bundle, verified, as it came."""

    trust: Trust
    package: TrustPackage


class State:
    """What is kept of the chain that a pinned key stands at the beginning of."""

    def __init__(self, home: Path, pinned: PublicKey) -> None:
        self.folder = state_folder(home, pinned)
        self._home = home
        self._pinned = pinned

    def newest(self, source: Source, kept: TrustPackage | None, *, now: int) -> Found:
        """The newest bundle: `kept` if it is that, else what the source gives.

        What does not fit is read once more: the service may have published in between.

        Raises:
            Conflict: `NO_TUF`.
            DataLoss: `METADATA_DAMAGED`, naming a file that is kept here.
            VerificationFailed: `TUF_NOT_BOUND`, `TUF_EXPIRED`, `TUF_ROLLBACK`, `TUF_NOT_SIGNED`,
                `TUF_MIXED`, `TUF_TOO_LONG`, `TUF_WITHHELD`, `BAD_METADATA`, `TRUST_FORKED`; as
                `require_key_sets`, `verify_trust`.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self.folder):
            require_whole(self.folder)
            with _given():
                anchor = self._anchor(source)
            try:
                return self._update(anchor, source, kept, now)
            except VerificationFailed:
                return self._update(anchor, source, kept, now)

    def _anchor(self, source: Source) -> bytes:
        """The first root that the pinned key has signed as one of its own."""
        for path in chain(self.folder / HISTORY)[:1]:
            if not is_bound(data := path.read_bytes(), self._pinned):
                raise damaged(path)
            return data
        for version in range(1, ROOT_CHAIN_MAX + 1):
            data = source.metadata(ROOT, version)
            if not data and version == 1:
                raise Conflict("NO_TUF", "the service does not give out its trust bundle by TUF")
            if not data:
                break
            if is_bound(data, self._pinned):
                return data
        raise VerificationFailed("TUF_NOT_BOUND", "no root was signed by the key that is pinned")

    def _update(self, anchor: bytes, source: Source, kept: TrustPackage | None, now: int) -> Found:
        fetcher, seen = _Fetcher(source), SeenBundle(self.folder)
        with _given(fetcher):
            updater = Updater(
                str(self.folder), _URL, fetcher=fetcher, config=_CONFIG, bootstrap=anchor
            )
            updater.refresh()
            named = updater.get_targetinfo(BUNDLE)
            targets = self.kept(TARGETS, Targets)
            require_plain(targets)
            package = _named_package(named, source, kept)
            roots = roots_of(self._home, self._pinned)
            trust = package.verify(roots, at=now, version_min=seen.version)
            seen.require_same(package, trust.bundle.version, kept)
            snapshot, root = self.kept(SNAPSHOT, Snapshot), self.kept(ROOT, Root)
            accept = partial(self._accept, source, root)
            require_key_sets(updater, targets, snapshot, trust, root, accept)
        seen.keep(trust)
        return Found(trust, package)

    def _accept(self, source: Source, root: Root, provider: Participant) -> None:
        """Hold the key set that was just verified against the one that was accepted before."""
        data = (self.folder / f"{provider_role(provider.id)}.json").read_bytes()
        AcceptedKeySets(self.folder).accept(provider, data, root, source.metadata)

    def kept(self, role: str, kind: type[T]) -> T:
        """The newest metadata of a role that was verified here."""
        return parse((self.folder / f"{role}.json").read_bytes(), kind, role).signed


def is_bound(data: bytes, pinned: PublicKey) -> bool:
    """Whether a key is one of those of a root, and has signed it.

    Raises:
        Malformed: `BAD_METADATA`.
    """
    metadata = parse(data, Root, ROOT)
    return pinned in keys_of(metadata.signed, ROOT) and is_signed_by(metadata, pinned)


@contextmanager
def _given(fetcher: _Fetcher | None = None) -> Iterator[None]:
    """What is found wrong is what the service gave: files that are kept here were looked at."""
    try:
        yield
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        raise _told(error, fetcher.role if fetcher and fetcher.role else ROOT) from error
    except Malformed as error:
        if error.reason != "BAD_METADATA":
            raise
        raise VerificationFailed(error.reason, error.message) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """python-tuf takes for granted that nobody else works on its files."""
    with (folder / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _named_package(
    named: TargetFile | None, source: Source, kept: TrustPackage | None
) -> TrustPackage:
    """The package whose bundle the targets name; the kept one if it is that."""
    if named is None:
        raise VerificationFailed("TUF_MIXED", "the targets name no trust bundle")
    if kept is not None and _is_named(named, kept):
        return kept
    package = source.package()
    if not _is_named(named, package):
        message = "the service gives another trust bundle than its metadata names"
        raise VerificationFailed("TUF_MIXED", message)
    return package


def _is_named(named: TargetFile, package: TrustPackage) -> bool:
    try:
        named.verify_length_and_hashes(package.token.encode("utf-8"))
    except exceptions.LengthOrHashMismatchError:
        return False
    return True


class _Fetcher(FetcherInterface):
    """What python-tuf asks for by URL, asked for by role and version."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.role = ""
        """What was asked for last: that is what an error speaks of."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = PurePosixPath(urlsplit(url).path).stem
        version, _, role = name.rpartition(".")
        self.role = role
        data = self._source.metadata(role, int(version or 0))
        if not data:
            raise exceptions.DownloadHTTPError("the service has none", HTTPStatus.NOT_FOUND)
        yield data


def _told(error: Exception, role: str) -> CredproofError:
    """What python-tuf found, under our reasons; `role` is what was asked for last."""
    what, meant = f"the metadata of {role}", f"the metadata of {_meant(error, role)}"
    match error:
        case exceptions.ExpiredMetadataError():
            message = f"{meant} was not renewed in time: nothing newer is given"
            return VerificationFailed("TUF_EXPIRED", message)
        case exceptions.BadVersionNumberError():
            message = f"{meant} is older than what was seen before"
            return VerificationFailed("TUF_ROLLBACK", message)
        case exceptions.UnsignedMetadataError():
            message = f"{what} lacks signatures: do not go on, and ask the operator why"
            return VerificationFailed("TUF_NOT_SIGNED", message)
        case exceptions.LengthOrHashMismatchError():
            message = f"{what} does not belong to what was given with it"
            return VerificationFailed("TUF_MIXED", message)
        case exceptions.DownloadLengthMismatchError():
            return VerificationFailed("TUF_TOO_LONG", f"{what} is longer than it may be")
        case exceptions.DownloadHTTPError():
            return VerificationFailed("TUF_WITHHELD", f"{what} must be there, and is not given")
    if role == SNAPSHOT and type(error) is exceptions.RepositoryError:
        return VerificationFailed("TUF_ROLLBACK", f"{meant} was named before, and is left out")
    return VerificationFailed("BAD_METADATA", f"{what} is no TUF metadata")


def _meant(error: Exception, asked: str) -> str:
    """Whose metadata an error is about: what was asked for last can be another's.

    A root is found to have expired only when a timestamp comes, and so on; python-tuf says it in
    words: "New snapshot is missing info for 'provider-bank.json'".
    """
    words = [word.strip("'").removesuffix(".json") for word in str(error).split()]
    return next((word for word in reversed(words) if is_role(word)), asked)
