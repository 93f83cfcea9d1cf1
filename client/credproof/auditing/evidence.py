"""Evidence of a log that is not what it should be: files that others check with other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from credproof.base.encoding import Json, canonical_json
from credproof.base.errors import VerificationFailed
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, parse_checkpoint
from credproof.log.merkle import Tree
from credproof.log.note import parse_note
from credproof.log.proof import TlogProof, format_proof
from credproof.log.witness import AddCheckpoint
from credproof.verification.log_rules import Finding

README: Final = "README.txt"
_SHRANK: Final = "LOG_SHRANK"
SEEN: Final = "seen.checkpoint"
NOW: Final = "now.checkpoint"
RULE_BROKEN: Final = "RULE_BROKEN"
"""The reason of a finding between entries; which rule stands in its file."""
FINDINGS: Final = "findings.json"
OTHER: Final = "other.checkpoint"
REQUEST: Final = "add-checkpoint.request"
PAST: Final = "past.checkpoint"
PAST_PROOF: Final = "past.request"
NOW_PAST: Final = "now-past.checkpoint"
NOW_PAST_PROOF: Final = "now-past.request"


class LogFault(VerificationFailed):
    """The log is not what it was, or not what was signed. `files` show it, by name.

    `before` is what was audited earlier, where all of that stands: the fault is in what comes next.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        files: Mapping[str, bytes],
        before: VerifiedCheckpoint | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.files = files
        self.before = before


@dataclass
class Evidence:
    """Files in the making, each with a line that says what it is."""

    files: dict[str, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes, what: str) -> None:
        """One more file."""
        self.files[name] = content
        self.told.append(f"{name}\n    {what}")

    def add_checkpoints(self, seen: bytes | None, now: bytes, vkeys: Sequence[str]) -> None:
        """The log's keys, the checkpoint that was trusted before, and the one it shows now."""
        self._add_keys(vkeys)
        if seen is not None:
            self.add(SEEN, seen, "The checkpoint that this auditor had verified before.")
        self.add(NOW, now, "The newest checkpoint that the log showed.")

    def add_compared(self, seen: bytes, other: bytes, vkeys: Sequence[str]) -> None:
        """The log's keys, the checkpoint that was verified here, and one that others were given."""
        self._add_keys(vkeys)
        self.add(SEEN, seen, "The newest checkpoint that this auditor had verified.")
        self.add(OTHER, other, "The checkpoint that somebody else was given.")

    def _add_keys(self, vkeys: Sequence[str]) -> None:
        keys = "".join(f"{key}\n" for key in vkeys).encode()
        self.add("log.vkey", keys, "The log's keys, as the signed trust bundle lists them.")

    def add_entry(self, index: int, word: str, line: bytes, proof: TlogProof | None) -> None:
        """An entry, and where there is one the proof that it stands in the log."""
        name = f"entry-{index}.{word}"
        self.add(f"{name}.json", line, f"Entry {index} as it was {word}; no newline at its end.")
        if proof is not None:
            what = f"The proof (C2SP tlog-proof) that a signed tree has this line at {index}."
            self.add(f"{name}.tlog-proof", format_proof(proof), what)

    def add_proved(self, index: int, word: str, line: bytes, tree: Tree, note: bytes) -> None:
        """An entry of a tree, with its proof under the note that signs that tree."""
        hashes = tree.inclusion_proof(index, tree.size)
        self.add_entry(index, word, line, TlogProof(index, hashes, note))

    def add_request(self, old_size: int, proof: Sequence[bytes], now: bytes) -> None:
        """The consistency proof that the service gave, in the form that witnesses take."""
        body = AddCheckpoint(old_size, tuple(proof), now).to_bytes()
        what = (
            f"What the service gave as the proof that {NOW} continues the tree of size {old_size}:"
            " the body of add-checkpoint (C2SP tlog-witness)."
        )
        self.add(REQUEST, body, what)

    def add_past(self, past: Checkpoint, proof: Sequence[bytes], seen: bytes) -> None:
        """The first entries of what was seen, proved by what was seen."""
        self._add_past((PAST, PAST_PROOF), past, proof, SEEN, seen)

    def add_now_past(self, past: Checkpoint, proof: Sequence[bytes], now: bytes) -> None:
        """The first entries of what is shown now, proved by what is shown now."""
        self._add_past((NOW_PAST, NOW_PAST_PROOF), past, proof, NOW, now)

    def _add_past(
        self,
        names: tuple[str, str],
        past: Checkpoint,
        proof: Sequence[bytes],
        signed: str,
        note: bytes,
    ) -> None:
        size = past.tree_size
        what = f"The first {size} entries that {signed} covers; not signed."
        self.add(names[0], past.to_text().encode(), what)
        what = f"The consistency proof from there to {signed}, as the body of add-checkpoint."
        self.add(names[1], AddCheckpoint(size, tuple(proof), note).to_bytes(), what)

    def add_registry(self, version: int, package: bytes) -> None:
        """A trust bundle with the documents that it pins."""
        what = f"Version {version} of the registry, as the operator's root signed it."
        self.add(f"registry-{version}.json", package, what)

    def finish(self, reason: str, says: str, how: str) -> Mapping[str, bytes]:
        """All files, and a README that says what they show and how to check it."""
        parts = (reason, says, "Files", *self.told, "How to check it", how, _TOOLS)
        return {**self.files, README: ("\n\n".join(parts) + "\n").encode()}


