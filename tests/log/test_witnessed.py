"""What witnesses say of a checkpoint: none asked, pending, reached, and since when."""

from __future__ import annotations

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import WITNESS_LAG_S
from credproof.log.cosignature import Ed25519Cosigner, with_lines
from credproof.log.note import parse_note
from credproof.log.quorum import NOBODY, parse_quorum
from credproof.log.witnessed import Lag, Witnessed, lag, witnessed

from tests.log.test_cosignature import TIME, note

WITNESSES = [Ed25519Cosigner(f"w.example/{i}", bytes([i + 1] * 32)) for i in range(3)]
LINES = "".join(f"witness w{i} {w.key}\n" for i, w in enumerate(WITNESSES))
TWO = parse_quorum(f"{LINES}group two 2 w0 w1 w2\nquorum two\n".encode())


def cosigned_by(**times: int) -> bytes:
    """A checkpoint cosigned by witnesses at so many seconds after `TIME`."""
    made = note()
    text = parse_note(made).text
    lines = [WITNESSES[int(name[1])].cosign(text, TIME + at) for name, at in times.items()]
    return with_lines(made, lines)


def test_without_a_quorum_nobody_is_asked():
    assert witnessed(cosigned_by(w0=1), NOBODY) == Witnessed("none")
    assert witnessed(note(), parse_quorum(f"{LINES}quorum none\n".encode())) == Witnessed("none")


def test_fewer_than_the_quorum_asks_for_are_pending_and_named():
    assert witnessed(note(), TWO) == Witnessed("pending", {})
    assert witnessed(cosigned_by(w1=5), TWO) == Witnessed("pending", {"w1": TIME + 5})


def test_a_quorum_is_reached_when_the_last_that_it_needs_cosigned_and_since_is_the_oldest():
    two = witnessed(cosigned_by(w0=5, w2=9), TWO)
    assert (two.since, two.reached_at) == (TIME + 5, TIME + 9)
    all_three = witnessed(cosigned_by(w0=5, w1=7, w2=9), TWO)
    times = {"w0": TIME + 5, "w1": TIME + 7, "w2": TIME + 9}
    assert all_three == Witnessed("reached", times, since=TIME + 7, reached_at=TIME + 7)


def test_a_cosignature_of_another_checkpoint_by_a_witness_that_counts_is_refused():
    other = WITNESSES[2].cosign(parse_note(note(6)).text, TIME)
    with pytest.raises(CredproofError) as caught:
        witnessed(with_lines(cosigned_by(w0=1, w1=2), [other]), TWO)
    assert caught.value.reason == "BAD_SIGNATURE"


def test_entries_that_wait_too_long_for_witnesses_are_told():
    at = {17: TIME, 18: TIME + 5}.get
    late = TIME + WITNESS_LAG_S + 1
    assert lag(17, 27, at, 0, late) == Lag(17, 26, TIME)
    assert lag(17, 27, at, 0, late - 1) is None
    assert lag(17, 27, at, TIME + 1, late) is None, "the quorum was not asked for before"
    assert lag(27, 27, at, 0, late) is None
    assert lag(40, 27, at, 0, late) is None
