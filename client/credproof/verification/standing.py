"""Whether a lender may ask for a purpose, and under which terms: what the registry says of it.

Decided by the trust bundle and the time alone, never by anything about a borrower: a lender may
learn it in clear. Rules: `docs/PROTOCOL.md`, section 12a.
"""

from __future__ import annotations

from credproof.base.encoding import DAY_S
from credproof.base.errors import VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.consent import Terms
from credproof.verification.participant import Participant
from credproof.verification.policy import Policy
from credproof.verification.purpose import Template, template_for
from credproof.verification.trust import Trust


def require_licence(lender: Participant | None, at: int) -> Participant:
    """The lender, whose licence must hold at time `at`.

    Raises:
        VerificationFailed: `LENDER_NOT_LICENSED`.
    """
    if lender is None or lender.role != "lender" or lender.licence is None:
        raise VerificationFailed("LENDER_NOT_LICENSED", "the registry knows no licence of it")
    if not lender.licence.is_valid(at):
        raise VerificationFailed("LENDER_NOT_LICENSED", "the lender's licence was not valid then")
    return lender


def require_standing(trust: Trust, lender: str, policy: Policy, at: int) -> Template:
    """The template that binds this lender when it asks a policy's questions at time `at`.

    Raises:
        VerificationFailed: `LENDER_NOT_LICENSED`; `PURPOSE_NOT_CERTIFIED`; `PURPOSE_NOT_OPEN`
            without a template; `PURPOSE_WINDOW_DAYS` for a policy that takes older data than the
            purpose allows; `ROUTE_NOT_LICENSED`.
    """
    found = require_licence(trust.participants.get(lender), at)
    if found.certified.get(policy.purpose, -1) < at:
        raise VerificationFailed(
            "PURPOSE_NOT_CERTIFIED", "the lender has not certified this purpose within a year"
        )
    template = template_for(trust.bundle.purposes, lender, policy.purpose)
    if template is None:
        raise VerificationFailed("PURPOSE_NOT_OPEN", "no template allows this purpose")
    if policy.fresh_days > template.window_days:
        message = "window_days: the policy takes older data than the purpose allows"
        raise VerificationFailed("PURPOSE_WINDOW_DAYS", message)
    _require_route(trust, policy, at)
    return template


def _require_route(trust: Trust, policy: Policy, at: int) -> None:
    """A policy that asks for a licensed bureau is answered by no other."""
    bureau = trust.bundle.bureau
    if policy.route == "licensed-bureau" and not (bureau and bureau.is_valid(at)):
        message = "the policy is answered by a licensed bureau only, and this service was none then"
        raise VerificationFailed("ROUTE_NOT_LICENSED", message)


def require_terms(template: Template, terms: Terms, since: int) -> None:
    """Terms of a consent that begins at time `since` must keep to the purpose's template.

    Raises:
        VerificationFailed: `PURPOSE_DATA_LIFE_DAYS`, `PURPOSE_CONSENT_DAYS`.
    """
    if terms.data_life_days > template.data_life_days:
        message = "data_life_days: answers would be kept for longer than the purpose allows"
        raise VerificationFailed("PURPOSE_DATA_LIFE_DAYS", message)
    if terms.expires_at - since > template.consent_days * DAY_S + CLOCK_SKEW_S:
        message = "consent_days: the consent would last for longer than the purpose allows"
        raise VerificationFailed("PURPOSE_CONSENT_DAYS", message)