_TOOLS: Final = (
    "Checkpoints are C2SP signed notes (Ed25519), proofs are C2SP tlog-proofs over an RFC 9162 tree"
    " with SHA-256; an entry's leaf hash is SHA-256 of a zero byte and its line. Any tool that"
    " knows these formats checks them: golang.org/x/mod/sumdb/note and tlog, for one."
    " log.vkey stands in the trust bundle that the operator's offline root signed: do not take it"
    " from here alone."
)
FORK_ROOTS: Final = (
    "Verify both checkpoints under log.vkey: they are of one size, and have different roots. A log"
    " that signed both told two stories."
)
FORK_ENTRIES: Final = (
    "Verify both checkpoints under log.vkey, and both entries by their own proofs: they stand at"
    " one index, and their lines differ. A log that signed both told two stories."
)
FORK_PAST: Final = (
    f"Verify both checkpoints under log.vkey, and by the consistency proof (RFC 9162) in"
    f" {PAST_PROOF} that {SEEN} continues {PAST}, which nobody signed and nobody need sign. {NOW}"
    " is of the same size and has another root. A log that signed both told two stories."
)
FORK_WORD: Final = (
    f"Verify the checkpoints under log.vkey. That {NOW} does not continue what was seen before is"
    f" our word alone: {REQUEST} does not verify, but anybody can make one that does not. Ask the"
    " service for the consistency proof between the two sizes: an honest one has it, and of a fork"
    " nobody can make one."
)
_MOVED: Final = (
    f"{SEEN} is of the old origin, {NOW} of the new one: verify both under log.vkey. The entry"
    " log.continued, proved like the others, says that the new log keeps all entries before it."
)
MOVED_ENTRIES: Final = (
    f"{_MOVED} Verify both other entries by their own proofs: they stand at one index before it,"
    " and their lines differ. What was kept is not what was there."
)
MOVED_ROOTS: Final = (
    f"{_MOVED} By the consistency proofs (RFC 9162) in {PAST_PROOF} and {NOW_PAST_PROOF}, {SEEN}"
    f" continues {PAST} and {NOW} continues {NOW_PAST}, which nobody signed and nobody need sign."
    " They are of one size, before log.continued, and have different roots. What was kept is not"
    " what was there."
)
MOVED_WORD: Final = (
    f"{_MOVED} It also names the last checkpoint of the old origin: one of the size of {SEEN}, with"
    " another root. A log that signed both told two stories."
)
MOVED_NAMED: Final = (
    f"{_MOVED} It also names the last checkpoint of the old origin. By the consistency proof (RFC"
    f" 9162) in {PAST_PROOF}, {SEEN} continues {PAST}, which nobody signed and nobody need sign:"
    " one of the size that log.continued names, with another root. A log that signed both told two"
    " stories."
)
MOVED_LONGER: Final = (
    f"{_MOVED} It also names the last checkpoint of the old origin: one that covers fewer entries"
    f" than {SEEN}, which the old log signed too. What became of the others it does not say."
)
_COMPARED: Final = (
    f"Verify {SEEN} and {OTHER} under log.vkey. Where they are of two origins, log.continued,"
    " proved like the other entries, says that the new log keeps all old entries before it."
)
COMPARED_ROOTS: Final = (
    f"{_COMPARED} By the consistency proof (RFC 9162) in {PAST_PROOF}, {SEEN} continues {PAST},"
    f" which nobody signed and nobody need sign. {OTHER} is of the same size and has another root."
    " A log that signed both told two stories."
)
COMPARED_ENTRIES: Final = (
    f"{_COMPARED} Verify both entries by their own proofs: they stand at one index, and their lines"
    " differ. A log that signed both told two stories."
)
COMPARED_NAMED: Final = (
    f"{_COMPARED} It names the last checkpoint of the old origin: one of the size of {OTHER}, with"
    " another root. A log that signed both told two stories."
)
COMPARED_LONGER: Final = (
    f"{_COMPARED} It names the last checkpoint of the old origin: one that covers fewer entries"
    f" than {OTHER}, which the old log signed too. What became of the others it does not say."
)
DISPROVED_LONGER: Final = (
    f"Verify {SEEN} and {OTHER} under log.vkey: the log signed both. A witness showed {OTHER} to"
    " the service, which gave it to us. That it has not got all entries of it any more is its word"
    " and ours: ask it for its checkpoint. As long as that covers fewer entries than"
    f" {OTHER}, what the log signed is not there any more."
)
SHRANK: Final = (
    "Verify both checkpoints under log.vkey. They carry no time: that the one which covers fewer"
    " entries came later is our word alone. Ask the service for its checkpoint: as long as that"
    f" covers fewer entries than {SEEN}, what the log signed is not there any more."
)
SERVED: Final = (
    f"Verify {NOW} under log.vkey, and compute the leaf hash of the line. The service has no proof"
    " for it under this checkpoint: ask it for the entry and its proof as another auditor."
    " That it gave this line to us is our word alone."
)
SIGNED: Final = (
    "Verify each entry by its proof: the log signed it. The later one may stand in no log."
    " BAD_ENTRY: its line is not spelled as docs/PROTOCOL.md (Log) says. SEQ_GAP: its seq is not"
    " its place. CHAIN_BROKEN: its prev is not the SHA-256 of the line before. TIME_WENT_BACK: its"
    " time is less than that of the entry before. An entry without a proof here is our word alone:"
    " the service refused the proof."
)
WITHHELD: Final = (
    f"Verify {NOW} under log.vkey, and the entry by its proof: the log signed it. Its object is"
    " the id of the trust bundle that it puts in force (docs/PROTOCOL.md, Trust bundle): whoever"
    " signed it says that there is one. The operator must produce it: this version, with this"
    " id, signed by the operator's root, and the documents that it pins. By it all that follows"
    " is judged. That it was not given to us, or another one in its place, is our word alone:"
    " ask the service for the version (GetTrustVersion; credproof audit follow) as another"
    " auditor."
)
REREAD: Final = (
    f"Verify {NOW} under log.vkey, and the entry as it was seen by its proof: that is the one which"
    " was signed. As it was served lately, if at all, it is another line, and has no proof at this"
    " place: ask the service for it as another auditor. That it gave it to us is our word alone."
)
RULES: Final = (
    "Verify each entry by its proof: all of them were signed by the log. findings.json says which"
    " rule (docs/PROTOCOL.md, Rules between entries) the entry at log_index breaks, and shown_by,"
    " which earlier ones show it. Roles, keys, policies and their caps are those of"
    " registry-N.json: verify it under the operator's root key (docs/PROTOCOL.md, Trust bundle);"
    " its id is the object of the registry.changed entry with version N. That something is nowhere"
    " before an entry, as a consent that was never granted, no few entries show: fetch all of them"
    " under the same checkpoint (credproof audit export), and look for it."
)
IN_FUTURE: Final = (
    " TIME_IN_FUTURE: that the entry was there before the time in it is our word alone, by our own"
    " clock. A timestamp of an authority, or the time of a witness's cosignature, shows it to"
    " others where it is of a tree that has the entry, and earlier than that time: ask for one."
    " Entries after it bear no earlier time, so they are wrong too until that time has come."
)
"""Added to `RULES`."""

