"""The page as a whole.

It needs nothing from elsewhere: no script, no style sheet, no picture. Whatever came from somebody
is escaped, so an answer puts nothing into the page but its text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from credproof.auditing.page import asked, files, keys, logged, markup, proofs
from credproof.auditing.page.judged import Judged, judge, result_text
from credproof.auditing.page.steps import steps
from credproof.auditing.page.words import Words
from credproof.auditing.stamping import StampProof
from credproof.base.keys import PublicKey
from credproof.log.timestamp import TimestampAuthority
from credproof.verification.answer import AnswerBundle, parse_answer
from credproof.verification.trust import Trust
from credproof.verification.verify import CHECKS


@dataclass(frozen=True)
class Known:
    """What an auditor knows by itself: what an answer is judged by.

    `trust` is the newest bundle kept, `history` the versions of the registry from the first on, as
    far as they were followed; empty where they never were. `roots` are the keys that may sign
    bundles. `stamp` covers the answer's entry and is verified; `authority` made it.
    """

    trust: Trust
    roots: tuple[PublicKey, ...]
    history: Sequence[Trust] = ()
    pins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    stamp: StampProof | None = None
    authority: TimestampAuthority | None = None

    def then(self, at: int) -> Trust | None:
        """The newest version known that is dated before `at`; None when that is `trust` itself."""
        before = [t for t in self.history if t.bundle.issued_at <= at]
        newest = self.trust.bundle.version
        return before[-1] if before and before[-1].bundle.version != newest else None


def page(bundle: AnswerBundle, known: Known, words: Words, *, now: int) -> bytes:
    """The page about an answer, made at time `now`.

    Raises:
        Malformed: as `parse_answer`: what is no answer has no page.
    """
    _, answer = parse_answer(bundle.answer)
    trust, then = known.trust, known.then(answer.issued_at)
    judged = judge(bundle, trust, known.pins, now)
    earlier = judge(bundle, then, known.pins, now) if then is not None else None
    policy = trust.policies.get(answer.policy)
    named = keys.parties(bundle, answer.lender)
    signed = list(files.signed_parts(bundle, trust, known.roots))
    parts = (
        asked.summary(answer, judged, trust, words, now),
        asked.questions(answer, judged, policy, words),
        checks(judged, trust, words),
        checks(earlier, then, words, "checks-then") if earlier and then else "",
        keys.section(bundle, trust, known.history, known.roots, named, words),
        proofs.section(bundle, answer, policy, words),
        proofs.directory(bundle, trust, words),
        logged.entries(bundle, words),
        logged.stamp(known.stamp, words),
        logged.documents(bundle, words),
        files.section(bundle, trust, then, signed, known.stamp, known.authority, words),
        steps(bundle, signed, known.stamp, known.authority, words),
    )
    head = markup.HEAD.format(language=words.language, title=markup.escaped(words.say("title")))
    return (head + "\n".join(parts) + "</body></html>\n").encode()


def checks(judged: Judged, trust: Trust, words: Words, mark: str = "checks") -> str:
    """The ten checks under a version of the trust bundle: what each looks at, what came of it."""
    told = words.say(mark.replace("-", "_") + "_title", version=trust.bundle.version)
    rows = (
        (f"{i}. {words.say(f'check_{i}')}", result_text(judged, i, words))
        for i in range(len(CHECKS))
    )
    how = markup.paragraph(words.say("checks_how"))
    return markup.heading(told) + how + markup.table(rows, mark)
