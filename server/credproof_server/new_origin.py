"""When signed entries are lost for good: the log goes on under a new origin, and says so.

The surviving entries stay. The first entry of the new origin names the last checkpoint of the
old one; old answers verify under the old origin's key, which the trust bundle keeps.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from credproof.base.encoding import Json, b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Conflict, DataLoss, Malformed
from credproof.files import replace_file
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.continued import ENTRY_CONTINUED, continued_fields
from credproof.log.note import VerifierKey

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

_ORIGIN = re.compile(r"[a-z0-9][a-z0-9./-]{0,199}\Z")
_SETTING = re.compile(r'^log_origin = ".*"$', re.MULTILINE)


class ContinueLog:
    """Logs that the log goes on after the checkpoint `old`, whose last entries are lost."""

    def __init__(self, old: VerifiedCheckpoint) -> None:
        self._old = old

    def apply(self, tx: Transaction) -> int:
        digest, fields = continued_fields(self._old)
        return tx.append(ENTRY_CONTINUED, OPERATOR, digest, salt=fresh_salt(), fields=fields)


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
        _rename(folder, origin)
        directory = ServiceDirectory(folder)
        core = directory.open_unfinished()
        try:
            if core.sequencer.head.tree_size == size:
                core.sequencer.submit(ContinueLog(old)).result()
            _publish(directory, core, old_key, root_key)
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


def _publish(
    directory: ServiceDirectory, core: Core, old_key: VerifierKey, root_key: Path | None
) -> None:
    """A trust bundle that names the new origin, and keeps the old one."""
    bundle = core.trust.bundle
    fresh = str(directory.log_signer().verifier_key)
    if bundle.log_vkey == fresh:
        return
    changed = replace(
        bundle,
        log_vkey=fresh,
        log_cosigner=directory.log_cosigner_vkey(),
        old_logs=(*bundle.old_logs, str(old_key)),
    )
    root, documents = directory.root_signer(root_key), core.trust.documents
    publish_signed(core, signed_bundle(root, renewed(changed), documents), root)
