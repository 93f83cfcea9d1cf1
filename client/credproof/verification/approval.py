"""Approval: an operator says that a policy may be in force, from and until when.

Two operators must say so, whatever the root signs: nobody alone changes what may be asked.
Format: `docs/PROTOCOL.md`, "Approval of a policy".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from credproof.base import jws
from credproof.base.encoding import Json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import Signer
from credproof.base.limits import APPROVALS_MAX, at_most
from credproof.base.members import Members
from credproof.verification.bundle import PolicyPin
from credproof.verification.participant import Participant
from credproof.verification.policy import PolicyRef, parse_ref, ref_json

APPROVALS_NEEDED: Final = 2


@dataclass(frozen=True, slots=True)
class Approval:
    """A parsed approval; not verified. Times are whole seconds."""

    jws: Jws
    operator: str
    domain: str
    issued_at: int
    ref: PolicyRef
    valid_from: int
    valid_until: int

    def verify(self, pin: PolicyPin, operators: Mapping[str, Participant], domain: str) -> None:
        """Accept it as an operator's own word on exactly this pin.

        Raises:
            VerificationFailed: `NOT_AN_OPERATOR`, `OTHER_APPROVAL`, `WRONG_SERVICE`,
                `UNKNOWN_KEY`, `BAD_SIGNATURE`, `WRONG_ALGORITHM`, `KEY_NOT_VALID`.
        """
        operator = operators.get(self.operator)
        if operator is None or operator.role != "operator" or operator.is_suspended(self.issued_at):
            raise VerificationFailed("NOT_AN_OPERATOR", "policy is approved by no active operator")
        if self.domain != domain:
            raise VerificationFailed("WRONG_SERVICE", "approval is for another service")
        said = (self.ref, self.valid_from, self.valid_until)
        if said != (pin.ref, pin.valid_from, pin.valid_until):
            raise VerificationFailed("OTHER_APPROVAL", "approval is of another policy or dates")
        operator.verify_signature(self.jws, self.issued_at)


def sign_approval(signer: Signer, pin: PolicyPin, *, operator: str, domain: str, now: int) -> str:
    """The operator's word that this policy may be in force from and until the pin's dates."""
    claims: dict[str, Json] = {
        "aud": domain,
        "from": pin.valid_from,
        "iat": now,
        "iss": operator,
        "policy": ref_json(pin.ref),
        "until": pin.valid_until,
    }
    return jws.sign(signer, jws.APPROVAL, claims)


def parse_approval(text: str) -> Approval:
    """An approval, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.APPROVAL)
    members = Members(parsed.claims, "approval")
    approval = Approval(
        jws=parsed,
        operator=members.take("iss", str),
        domain=members.take("aud", str),
        issued_at=members.take("iat", int),
        ref=parse_ref(members.take("policy", dict)),
        valid_from=members.take("from", int),
        valid_until=members.take("until", int),
    )
    members.finish()
    return approval


def verify_approvals(pin: PolicyPin, participants: Mapping[str, Participant], domain: str) -> None:
    """Accept a pin that two operators approved; that no two share a key, the bundle shows.

    Raises:
        Malformed: as `parse_approval`; `BAD_TRUST` when dates are out of order.
        VerificationFailed: `NOT_APPROVED`, and as `Approval.verify`.
    """
    at_most(len(pin.approvals), APPROVALS_MAX, "approvals of a policy")
    if not 0 <= pin.valid_from <= pin.valid_until:
        raise Malformed("BAD_TRUST", "a policy ends before it begins")
    approvals = [parse_approval(text) for text in pin.approvals]
    for approval in approvals:
        approval.verify(pin, participants, domain)
    operators = {approval.operator for approval in approvals}
    if len(operators) < APPROVALS_NEEDED or len(operators) < len(approvals):
        raise VerificationFailed("NOT_APPROVED", "a policy needs two operators who approve of it")