DIRECTORY: Final = (
    "Verify the entry by its proof: the log signed it. There the directory is not what the entries"
    " before make of it. Fetch those under the same checkpoint (credproof audit export) and compute"
    " the roots anew (credproof audit replay, or by docs/PROTOCOL.md, Directory): whoever does so"
    " gets another root than was signed, or finds taken out what was not there."
)


def findings_json(findings: Sequence[Finding]) -> bytes:
    """The findings as a file."""
    found: list[Json] = [
        {
            "log_index": item.log_index,
            "message": item.message,
            "rule": item.rule,
            "shown_by": list(item.shown_by),
        }
        for item in findings
    ]
    return canonical_json(found) + b"\n"


def name_of(reason: str, files: Mapping[str, bytes]) -> str:
    """What a finding's directory is called: its reason, its last entry, a digest of what it is.

    A log that grows gives other proofs of the same finding every minute: they are not in the name.
    One that shrank has no entry to show: how many are left stands there.
    """
    told = [name for name in files if name.startswith("entry-") and name.endswith(".json")]
    first = (OTHER,) if OTHER in files else (SEEN, FINDINGS)
    what = [*told, *(name for name in first if name in files)] or [NOW]
    digest = hashlib.sha256(canonical_json([reason, *(files[name].hex() for name in sorted(what))]))
    entries = [name.removeprefix("entry-").partition(".")[0] for name in told]
    last = [str(_size(files))] if reason == _SHRANK else sorted(entries, key=int)[-1:]
    return "-".join([reason, *last, digest.hexdigest()[:8]])


def _size(files: Mapping[str, bytes]) -> int:
    return parse_checkpoint(parse_note(files[NOW]).text).tree_size


def _written(folder: Path, name: str) -> Path:
    """Where a finding of this name is, or would be.

    A log that shrank is another finding only where it became shorter still.
    """
    reason, _, rest = name.partition("-")
    size, _, digest = rest.partition("-")
    if reason != _SHRANK:
        return folder / name
    before = {int(path.name.split("-")[1]): path for path in folder.glob(f"{_SHRANK}-*-{digest}")}
    shortest = min(before, default=None)
    return before[shortest] if shortest is not None and shortest <= int(size) else folder / name


def write(folder: Path, reason: str, files: Mapping[str, bytes]) -> tuple[Path, bool]:
    """Write evidence into a directory of its own below `folder`, whole or not at all.

    Gives the directory, and whether it is new: what it shows is not written twice.

    Raises:
        OSError: it cannot be written.
    """
    where = _written(folder, name_of(reason, files))
    if where.exists():
        return where, False
    fresh = where.with_name(f".{where.name}.new")
    fresh.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (fresh / name).write_bytes(content)
    fresh.replace(where)
    return where, True
