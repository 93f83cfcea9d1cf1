"""What the log says of a question: under what it was asked, and what came of it.

Written and read here alone. No figure stands in it, and nothing that names a borrower: references
are the lender's salted digests, a consent is its id. Format: `docs/PROTOCOL.md`, "Log".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast, get_args

from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.log.entry import Entry
from credproof.verification.answer import ENTRY_ANSWER, Answer
from credproof.verification.policy import (
    PURPOSES,
    OutcomeKind,
    PolicyRef,
    parse_ref,
    ref_json,
)

ENTRY_REFUSED: Final = "answer.refused"
AFTER_CONSENT: Final = frozenset(
    {
        "CAP_REACHED",
        "CONSENT_EXPIRED",
        "CONSENT_PAUSED",
        "CONSENT_REVOKED",
        "CONSENT_USED_UP",
        "PURPOSE_ANSWERS_PER_MONTH",
        "PURPOSE_CONSENT_DAYS",
        "PURPOSE_DATA_LIFE_DAYS",
        "TOO_MANY_ATTESTATIONS",
        "TOO_NARROW",
    }
)
"""Reasons that only the lender of a consent is told, who asks about its borrower: with these the
entry names the consent. With any other it might be nobody's, or another lender's."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a lender asked under. `case` and `staff` are its salted digests (32 bytes).

    `policy` and `purpose` are None when the registry pins no such policy: what stands in the log
    is never a text of the lender's choice.
    """

    policy: PolicyRef | None
    purpose: str | None
    case: bytes
    staff: bytes

    def fields(self) -> dict[str, Json]:
        """The fields that every entry about a question has."""
        return {
            "case": b64url(self.case),
            "policy": None if self.policy is None else ref_json(self.policy),
            "purpose": self.purpose,
            "staff": b64url(self.staff),
        }


@dataclass(frozen=True, slots=True)
class GivenEntry:
    """An answer in the log. `tag` stands for the borrower, `verdicts` commits to all of them."""

    asked: Asked
    consent: bytes
    outcome: OutcomeKind
    tag: bytes
    verdicts: bytes

    @property
    def policy(self) -> PolicyRef:
        """The policy, which every answer has."""
        assert self.asked.policy is not None, "parsed and built with one"
        return self.asked.policy

    def is_of(self, answer: Answer, purpose: str) -> bool:
        """Whether it says what the signed answer says; `purpose` is that of its policy."""
        asked = Asked(answer.policy, purpose, answer.case, answer.staff)
        told = (asked, answer.consent, answer.outcome.kind)
        return (self.asked, self.consent, self.outcome) == told

    def fields(self) -> dict[str, Json]:
        """The fields of its entry."""
        return {
            **self.asked.fields(),
            "consent": b64url(self.consent),
            "outcome": self.outcome,
            "tag": b64url(self.tag),
            "verdicts": b64url(self.verdicts),
        }


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """A refused question in the log; `consent` only with the reasons `AFTER_CONSENT`."""

    asked: Asked
    consent: bytes | None
    reason: str

    def fields(self) -> dict[str, Json]:
        """The fields of its entry."""
        consent = None if self.consent is None else b64url(self.consent)
        return {**self.asked.fields(), "consent": consent, "reason": self.reason}


def parse_given(entry: Entry) -> GivenEntry:
    """What an entry says of an answer.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_ANSWER_ENTRY`, or as `parse_b64url`.
    """
    members = Members(entry.fields, ENTRY_ANSWER)
    asked = _parse_asked(members)
    consent, outcome = members.bytes("consent", 32), members.take("outcome", str)
    tag, verdicts = members.bytes("tag", 32), members.bytes("verdicts", 32)
    members.finish()
    if entry.kind != ENTRY_ANSWER or asked.policy is None or outcome not in get_args(OutcomeKind):
        raise Malformed("BAD_ANSWER_ENTRY", "the entry gives no answer, or no outcome that exists")
    return GivenEntry(asked, consent, cast(OutcomeKind, outcome), tag, verdicts)


def parse_refused(entry: Entry) -> RefusedEntry:
    """What an entry says of a refused question.

    Raises:
        Malformed: as `parse_given`.
    """
    members = Members(entry.fields, ENTRY_REFUSED)
    asked, reason = _parse_asked(members), members.take("reason", str)
    spelled = members.nullable("consent", str)
    consent = None if spelled is None else Members({"consent": spelled}, "").bytes("consent", 32)
    members.finish()
    if entry.kind != ENTRY_REFUSED or (consent is not None) != (reason in AFTER_CONSENT):
        raise Malformed("BAD_ANSWER_ENTRY", "the entry refuses nothing, or names a consent wrongly")
    return RefusedEntry(asked, consent, reason)


def _parse_asked(members: Members) -> Asked:
    policy, purpose = members.nullable("policy", dict), members.nullable("purpose", str)
    if (policy is None) != (purpose is None) or purpose not in (None, *PURPOSES):
        raise Malformed("BAD_ANSWER_ENTRY", "a policy comes with its purpose")
    ref = None if policy is None else parse_ref(policy)
    return Asked(ref, purpose, members.bytes("case", 32), members.bytes("staff", 32))
