"""Participants as the trust bundle names them: role, status, keys, and what they may do.

Format: `docs/PROTOCOL.md`, "Trust bundle".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from credproof.base.encoding import TIME_MAX, Json, b64url, parse_b64url
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import DatedKey, parse_jwk
from credproof.base.limits import (
    CLOCK_SKEW_S,
    FORMER_ACCEPTANCES_MAX,
    TRUST_RECORDS_MAX,
    at_most,
)
from credproof.base.members import Members
from credproof.verification.policy import PURPOSES

Role = Literal["provider", "lender", "auditor", "operator", "custodian"]
ROLES: tuple[Role, ...] = ("provider", "lender", "auditor", "operator", "custodian")
STATUSES = ("active", "suspended")
NEVER = TIME_MAX
"""An open end of validity."""

BORROWER = "borrower"
"""The actor of every borrower in the log, who has no id there: no participant is called so."""
SERVICE = "service"
"""The actor of what the service raises by itself: no participant is called so."""

_ID = re.compile(r"[a-z0-9-]{3,40}\Z")
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence by its number, valid from and until these times, in whole seconds."""

    number: str
    valid_from: int
    valid_until: int

    def is_valid(self, at: int) -> bool:
        """Whether the licence holds at time `at`."""
        return self.valid_from <= at <= self.valid_until


@dataclass(frozen=True, slots=True)
class FormerAcceptance:
    """An acceptance that was in force from and until these times, in whole seconds.

    It stays listed when it is taken back: answers of then rest on it.
    """

    token: str
    valid_from: int
    valid_until: int

    def may_have_counted(self, at: int) -> bool:
        """Whether an answer that bears the time `at` may rest on it."""
        return self.valid_from - CLOCK_SKEW_S <= at <= self.valid_until + CLOCK_SKEW_S


@dataclass(frozen=True, slots=True)
class Participant:
    """A provider, lender, auditor, operator or custodian with its signing keys.

    `schemas` are the digests that a provider may attest; the order of keys is oldest first.
    `status` holds since the time `since`, in whole seconds. `certified` is until when a lender
    has certified each purpose that it asks for. `acceptance` is a provider's signed list of
    others whose key bindings it accepts, or empty; `former_acceptances` are those of before.
    """

    id: str
    role: Role
    title: str
    status: str
    keys: tuple[DatedKey, ...]
    schemas: tuple[bytes, ...] = ()
    since: int = 0
    licence: Licence | None = None
    certified: Mapping[str, int] = field(default_factory=dict)
    acceptance: str = ""
    former_acceptances: tuple[FormerAcceptance, ...] = ()

    def is_suspended(self, at: int) -> bool:
        """Whether what it says did not count any more at time `at`."""
        return self.status == "suspended" and self.since <= at

    def key(self, kid: str) -> DatedKey | None:
        """The key with this fingerprint."""
        return next((key for key in self.keys if key.public.kid == kid), None)

    def verify_signature(self, jws: Jws, issued_at: int) -> None:
        """Accept what is signed by a key of this participant that was valid when it was issued.

        Raises:
            VerificationFailed: `UNKNOWN_KEY`, `BAD_SIGNATURE`, `WRONG_ALGORITHM`,
                `KEY_NOT_VALID`.
        """
        key = self.key(jws.kid)
        if key is None:
            raise VerificationFailed("UNKNOWN_KEY", "it is signed by an unregistered key")
        jws.verify(key.public)
        key.verify_valid_at(issued_at)


def is_participant_id(text: str) -> bool:
    """Whether a participant may have this id."""
    return _ID.match(text) is not None and text not in (BORROWER, SERVICE)


def custodian_host(participant_id: str, domain: str) -> str:
    """The host name in a custodian's certificate: whoever connects demands exactly this one."""
    return f"{participant_id}.custodian.{domain}"


def records(members: Members, name: str) -> list[Any]:
    """The member `name`, a list that is not too long."""
    found = members.take(name, list)
    at_most(len(found), TRUST_RECORDS_MAX, name)
    return found


