"""Which witnesses count for the log: said in the trust bundle, seen on what they cosigned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from credproof.base.errors import Conflict, Malformed
from credproof.log.checkpoint import VerifiedCheckpoint, origin_of, verify_checkpoint
from credproof.log.quorum import Quorum, parse_quorum
from credproof.log.witnessed import Witnessed, witnessed
from credproof.verification.bundle import FormerQuorum, TrustBundle
from credproof.verification.trust import Trust

from credproof_server.admission import (
    change_bundle,
    publish_signed,
    renewed,
    signed_bundle,
)
from credproof_server.directory import (
    DISPROOF,
    LOG_COSIGNER,
    SAID,
    WITNESSED,
    ServiceDirectory,
    now,
)
from credproof_server.log.disproof import DisproofFile
from credproof_server.log.high_water import HighWater
from credproof_server.log.said import Said, SaidFile

Cosigned = tuple[VerifiedCheckpoint, Witnessed]
"""A checkpoint, and what witnesses say of it."""
LastWord = Said
"""What a witness said last."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The log's vkey, the quorum file in force, and the newest checkpoint that reached it.

    `witnesses` are those of the file that are asked, by name, with what each said last. `disproof`
    is what one of them showed against the log, which has stopped the service.
    """

    log: str
    text: str
    newest: Cosigned | None
    witnesses: Mapping[str, LastWord | None]
    disproof: VerifiedCheckpoint | None


def set_quorum(folder: Path, data: bytes, *, root_key: Path | None = None) -> None:
    """Put a quorum file in force, in place of the one before; empty takes it away.

    The one before stays listed: answers of its time stay witnessed by it, or lack nobody.

    Raises:
        Malformed: `BAD_QUORUM`, `BAD_VKEY`; `BAD_TRUST` when it names another log.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("BAD_QUORUM", "quorum file is not UTF-8") from error
    if text:
        _require_urls(parse_quorum(data))
    directory = ServiceDirectory(folder)
    change_bundle(directory, lambda current: _replaced(current.bundle, text, now()), root_key)


def _require_urls(quorum: Quorum) -> None:
    """Each witness that has a URL can be asked there; bundles of before are not looked at."""
    for witness in quorum.witnesses.values():
        if witness.url and not _is_http(witness.url):
            message = f"witness {witness.name}: its URL is like https://host/path, or left out"
            raise Malformed("BAD_QUORUM", message)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no address
        return False


def _replaced(bundle: TrustBundle, text: str, at: int) -> TrustBundle:
    """The bundle with another quorum; the one before stays listed as one that ended now.

    Also where nobody was asked for: an answer of then lacks nobody.
    """
    former = bundle.former_quorums
    if bundle.quorum != text:
        last = max([at, *(item.valid_until for item in former)])
        former = (*former, FormerQuorum(bundle.quorum, last))
    return replace(bundle, quorum=text, former_quorums=former)


def add_ml_dsa(folder: Path, *, root_key: Path | None = None) -> str:
    """Give a service that does not run an ML-DSA-44 key for its log; gives its vkey.

    Interrupted at any moment, it may be repeated.

    Raises:
        Conflict: `IN_USE`; `HAS_ML_DSA` when there is nothing to do.
        Malformed: `NO_ROOT_KEY`, `OTHER_ROOT_KEY`.
    """
    directory = ServiceDirectory(folder)
    root = directory.root_signer(root_key)  # before anything is made
    with directory.locked():
        if not directory.keys.has(LOG_COSIGNER):
            directory.keys.write(LOG_COSIGNER, os.urandom(32))
        vkey = directory.log_cosigner_vkey()
        with closing(directory.open_core()) as core:
            if core.trust.bundle.log_cosigner == vkey:
                raise Conflict("HAS_ML_DSA", "the log signs by ML-DSA-44 already")
            bundle = renewed(replace(core.trust.bundle, log_cosigner=vkey))
            publish_signed(core, signed_bundle(root, bundle, core.trust.documents), root)
    return vkey


def shown(folder: Path) -> Shown:
    """What counts, and how far witnesses have come, as a service keeps it that may run.

    Raises:
        DataLoss: `NO_TRUST`, `DISPROOF_DAMAGED`, a database that is lost or damaged.
        VerificationFailed: what is kept does not verify.
    """
    directory = ServiceDirectory(folder)
    trust = directory.stored_trust()
    said = SaidFile(folder / SAID).read()
    witnesses = {w.name: said.get(str(w.key)) for w in trust.quorum.witnesses.values() if w.url}
    disproof = DisproofFile(folder / DISPROOF).newest(directory.log_signer().verifier_key)
    bundle = trust.bundle
    return Shown(bundle.log_vkey, bundle.quorum, _kept(folder, trust), witnesses, disproof)


def _kept(folder: Path, trust: Trust) -> Cosigned | None:
    note, key = HighWater(folder / WITNESSED).read(), trust.log_key
    if note is None or origin_of(note) in {old.name for old in trust.old_log_keys}:
        return None
    if (found := witnessed(note, trust.quorum)).state == "none":
        return None
    return verify_checkpoint(note, key.name, [key]), found
