"""A proposal: a policy with its dates, on its way from one operator to the next.

A `*.proposal` file; format: `docs/PROTOCOL.md`, "Approval of a policy".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from credproof.attestation.schema import Schema
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import Conflict
from credproof.base.keys import Signer
from credproof.base.limits import TOKEN_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.verification.approval import parse_approval, sign_approval
from credproof.verification.bundle import PolicyPin
from credproof.verification.grammar import parse_policy
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
