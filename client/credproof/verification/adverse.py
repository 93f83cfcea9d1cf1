"""The notice that a lender gives who decides against a borrower: where from, why, which rights.

After FCRA section 615 and China's Regulation on Credit Reporting, articles 17 and 25: the source,
a copy, a dispute, a review by a person.
"""

from __future__ import annotations

import datetime as dt

from credproof.base.errors import Conflict
from credproof.verification.explain import result_text
from credproof.verification.text import Text, fill
from credproof.verification.trust import Trust
from credproof.verification.verify import VerifiedAnswer


def adverse_text(verified: VerifiedAnswer, trust: Trust, text: Text) -> str:
    """The notice about a verified answer.

    Raises:
        Conflict: `NOTHING_ADVERSE` for the best tier: nothing was held against the borrower.
    """
    answer, policy = verified.answer, verified.policy
    outcome = answer.outcome
    if outcome.tier == policy.tiers[0].name:
        raise Conflict("NOTHING_ADVERSE", "the answer grants the best tier of its policy")
    time = dt.datetime.fromtimestamp(answer.issued_at, dt.UTC)
    return fill(
        text.adverse,
        lender=_title(trust, answer.lender),
        time=time.strftime("%Y-%m-%d %H:%M UTC"),
        service=answer.domain,
        title=policy.title[text.language],
        id=policy.id,
        version=policy.version,
        outcome=fill(text.outcomes[outcome.kind], tier=outcome.tier),
        reason=_reason(verified, text),
        sources=text.words["separator"].join(_title(trust, s.provider) for s in verified.sources),
    )


def _reason(verified: VerifiedAnswer, text: Text) -> str:
    outcome, results = verified.answer.outcome, verified.answer.results
    if outcome.kind == "REFER" and results:
        question = verified.policy.questions[results[0].question]
        return result_text(question, results[0].verdict, text)
    reasons = {"TIER": ("LOWER",), "REFER": ("SILENT",), "INCOMPLETE": outcome.reasons}
    return text.words["separator"].join(text.reasons[name] for name in reasons[outcome.kind])


def _title(trust: Trust, participant_id: str) -> str:
    known = trust.participants.get(participant_id)
    return f"{known.title} ({participant_id})" if known else participant_id
