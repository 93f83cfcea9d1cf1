"""What came of the numbered checks: the judgement of `verify_answer`, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from credproof.auditing.page.words import Words
from credproof.base.encoding import time_text
from credproof.base.errors import CredproofError
from credproof.log.witnessed import Witnessed
from credproof.verification.answer import AnswerBundle, parse_answer
from credproof.verification.completeness import Completeness
from credproof.verification.trust import Trust
from credproof.verification.verify import (
    CHECKS,
    Expectations,
    VerifiedAnswer,
    parse_tokens,
    verify_answer,
)

State = Literal["passed", "failed", "not_reached"]
QUESTIONS: Final = 5
"""The check without which an answer to a question is a claim."""
OUTCOME: Final = 6
"""The check without which outcome and offer are claims."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verified answer, or the error of the first check that failed.

    `passed` are the numbers of the checks that passed. `waiting` is what the answer comes to once
    witnesses cosign, where nothing but their cosignatures is missing.
    """

    verified: VerifiedAnswer | None
    error: CredproofError | None
    passed: frozenset[int]
    waiting: VerifiedAnswer | None = None

    def state(self, number: int) -> State:
        """What came of a check."""
        if number in self.passed:
            return "passed"
        failed = self.error is not None and self.error.step == number
        return "failed" if failed else "not_reached"


def judge(
    bundle: AnswerBundle, trust: Trust, pins: Mapping[str, frozenset[str]], now: int
) -> Judged:
    """All checks as of the answer's time, as `credproof lender verify` does them for its lender.

    Raises:
        Malformed: as `parse_answer`: what is no answer is not judged.
    """
    _, answer = parse_answer(bundle.answer)
    expected = Expectations(answer.lender, now, "as-of-answer", pins)
    try:
        verified = verify_answer(bundle, trust, expected)
    except CredproofError as error:
        waiting = None
        if error.reason == "NOT_WITNESSED":
            with suppress(CredproofError):  # then more is missing than cosignatures
                waiting = verify_answer(bundle, trust, replace(expected, may_wait=True))
        return Judged(None, error, _passed(bundle, error), waiting)
    return Judged(verified, None, frozenset(range(len(CHECKS))))


def _passed(bundle: AnswerBundle, error: CredproofError) -> frozenset[int]:
    """The checks before the one that failed; tokens are taken apart before check 3."""
    before = frozenset(range(error.step or 0))
    if error.step == 4 and not _are_tokens(bundle):
        return before - {3}
    return before


def _are_tokens(bundle: AnswerBundle) -> bool:
    try:
        parse_tokens(bundle.tokens)
    except CredproofError:
        return False
    return True


def result_text(judged: Judged, number: int, words: Words) -> str:
    """What came of a check, with what it found out."""
    said = words.say(judged.state(number))
    if judged.verified is not None:
        details = _details(judged.verified, words).get(number, ())
    elif judged.error is not None and judged.state(number) == "failed":
        details = (f"{judged.error} ({judged.error.reason})",)
    else:
        details = ()
    return words.say("stop").join((said, *details))


def _details(verified: VerifiedAnswer, words: Words) -> dict[int, tuple[str, ...]]:
    place, size = verified.log_index, verified.checkpoint.tree_size
    logged = words.say("logged", index=place, size=size, origin=verified.checkpoint.origin)
    sources = (
        words.say("pinned" if s.pinned else "not_pinned", provider=s.provider, key=s.kid)
        for s in verified.sources
    )
    return {
        2: (words.say("fair_use" if verified.fair_use == "kept" else "fair_use_not_shown"),),
        4: tuple(sources),
        8: (logged, witness_text(verified.witnesses, words)),
        9: (completeness_text(verified.completeness, words),),
    }


def witness_text(found: Witnessed, words: Words) -> str:
    """Who cosigned, and since when as many as the quorum asks for."""
    names = ", ".join(f"{name} ({time_text(time)})" for name, time in found.times.items())
    since = "" if found.since is None else time_text(found.since)
    return words.say(f"witness_{found.state}", names=names or words.say("nobody"), since=since)


def completeness_text(found: Completeness, words: Words) -> str:
    """How complete the answer is: all, in part, a proved absence, or nothing shown."""
    schemas = ", ".join(found.absent)
    phrase = "complete_" + found.state.replace(" ", "_")
    return words.say(phrase, shown=found.shown, of=found.of, schemas=schemas)
