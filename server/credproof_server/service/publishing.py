"""Publishing answers: entries and inclusion proofs under the checkpoint of each one's commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from credproof.base.errors import DataLoss
from credproof.base.jws import token_id
from credproof.log.entry import parse_entry
from credproof.verification.answer import AnswerBundle, Logged
from sqlalchemy import Connection

from credproof_server.log.sequencer import Sequencer
from credproof_server.storage import repository


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is in the log at `log_index`, in a commit that made `tree_size` entries."""

    bundle: AnswerBundle
    log_index: int
    tree_size: int

    @property
    def log_indexes(self) -> tuple[int, ...]:
        """Where all that it shows is in the log."""
        places = [item.logged for item in self.bundle.tokens]
        places += [item.logged for item in self.bundle.bindings]
        places += [self.bundle.directory.root] if self.bundle.directory else []
        return (self.log_index, *(place.log_index for place in places))


class Publishing:
    """Completes some answers; the entries of all are looked up at once."""

    def __init__(
        self, sequencer: Sequencer, connection: Connection, given: Sequence[Given]
    ) -> None:
        self._sequencer = sequencer
        indexes = {index for item in given for index in item.log_indexes}
        self._lines: Mapping[int, bytes] = repository.lines_at(connection, sorted(indexes))
        self._notes = {size: sequencer.sign(size) for size in {item.tree_size for item in given}}

    def publish(self, given: Given) -> AnswerBundle:
        """The answer with its places in the log.

        Raises:
            DataLoss: `ROW_DIFFERS`: serving what differs from its logged digest.
        """
        bundle, size = given.bundle, given.tree_size
        directory = bundle.directory
        published = replace(
            bundle,
            tokens=tuple(replace(i, logged=self._logged(i.logged, size)) for i in bundle.tokens),
            bindings=tuple(
                replace(i, logged=self._logged(i.logged, size)) for i in bundle.bindings
            ),
            directory=directory and replace(directory, root=self._logged(directory.root, size)),
            logged=self._logged(Logged(b"", given.log_index, ()), size),
            checkpoint=self._notes[size],
        )
        _require_logged(published)
        if (
            directory
            and published.directory
            and directory.root.line != published.directory.root.line
        ):
            raise DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest")
        return published

    def _logged(self, place: Logged, size: int) -> Logged:
        index = place.log_index
        hashes = self._sequencer.state.tree.inclusion_proof(index, size)
        return Logged(self._lines[index], index, tuple(hashes))


def _require_logged(bundle: AnswerBundle) -> None:
    tokens = [(i.token, i.logged) for i in bundle.tokens]
    tokens += [(i.token, i.logged) for i in bundle.bindings]
    for token, logged in [*tokens, (bundle.answer, bundle.logged)]:
        if parse_entry(logged.line).object != token_id(token):
            raise DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest")
