"""The newest checkpoint that witnesses have cosigned as the quorum asks.

It follows the head in rounds of its own: no commit waits for a witness. It is read from the head,
whose high-water mark is on disk by then, so it is never newer than that mark.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from credproof.base.errors import CredproofError
from credproof.log.checkpoint import verify_checkpoint
from credproof.log.cosignature import Cosigner, cosigned, with_lines
from credproof.log.note import VerifierKey, parse_note
from credproof.log.quorum import NOBODY, Quorum

from credproof_server.log.cosigning import Cosigning
from credproof_server.log.disproof import DisproofFile, require_covers
from credproof_server.log.high_water import HighWater
from credproof_server.log.said import SaidFile
from credproof_server.log.sequencer import Sequencer, SignedHead
from credproof_server.log.state import Clock, LogState

_log = logging.getLogger("credproof.published")


class Published:
    """Asks for cosignatures, and keeps what reached the quorum. `publish` is for one thread.

    `cosigner` is the log's own ML-DSA-44 key, if it has one: it signs what is published.
    """

    def __init__(
        self,
        file: HighWater,
        said: SaidFile,
        disproof: DisproofFile,
        sequencer: Sequencer,
        key: VerifierKey,
        cosigner: Cosigner | None,
        clock: Clock,
    ) -> None:
        """Load what was kept.

        Raises:
            DataLoss: `LOG_BEHIND`, `LOG_FORKED` when the log is not the one that was witnessed.
        """
        self._file = file
        self._said_file = said
        self._said = said.read()
        self._disproof = disproof
        self._sequencer = sequencer
        self._key = key
        self._cosigner = cosigner
        self._clock = clock
        self._state, self._quorum = sequencer.state, NOBODY
        self._cosigning = self._begin()
        self._draft: SignedHead | None = None
        self._told: Mapping[str, object] = {}
        self.head = self._kept(key)
        """The newest that reached the quorum; None before the first. Other threads may read it."""
        if sequencer.state.has_trust:
            self._follow(sequencer.state, sequencer.state.trust.quorum)

    def publish(self) -> None:
        """One round over the newest checkpoint; lasts as long as the slowest witness needed.

        Raises:
            OSError: what was found could not be kept; the next round tries again.
        """
        try:
            self._ask()
        finally:
            self._heed()

    def _ask(self) -> None:
        state, newest = self._sequencer.state, self._sequencer.head
        self._follow(state, state.trust.quorum)
        nobody = not self._quorum.witnesses and self._cosigner is None
        if nobody or self._cosigning.disproof is not None:
            return
        if self.head is not None and self.head.tree_size >= newest.tree_size:
            return
        if self._draft is None or self._draft.tree_size != newest.tree_size:
            self._draft = SignedHead(self._signed(newest.note), newest.tree_size)
        note = self._cosigning.cosign(self._draft.note, newest.tree_size, self._quorum)
        self._draft = SignedHead(note, newest.tree_size)
        self._tell(note)
        if self._is_reached(note):
            self._file.write(note)
            self.head = self._draft

    def _follow(self, state: LogState, quorum: Quorum) -> None:
        """Begin anew when the state was loaded anew, or another quorum counts."""
        if state is not self._state:
            self._state = state
            self._cosigning = self._begin()
        if quorum != self._quorum:
            self._quorum, self._draft = quorum, None
            if self.head is not None and not self._is_reached(self.head.note):
                self.head = None

    def _begin(self) -> Cosigning:
        return Cosigning(self._state.tree, self._key, self._clock, self._said)

    def _heed(self) -> None:
        """Keep what witnesses said, those too who were late in the round before."""
        if (disproof := self._cosigning.disproof) is not None:  # nothing more is signed on it
            self._sequencer.refuse(disproof)
            if self._disproof.read() is None:  # nor after another start, whoever is silent then
                self._disproof.write(disproof.seen.note)
        known, count = self._cosigning.said(), {str(key) for key in self._quorum.keys}
        said = {vkey: item for vkey, item in known.items() if vkey in count}
        if said != self._said:
            self._said_file.write(said)
            self._said = said

    def _signed(self, note: bytes) -> bytes:
        if self._cosigner is None:
            return note
        return with_lines(note, [self._cosigner.cosign(parse_note(note).text, self._clock())])

    def _is_reached(self, note: bytes) -> bool:
        return self._quorum.is_reached(cosigned(note, self._quorum.keys))

    def _tell(self, note: bytes) -> None:
        """A line when other witnesses lack than before; none while nothing changes."""
        there = cosigned(note, self._quorum.keys)
        lacking = [w.name for w in self._quorum.witnesses.values() if w.key not in there]
        told = {"witnessed": self._quorum.is_reached(there), "lacking": lacking}
        if told != self._told:
            self._told = told
            _log.info(json.dumps(told))

    def _kept(self, key: VerifierKey) -> SignedHead | None:
        """What was kept; a file that cannot be read, or of an older origin, is passed over."""
        note, state = self._file.read(), self._sequencer.state
        if note is None:
            return None
        try:
            seen = verify_checkpoint(note, key.name, [key])
            cosigned(note, state.trust.quorum.keys)
        except CredproofError as error:
            _log.warning(json.dumps({"file": "witnessed", "reason": error.reason}))
            return None
        require_covers(state.tree, seen)
        return SignedHead(note, seen.tree_size)
