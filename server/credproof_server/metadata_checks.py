"""Is what clients find the trust bundle by whole, and does it lead to the bundle in force?

What has expired is no damage: `credproof root status` tells that.
"""

from __future__ import annotations

from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.updating import metadata as tuf
from credproof.updating.metadata import PREFIX, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from credproof.verification.trust import Trust
from tuf.api.metadata import Root

from credproof_server.service.distribution import Distribution, meta_file


def metadata(distribution: Distribution, trust: Trust) -> None:
    """Follow the chain of roots, then what the newest timestamp names.

    Raises:
        DataLoss: `METADATA_DAMAGED`.
        Conflict: `NO_TUF` where there is none, lost or never begun: clients find nothing.
    """
    distribution.require_begun()
    try:
        _check_chain(distribution)
        targets = distribution.in_force(trust)
        if targets is None or targets.signed.version != distribution.version(TARGETS):
            message = "no targets name the one in force: credproof root extend signs them anew"
            raise _damaged(message)
        _check_signed_here(distribution)
        for role in distribution.files.roles(PREFIX):
            root = distribution.root()
            distribution.require_key_set(role, None, targets.signed, trust, root)
    except (Malformed, VerificationFailed) as error:
        raise _damaged(error.message) from error


def _check_chain(distribution: Distribution) -> None:
    files = distribution.files
    versions = files.versions(ROOT)[::-1]
    if versions != list(range(1, len(versions) + 1)):
        raise _damaged("a root of the chain is missing")
    before: Root | None = None
    for version in versions:
        found = tuf.parse(files.read(ROOT, version), Root, ROOT)
        for signer in (before or found.signed, found.signed):
            tuf.require_signed(signer, ROOT, found)
        if found.signed.version != version:
            raise _damaged("a root stands under another version")
        before = found.signed


def _check_signed_here(distribution: Distribution) -> None:
    """The newest timestamp names the snapshot that is there, and that what is there."""
    files, root = distribution.files, distribution.root()
    if not files.newest(TIMESTAMP):
        return  # restored: signed at the next start
    timestamp = tuf.parse_any(files.newest(TIMESTAMP), TIMESTAMP)
    named = timestamp.signed.snapshot_meta
    snapshot = tuf.parse_any(files.read(SNAPSHOT, named.version), SNAPSHOT)
    for role, found in ((TIMESTAMP, timestamp), (SNAPSHOT, snapshot)):
        tuf.require_signed(root, role, found)
    for name, meta in {f"{SNAPSHOT}.json": named, **snapshot.signed.meta}.items():
        role = name.removesuffix(".json")
        if meta != meta_file(files.read(role, meta.version), role):
            raise _damaged(f"the metadata of {role} is not what was signed")


def _damaged(what: str) -> DataLoss:
    return DataLoss("METADATA_DAMAGED", f"what clients find the trust bundle by is damaged: {what}")
