"""What timestamps say of times: within the tolerance nothing, beyond it a contradiction."""

from __future__ import annotations

from credproof.base.limits import TIMESTAMP_GAP_S, TIMESTAMP_TOLERANCE_S
from credproof.log.stamped import AHEAD, BACKDATED, Gap, Stamped, contradictions, gaps

START = 1_795_000_000


def times(*seconds: int):
    """The log's entries, at so many seconds after `START`."""
    told = dict(enumerate(START + second for second in seconds))
    return told.get


def stamps(**at: int) -> list[Stamped]:
    return [Stamped(int(size[1:]), START + time, "one") for size, time in at.items()]


def found(stamped, time_of) -> list[tuple[str, int]]:
    return [(item.rule, item.log_index) for item in contradictions(stamped, time_of)]


def test_an_honest_log_contradicts_no_timestamp():
    assert found(stamps(_2=11, _4=700), times(0, 10, 12, 690, 701, 800)) == []


def test_an_entry_that_was_dated_back_is_found_beyond_the_tolerance():
    late = TIMESTAMP_TOLERANCE_S + 100
    assert found(stamps(_2=late), times(0, 10, 100)) == []
    assert found(stamps(_2=late), times(0, 10, 99, 99)) == [(BACKDATED, 2)]


def test_an_entry_that_was_dated_ahead_is_found_beyond_the_tolerance():
    ahead = TIMESTAMP_TOLERANCE_S + 10
    assert found(stamps(_2=10), times(0, ahead)) == []
    assert found(stamps(_2=10), times(0, ahead + 1)) == [(AHEAD, 1)]


def test_entries_that_waited_too_long_are_a_gap_and_so_are_the_newest():
    wait = TIMESTAMP_GAP_S
    told = times(0, 10, 20, 20 + wait)
    assert gaps(stamps(_1=wait, _3=10 + wait), 4, told, START + 21 + wait) == []
    first = Gap(0, 0, START, START + wait + 1)
    second = Gap(1, 2, START + 10, START + wait + 11)
    last = Gap(3, 3, START + 20 + wait, None)
    late = stamps(_1=wait + 1, _3=wait + 11)
    assert gaps(late, 4, told, START + 21 + 2 * wait) == [first, second, last]


def test_a_second_authority_that_stamped_the_same_makes_no_gap():
    wait = TIMESTAMP_GAP_S
    twice = [*stamps(_2=10), Stamped(2, START + 5 * wait, "two")]
    assert gaps(twice, 2, times(0, 5), START + 9 * wait) == []
