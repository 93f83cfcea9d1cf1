"""The meter of a lender and a borrower: what would tell more exactly than promised is refused.

It counts rungs, not figures, so the refusal is the same whatever the figures are.
"""

from __future__ import annotations

from credproof.base.errors import Refused
from credproof.verification.meter import broken
from credproof.verification.policy import Policy
from credproof.verification.trust import Trust

from credproof_server.service.uses import Question, Uses


def require_wide(trust: Trust, uses: Uses, use: Question, policy: Policy) -> None:
    """All answers so far and this one keep what any of their policies promises.

    Raises:
        Refused: `TOO_NARROW`.
    """
    digests = uses.answered(use) | {policy.ref.digest}
    asked = [found for ref, found in trust.policies.items() if ref.digest in digests]
    # Past policies stay listed. What one that is not asked for cannot be told: so nothing is.
    is_unlisted = len(asked) < len(digests) and any(item.narrowest for item in asked)
    if is_unlisted or broken(asked):
        message = "with the answers before it would tell more exactly than a policy promises"
        raise Refused("TOO_NARROW", message)
