"""The history of the registry as an auditor keeps it: one file per version, for years."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from credproof.base.errors import (
    CredproofError,
    DataLoss,
    Malformed,
    Unreachable,
    VerificationFailed,
)
from credproof.files import replace_file
from credproof.history import Fetched
from credproof.log.entry import Entry
from credproof.verification.registry import parse_changed, verify_change
from credproof.verification.trust import Roots, Trust
from credproof.wire import trust as trust_wire

FOLDER = "registry"
PUBLISHING_S = 1
"""How long a service may take to give out a bundle after it was logged."""


class History:
    """Trust bundles by version, in a folder of the auditor's home; fetched when they are new."""

    def __init__(
        self, home: Path, root: Roots, fetch: Callable[[int], Fetched] | None = None
    ) -> None:
        self._folder = home / FOLDER
        self._root = root
        self._fetch = fetch
        self.version: int | None = None
        """The version that was put in force last, as far as this one read."""

    def in_force(self, entry: Entry) -> Trust:
        """The bundle that an entry puts in force, kept from now on.

        After a new origin the log can name another one under the version of one that was lost;
        the lost one is kept too: the root signed both.

        Raises:
            VerificationFailed: `REGISTRY_WITHHELD`, `OTHER_TRUST`, and as `verify_trust`.
        """
        version = parse_changed(entry)
        try:
            package = self._package(version)
            change = verify_change(package.token, package.documents, entry, root=self._root)
        except (Malformed, VerificationFailed):
            if self._fetch is None or not self._path(version).exists():
                raise
            fresh = self._fetch(version).package
            change = verify_change(fresh.token, fresh.documents, entry, root=self._root)
            kept = self._path(version).read_bytes()
            replace_file(self._folder / f"{version}.lost.json", kept)
            package = fresh
        self._folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(self._path(version), package.to_bytes())
        self.version = version
        return change.trust

    def logged(self, entry: Entry) -> Trust:
        """The bundle that an entry of the verified log put in force, as it is kept here.

        Raises:
            DataLoss: `REGISTRY_NOT_KEPT`.
        """
        version = parse_changed(entry)
        try:
            package = trust_wire.parse(self._path(version).read_bytes())
            root = self._root
            return verify_change(package.token, package.documents, entry, root=root).trust
        except (OSError, Malformed, VerificationFailed) as error:
            raise _not_kept(version, f"what entry {entry.seq} put in force") from error

    def _package(self, version: int) -> trust_wire.TrustPackage:
        if self._path(version).exists():
            return trust_wire.parse(self._path(version).read_bytes())
        if self._fetch is None:
            raise VerificationFailed("REGISTRY_WITHHELD", f"version {version} is not kept here")
        try:
            return self._fetch(version).package
        except (Unreachable, VerificationFailed):
            raise
        except CredproofError as error:
            message = f"the log names version {version} of the registry, which nobody shows"
            raise VerificationFailed("REGISTRY_WITHHELD", message) from error

    def kept(self, version: int) -> Trust | None:
        """The bundle of a version, fetched where it is not kept; None for 0, the beginning.

        Raises:
            DataLoss: `REGISTRY_NOT_KEPT`: something else is kept in its place.
            VerificationFailed: `REGISTRY_WITHHELD`, and as `verify_trust`.
        """
        if version == 0:
            return None
        if self._path(version).exists():
            return self._kept(version)
        return self._package(version).verify(self._root, at=0)

    def _kept(self, version: int) -> Trust:
        try:
            found = trust_wire.parse(self._path(version).read_bytes()).verify(self._root, at=0)
        except (Malformed, VerificationFailed) as error:
            raise _not_kept(version, "a bundle of this version") from error
        if found.bundle.version != version:
            raise _not_kept(version, "a bundle of this version")
        return found

    def require_given(self, version: int, given: Trust, again: Callable[[], Trust]) -> None:
        """Clients must be `given` the bundle that the log put in force last, of this version.

        What was put in force while the log was read is asked for `again`.

        Raises:
            VerificationFailed: `TRUST_ROLLBACK`, `OTHER_TRUST`; as `kept`.
        """
        logged = self.kept(version)
        if logged is not None and given.bundle.version < version:
            time.sleep(PUBLISHING_S)
            if again().bundle.version < version:
                message = f"the log put version {version} of the trust bundle in force, clients"
                raise VerificationFailed("TRUST_ROLLBACK", f"{message} are given an older one")
        elif logged is None or logged.token != given.token:
            message = "clients are given a trust bundle that the log did not put in force"
            raise VerificationFailed("OTHER_TRUST", message)

    @property
    def is_begun(self) -> bool:
        """Whether anything was ever kept."""
        return self._folder.exists()

    def file(self, entry: Entry) -> bytes | None:
        """The package that an entry of the verified log put in force; None when it is not kept.

        Raises:
            DataLoss: `REGISTRY_NOT_KEPT`: something else is kept in its place.
        """
        path = self._path(parse_changed(entry))
        if not path.exists():
            return None
        return trust_wire.package_of(self.logged(entry)).to_bytes()

    def all(self) -> Iterator[Trust]:
        """Every version that is kept, in order.

        Raises:
            DataLoss: `REGISTRY_NOT_KEPT`.
        """
        version = 1
        while self._path(version).exists():
            yield self._kept(version)
            version += 1

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}.json"


def _not_kept(version: int, wanted: str) -> DataLoss:
    message = f"{FOLDER}/{version}.json in your home is not {wanted}, or cannot be read"
    return DataLoss("REGISTRY_NOT_KEPT", message)
