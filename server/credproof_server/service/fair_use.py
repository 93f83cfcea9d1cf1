"""What the registry allows a lender: refusals that tell nothing about a borrower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from credproof.base.errors import Refused, VerificationFailed
from credproof.verification.consent import VerifiedConsent
from credproof.verification.participant import Participant
from credproof.verification.policy import Policy, PolicyRef
from credproof.verification.purpose import Template
from credproof.verification.standing import require_licence, require_standing, require_terms
from credproof.verification.trust import Trust

from credproof_server.service.uses import Question, Uses


@contextmanager
def refused() -> Iterator[None]:
    """What does not hold is refused to the caller, for the same reason."""
    try:
        yield
    except VerificationFailed as error:
        raise Refused(error.reason, error.message) from error


def require_licensed(lender: Participant, at: int) -> None:
    """Only a licensed lender works with what is about borrowers.

    Raises:
        Refused: `LENDER_NOT_LICENSED`.
    """
    with refused():
        require_licence(lender, at)


def require_open(trust: Trust, lender: str, ref: PolicyRef, at: int) -> Template | None:
    """The lender's template for the policy, found without looking at any borrower.

    None for a policy that it may not use: that is refused like everything before a consent.

    Raises:
        Refused: as `require_standing`.
    """
    policy = trust.policies.get(ref)
    if policy is None or not policy.allows(lender):
        return None
    with refused():
        return require_standing(trust, lender, policy, at)


def require_fair(template: Template, consent: VerifiedConsent) -> None:
    """A consent that was granted under an older template must keep to the one of now.

    Raises:
        Refused: as `require_terms`.
    """
    with refused():
        require_terms(template, consent.terms, consent.not_before)


def require_room(trust: Trust, uses: Uses, use: Question, policy: Policy, at: int) -> None:
    """One more answer this month, whatever policies and consents the others were under.

    Raises:
        Refused: `PURPOSE_ANSWERS_PER_MONTH`, and as `require_standing`.
    """
    with refused():
        template = require_standing(trust, use.lender, policy, at)
    others = {ref.digest for ref, p in trust.policies.items() if p.purpose != policy.purpose}
    if uses.this_month(use, others) >= template.answers_per_month:
        message = "answers_per_month: the purpose allows no more about this borrower this month"
        raise Refused("PURPOSE_ANSWERS_PER_MONTH", message)
