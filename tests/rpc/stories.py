"""Stories that a lying service tells an auditor, signed with its real key."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
from credproof.auditing.evidence import LogFault
from credproof.auditing.explaining import seq_of
from credproof.auditor import Auditor
from credproof.log.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from credproof.log.continued import ENTRY_CONTINUED, continued_fields
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner
from credproof_server.directory import ServiceDirectory


class Story:
    """A log as a lying service has it: it signs with the real key whatever stands here."""

    def __init__(self, running, lines) -> None:
        self.signer = ServiceDirectory(running.world.service).log_signer()
        self.lines = list(lines)

    def rewritten(self, at: int, **changes: object) -> Story:
        """An entry is changed, and all after it are chained anew."""
        chained = self.lines[:at]
        for line in self.lines[at:]:
            changed = changes if len(chained) == at else {}
            entry = replace(parse_entry(line), prev=entry_hash(chained[-1]), **changed)
            chained.append(entry.to_line())
        self.lines = chained
        return self

    def add(self, kind: str, actor: str, digest: bytes, **fields: object) -> Story:
        last = parse_entry(self.lines[-1])
        prev, seq = entry_hash(self.lines[-1]), last.seq + 1
        entry = Entry(seq, last.time, kind, actor, digest, bytes(16), fields, prev)
        self.lines.append(entry.to_line())
        return self

    def continued(
        self, *seen: VerifiedCheckpoint, lost: int, kept: int | None = None, **changes: object
    ) -> Story:
        """The log goes on under a new origin, without its last entries."""
        self.lines = self.lines[: seen[-1].tree_size - lost if kept is None else kept]
        for old in seen:
            digest, fields = continued_fields(old)
            self.add(ENTRY_CONTINUED, "operator", digest, **{**fields, **changes})
        self.signer = NoteSigner(f"{self.signer.name}2", self.signer.signer)
        return self.add("answer.whispered", "lend", bytes(32))

    @property
    def tree(self) -> Tree:
        tree = Tree()
        tree.extend([leaf_hash(line) for line in self.lines])
        return tree

    def checkpoint(self, root: bytes | None = None):
        tree, key = self.tree, self.signer.verifier_key
        note = sign_checkpoint(Checkpoint(key.name, tree.size, root or tree.root()), [self.signer])
        return verify_checkpoint(note, key.name, [key])


def _from(lines: list[bytes], start: int) -> list[bytes]:
    """As a database gives them: from the first on that stands there, whatever was left out."""
    places = enumerate(map(seq_of, lines))
    return lines[next((at for at, seq in places if max(at, seq or 0) >= start), len(lines)) :]


@contextmanager
def told(auditor: Auditor, story: Story, *, root: bytes | None = None, serve=None):
    """The auditor hears this story instead of the real one; `serve` are other lines than signed."""
    tree, lines, checkpoint = story.tree, serve or story.lines, story.checkpoint(root)
    auditor.checkpoint = lambda: checkpoint
    auditor.pages = lambda start, end: iter(
        [_from(lines, start)[: end - start]] if start < end else []
    )
    auditor.consistency = tree.consistency_proof
    auditor.inclusion = tree.inclusion_proof
    try:
        yield
    finally:
        for name in ("checkpoint", "pages", "consistency", "inclusion"):
            delattr(auditor, name)


def fault(auditor: Auditor, reason: str, *, whole: bool = False) -> dict[str, bytes]:
    state = auditor.trusted()
    with pytest.raises(LogFault) as caught:
        auditor.verify(whole=whole)
    assert caught.value.reason == reason
    assert state == auditor.trusted(), "what was trusted stays"
    assert reason.encode() in caught.value.files["README.txt"]
    return dict(caught.value.files)


def start_again(auditor: Auditor, *left: str) -> None:
    """Forget a story that went on where the real log does not, and files `left` by it."""
    folder = auditor._home.folder
    for name in ("audit.db", "audited.json", "newest.checkpoint"):
        (folder / name).unlink(missing_ok=True)
    for path in (path for pattern in left for path in folder.glob(pattern)):
        path.unlink()
