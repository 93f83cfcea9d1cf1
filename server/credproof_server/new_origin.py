"""When signed entries are lost for good: the log goes on under a new origin, and says so.

The surviving entries stay. The first entry of the new origin names the last checkpoint of the
old one; old answers verify under the old origin's key, which the trust bundle keeps. Where what
survived is older than the old origin itself, those that ended before it are named as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from credproof.base.encoding import Json, b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Conflict, DataLoss, Malformed
from credproof.files import replace_file
from credproof.log.checkpoint import VerifiedCheckpoint, origin_of, verify_checkpoint
from credproof.log.continued import ENTRY_CONTINUED, continued_fields, parse_continued
from credproof.log.note import NoteSigner, VerifierKey

from credproof_server.admission import publish_signed, renewed, signed_bundle
from credproof_server.config import FILE_NAME
from credproof_server.directory import (
    DISPROOF,
    HIGH_WATER,
    OPERATOR,
    ORIGIN_MARK,
    SAID,
    WITNESSED,
    ServiceDirectory,
)
from credproof_server.log.high_water import HighWater
from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.storage import repository

ENDED: Final = "ended-"
"""What the file of an origin's last checkpoint is called, before the id of its key."""
_KIND: Final = f'"kind":"{ENTRY_CONTINUED}"'.encode()
_ORIGIN = re.compile(r"[a-z0-9][a-z0-9./-]{0,199}\Z")
_SETTING = re.compile(r'^log_origin = ".*"$', re.MULTILINE)


class ContinueLog:
    """Logs that the log goes on after the checkpoints `old`, whose last entries are lost."""

    def __init__(self, old: Sequence[VerifiedCheckpoint]) -> None:
        self._old = old

    def apply(self, tx: Transaction) -> None:
        for old in self._old:
            digest, fields = continued_fields(old)
            tx.append(ENTRY_CONTINUED, OPERATOR, digest, salt=fresh_salt(), fields=fields)


def begin_anew(folder: Path, origin: str, *, root_key: Path | None = None) -> str:
    """Give a log whose signed entries are lost a new origin; may be repeated until it succeeds.

    Gives the log's new vkey: witnesses know the log by it from now on.

    Raises:
        Malformed: `BAD_ORIGIN`, `NO_ROOT_KEY`.
        Conflict: `NOTHING_LOST` when the log is whole, `IN_USE`.
        DataLoss: `LOG_FORKED` when it has all its entries, but witnesses saw others.
    """
    if not _ORIGIN.match(origin):
        raise Malformed("BAD_ORIGIN", "an origin is a URL without scheme, like bureau.example/log2")
    directory = ServiceDirectory(folder)
    directory.root_signer(root_key)  # before anything is changed
    with directory.locked():
        if not (folder / ORIGIN_MARK).exists():
            _mark(directory, origin)
        old, old_key, size = _marked(folder)
        replace_file(folder / f"{ENDED}{old_key.key_id.hex()}", old.note)
        _rename(folder, origin)
        directory = ServiceDirectory(folder)
        core = directory.open_unfinished()
        try:
            if core.sequencer.head.tree_size == size:
                core.sequencer.submit(ContinueLog(_unnamed(directory, core))).result()
            _publish(directory, core, root_key)
        finally:
            core.close()
        (folder / ORIGIN_MARK).unlink()
    return str(directory.log_signer().verifier_key)


def _mark(directory: ServiceDirectory, origin: str) -> None:
    """Keep what must be known if this is interrupted."""
    key = directory.log_signer().verifier_key
    signed = directory.signed()
    if signed is None or key.name == origin:
        raise Conflict("NOTHING_LOST", "the log has no signed entries, or this very origin")
    size, _ = directory.log_head()
    if size >= signed.tree_size and (directory.folder / DISPROOF).exists():
        raise DataLoss("LOG_FORKED", "a witness saw another log than this: restore that one")
    if size >= signed.tree_size:
        raise Conflict("NOTHING_LOST", "every signed entry is there: serve it as it is")
    mark: dict[str, Json] = {"key": str(key), "note": b64url(signed.note), "tree_size": size}
    replace_file(directory.folder / ORIGIN_MARK, canonical_json(mark))


def _marked(folder: Path) -> tuple[VerifiedCheckpoint, VerifierKey, int]:
    mark = parse_json((folder / ORIGIN_MARK).read_bytes())
    key = VerifierKey.parse(mark["key"])
    old = verify_checkpoint(parse_b64url(mark["note"]), key.name, [key])
    return old, key, mark["tree_size"]


def _rename(folder: Path, origin: str) -> None:
    """Set the new origin, and aside what was signed, witnessed and shown under the old one."""
    path = folder / FILE_NAME
    text = _SETTING.sub(f"log_origin = {json.dumps(origin)}", path.read_text("utf-8"))
    replace_file(path, text.encode())
    for name in (DISPROOF, WITNESSED, SAID):
        if (folder / name).exists():
            (folder / name).replace(folder / f"{name}.old")
    high_water = folder / HIGH_WATER
    note = HighWater(high_water).read()
    if note is not None and not note.startswith(origin.encode() + b"\n"):
        high_water.replace(folder / f"{HIGH_WATER}.old")


def _ended(directory: ServiceDirectory) -> Mapping[VerifierKey, VerifiedCheckpoint]:
    """The last checkpoints of origins that the log had, by their keys."""
    signer, found = directory.log_signer().signer, {}
    for path in sorted(directory.folder.glob(f"{ENDED}*")):
        note = path.read_bytes()
        key = NoteSigner(origin_of(note), signer).verifier_key
        found[key] = verify_checkpoint(note, key.name, [key])
    return found


def _unnamed(directory: ServiceDirectory, core: Core) -> Sequence[VerifiedCheckpoint]:
    """Those that nothing in what survived names."""
    with core.engine.connect() as rows:
        lines = [line for line in repository.all_lines(rows) if _KIND in line]
    named = {parse_continued(line).origin for line in lines}
    ended = (old for old in _ended(directory).values() if old.origin not in named)
    return sorted(ended, key=lambda old: old.tree_size)


def _publish(directory: ServiceDirectory, core: Core, root_key: Path | None) -> None:
    """A trust bundle that names the new origin, and keeps those before."""
    bundle = core.trust.bundle
    fresh = str(directory.log_signer().verifier_key)
    if bundle.log_vkey == fresh:
        return
    changed = replace(
        bundle,
        log_vkey=fresh,
        log_cosigner=directory.log_cosigner_vkey(),
        old_logs=tuple(dict.fromkeys((*bundle.old_logs, *map(str, _ended(directory))))),
    )
    root, documents = directory.root_signer(root_key), core.trust.documents
    publish_signed(core, signed_bundle(root, renewed(changed), documents), root)
