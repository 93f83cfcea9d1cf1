"""The rules between entries and roots of the directory: none is old, none covers too little.

Whether a root is the right one takes the whole directory: `replay`. Format: `docs/PROTOCOL.md`,
"Rules between entries".
"""

from __future__ import annotations

from typing import Any, Final

from credproof.base.errors import VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.log.entry import Entry
from credproof.verification.answer_entry import GivenEntry
from credproof.verification.filing import change_of, parse_root
from credproof.verification.rule_state import BrokenRule, Memory, State

DIRECTORY: Final = "directory"
"""The name of what is known of the directory: its newest root, and changes that wait for one."""


WAITING_MAX: Final = 2 * DIRECTORY_AGE_MAX_S
"""At most so many times of changes are told apart; more wait only where no root comes at all."""


def change(state: State, entry: Entry) -> None:
    """An entry changes the directory: from now on a root must cover it."""
    change_of(entry)  # it says where
    waiting: list[list[int]] = list(_known(state).get("waiting", ()))
    if waiting and (waiting[-1][0] == entry.time or len(waiting) == WAITING_MAX):
        waiting[-1] = [*waiting[-1][:2], entry.seq]
    else:
        waiting.append([entry.time, entry.seq, entry.seq])
    state.learn(DIRECTORY, waiting=waiting)


def root(state: State, entry: Entry) -> None:
    """A root covers what the one before did, and all that is not quite new."""
    try:
        found = parse_root(entry)
    except VerificationFailed as error:
        raise BrokenRule("BAD_ROOT", error.message) from error
    known = _known(state)
    left = [item for item in known.get("waiting", ()) if item[2] >= found.covered]
    state.learn(DIRECTORY, at=entry.seq, covered=found.covered, time=entry.time, waiting=left)
    if found.covered < known.get("covered", 0):
        raise BrokenRule("ROOT_WENT_BACK", "a root covers less than the one before", known["at"])
    if left and left[0][0] < entry.time - DIRECTORY_AGE_MAX_S:
        message = "a root does not cover what was logged long before"
        raise BrokenRule("ROOT_BEHIND", message, max(left[0][1], found.covered))


def require_root(state: State, entry: Entry, given: GivenEntry) -> None:
    """A tier rests on a root that was new when the answer was made."""
    oldest = entry.time - DIRECTORY_AGE_MAX_S - CLOCK_SKEW_S
    known = _known(state)
    if given.outcome == "TIER" and known.get("time", 0) < oldest:
        places = [known["at"]] if "at" in known else []
        raise BrokenRule("ANSWER_WITHOUT_ROOT", "a tier, and no root that is new enough", *places)


def behind(memory: Memory, now: int) -> VerificationFailed | None:
    """That a change has waited for a root for too long at time `now` (whole seconds), by whoever's
    clock that is: `ROOT_BEHIND`. No entry shows it yet, so it is no broken rule."""
    known = memory.load([DIRECTORY]).get(DIRECTORY, {})
    waiting = known.get("waiting", ())
    if not waiting or waiting[0][0] >= now - DIRECTORY_AGE_MAX_S - CLOCK_SKEW_S:
        return None
    first = max(waiting[0][1], known.get("covered", 0))
    message = f"no root covers entry {first}, which changed the directory long ago"
    return VerificationFailed("ROOT_BEHIND", message)


def _known(state: State) -> dict[str, Any]:
    return state.get(DIRECTORY) or {}
