"""A proposal: a policy with its dates, on its way from one operator to the next.

A `*.proposal` file; format: `docs/PROTOCOL.md`, "Approval of a policy".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from credproof.attestation.schema import Schema
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import Conflict, Malformed
from credproof.base.keys import Signer
from credproof.base.limits import PROPOSAL_AGE_MAX_S, TOKEN_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.verification.approval import parse_approval, sign_approval
from credproof.verification.bundle import PolicyPin
from credproof.verification.grammar import parse_policy
from credproof.verification.participant import NEVER
from credproof.verification.policy import Policy

PROPOSAL_BYTES_MAX = 16 * TOKEN_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy and the pin that is proposed for it, with the approvals so far."""

    policy: Policy
    pin: PolicyPin

    def signed(self, signer: Signer, *, operator: str, domain: str, now: int) -> Proposal:
        """The proposal with this operator's approval.

        Raises:
            Conflict: `ALREADY_APPROVED`.
        """
        if operator in {parse_approval(text).operator for text in self.pin.approvals}:
            message = "this operator has approved it already: another one must"
            raise Conflict("ALREADY_APPROVED", message)
        approval = sign_approval(signer, self.pin, operator=operator, domain=domain, now=now)
        return replace(self, pin=replace(self.pin, approvals=(*self.pin.approvals, approval)))

    def to_bytes(self) -> bytes:
        """The content of a `*.proposal` file."""
        return canonical_json(
            {
                "approvals": list(self.pin.approvals),
                "from": self.pin.valid_from,
                "policy": parse_json(self.policy.document),
                "until": self.pin.valid_until,
            }
        )


def require_timely(pin: PolicyPin, pins: Collection[PolicyPin], now: int) -> None:
    """Refuse dates that can never come into force; `pins` are those known, maybe not the newest.

    What began long ago can only be given another end. Whether it began at all, an old bundle may
    not know: a pin with an end is left to `publish`.

    Raises:
        Malformed: `BAD_DATES`.
        Conflict: `BACKDATED`.
    """
    if pin.valid_until < pin.valid_from:
        raise Malformed("BAD_DATES", "a policy ends after it begins: see --from and --until")
    if pin.valid_until < now:
        raise Conflict("BACKDATED", "a policy ends now or later: name a later --until")
    begun = (pin.ref, pin.valid_from) in {(known.ref, known.valid_from) for known in pins}
    is_ending = begun or pin.valid_until != NEVER
    if pin.valid_from < now - PROPOSAL_AGE_MAX_S and not is_ending:
        raise Conflict("BACKDATED", "a policy begins at most seven days ago: name a later --from")


def parse_proposal(data: bytes, schemas: Mapping[str, Schema]) -> Proposal:
    """A proposal, over `schemas` by id; its approvals are not verified.

    Raises:
        Malformed: `BAD_MEMBER`, as `parse_json`, and as `parse_policy`.
    """
    at_most(len(data), PROPOSAL_BYTES_MAX, "proposal")
    members = Members(parse_json(data), "proposal")
    policy = parse_policy(canonical_json(members.take("policy", dict)), schemas)
    dates = members.take("from", int), members.take("until", int)
    pin = PolicyPin(policy.ref, *dates, members.strings("approvals"))
    members.finish()
    return Proposal(policy, pin)
