"""An honest log in memory, with a clock of its own."""

from __future__ import annotations

from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.entry import GENESIS_PREV, Entry, entry_hash
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner
from credproof.verification.answer import Logged

NOW = 1_790_000_000


class Log:
    """An honest log in memory."""

    def __init__(self, signer: NoteSigner) -> None:
        self.signer = signer
        self.tree = Tree()
        self.lines: list[bytes] = []
        self.now = NOW

    def append(
        self,
        kind: str,
        actor: str,
        object_digest: bytes,
        *,
        time: int | None = None,
        fields: dict[str, object] | None = None,
    ) -> int:
        entry = Entry(
            seq=len(self.lines),
            time=self.now if time is None else time,
            kind=kind,
            actor=actor,
            object=object_digest,
            salt=bytes(16),
            fields=fields or {},
            prev=entry_hash(self.lines[-1]) if self.lines else GENESIS_PREV,
        )
        return self.add(entry.to_line())

    def add(self, line: bytes) -> int:
        self.lines.append(line)
        self.tree.append(leaf_hash(line))
        return len(self.lines) - 1

    def logged(self, index: int) -> Logged:
        proof = self.tree.inclusion_proof(index, self.tree.size)
        return Logged(self.lines[index], index, proof)

    def checkpoint(self) -> bytes:
        checkpoint = Checkpoint(self.signer.name, self.tree.size, self.tree.root())
        return sign_checkpoint(checkpoint, [self.signer])