def byte_strings(members: Members, name: str) -> tuple[bytes, ...]:
    """The member `name`, a list of base64url texts that is not too long."""
    texts = members.strings(name)
    at_most(len(texts), TRUST_RECORDS_MAX, name)
    return tuple(parse_b64url(text) for text in texts)


def key_json(key: DatedKey) -> dict[str, Json]:
    """The JSON form of a key with its validity."""
    return {"from": key.not_before, "jwk": key.public.jwk(), "until": key.not_after}


def parse_key(value: Any) -> DatedKey:
    """A key with its validity, taken apart strictly."""
    members = Members(value, "key")
    public = parse_jwk(members.take("jwk", dict))
    key = DatedKey(public, members.take("from", int), members.take("until", int))
    members.finish()
    return key


def licence_json(licence: Licence | None) -> Json:
    """The JSON form of a licence; null where there is none."""
    if licence is None:
        return None
    return {
        "from": licence.valid_from,
        "number": licence.number,
        "until": licence.valid_until,
    }


def parse_licence(value: Mapping[str, Any] | None) -> Licence | None:
    """A licence or null, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_TRUST`.
    """
    if value is None:
        return None
    members = Members(value, "licence")
    licence = Licence(
        members.take("number", str), members.take("from", int), members.take("until", int)
    )
    members.finish()
    if not _NUMBER.match(licence.number) or not 0 <= licence.valid_from <= licence.valid_until:
        raise Malformed("BAD_TRUST", "a licence has a bad number or ends before it begins")
    return licence


def participant_json(participant: Participant) -> dict[str, Json]:
    """The JSON form of a participant."""
    return {
        "acceptance": participant.acceptance,
        "certified": dict(participant.certified),
        "former_acceptances": [_former_json(item) for item in participant.former_acceptances],
        "id": participant.id,
        "keys": [key_json(key) for key in participant.keys],
        "licence": licence_json(participant.licence),
        "role": participant.role,
        "schemas": [b64url(digest) for digest in participant.schemas],
        "since": participant.since,
        "status": participant.status,
        "title": participant.title,
    }


def parse_participant(value: Any) -> Participant:
    """A participant, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_TRUST`.
    """
    members = Members(value, "participant")
    participant = Participant(
        id=members.take("id", str),
        role=members.take("role", str),  # type: ignore[arg-type]
        title=members.take("title", str),
        status=members.take("status", str),
        keys=tuple(parse_key(key) for key in records(members, "keys")),
        schemas=byte_strings(members, "schemas"),
        since=members.take("since", int),
        licence=parse_licence(members.nullable("licence", dict)),
        certified=_parse_certified(members.take("certified", dict)),
        acceptance=members.take("acceptance", str),
        former_acceptances=_parse_former(members.optional("former_acceptances", list) or []),
    )
    members.finish()
    if participant.role not in ROLES or participant.status not in STATUSES:
        raise Malformed("BAD_TRUST", "participant has an unknown role or status")
    if not is_participant_id(participant.id) or not participant.title.isprintable():
        raise Malformed("BAD_TRUST", "participant has a bad id or title")
    return participant


def _former_json(former: FormerAcceptance) -> dict[str, Json]:
    return {"from": former.valid_from, "token": former.token, "until": former.valid_until}


def _parse_former(values: Sequence[Any]) -> tuple[FormerAcceptance, ...]:
    """Each follows the one before, and ends after it has begun; bundles of before have none."""
    at_most(len(values), FORMER_ACCEPTANCES_MAX, "former acceptances")
    found, last = [], 0
    for value in values:
        members = Members(value, "former acceptance")
        dates = members.take("from", int), members.take("until", int)
        found.append(FormerAcceptance(members.take("token", str), *dates))
        members.finish()
        if not last <= dates[0] <= dates[1]:
            raise Malformed("BAD_TRUST", "former acceptances are out of order")
        last = dates[1]
    return tuple(found)


def _parse_certified(value: Mapping[str, Any]) -> Mapping[str, int]:
    members = Members(value, "certified")
    certified = {purpose: members.take(purpose, int) for purpose in PURPOSES if purpose in value}
    members.finish()
    return certified
