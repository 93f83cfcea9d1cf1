"""The trust bundle: what the offline root signs. Format: `docs/PROTOCOL.md`, "Trust bundle"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from credproof.attestation.oprf_key import OprfKey, parse_oprf_key
from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed
from credproof.base.group import parse_element
from credproof.base.keys import DatedKey
from credproof.base.limits import (
    CERTIFICATION_MAX_S,
    CLOCK_SKEW_S,
    FORMER_QUORUMS_MAX,
    TRUST_LIFE_MAX_S,
    at_most,
)
from credproof.base.members import Members
from credproof.verification.participant import (
    NEVER,
    Licence,
    Participant,
    byte_strings,
    key_json,
    licence_json,
    parse_key,
    parse_licence,
    parse_participant,
    participant_json,
    records,
)
from credproof.verification.policy import PolicyRef, parse_ref, ref_json
from credproof.verification.purpose import Template, parse_template

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class PolicyPin:
    """A policy in force from and until these times, in whole seconds.

    `approvals` are the signatures of operators under it, each a JWS. The same policy may be
    pinned again from another time on.
    """

    ref: PolicyRef
    valid_from: int
    valid_until: int
    approvals: tuple[str, ...] = ()

    def is_in_force(self, at: int) -> bool:
        """Whether the policy is in force at time `at`."""
        return self.valid_from <= at + CLOCK_SKEW_S and at <= self.valid_until


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Where passkeys may be used: the WebAuthn RP id, and the origins of its pages.

    In force from and until these times, in whole seconds. One that has ended stays listed: what
    was signed on its pages stays valid.
    """

    id: str
    origins: tuple[str, ...]
    valid_from: int = 0
    valid_until: int = NEVER

    def is_in_force(self, at: int) -> bool:
        """Whether documents that come in at time `at` may be signed on its pages."""
        return self.valid_from <= at + CLOCK_SKEW_S and at <= self.valid_until

    def may_have_signed(self, at: int) -> bool:
        """Whether a document that bears the time `at`, by another's clock, may be of its pages."""
        return self.valid_from - CLOCK_SKEW_S <= at <= self.valid_until + CLOCK_SKEW_S


@dataclass(frozen=True, slots=True)
class FormerQuorum:
    """A quorum file that was in force until a time, in whole seconds; empty if there was none.

    It was so since the one before it ended. It stays listed: answers of then rest on it.
    """

    text: str
    valid_until: int

    def may_count(self, at: int) -> bool:
        """Whether an answer that bears the time `at` may have reached it, then or later."""
        return at <= self.valid_until + CLOCK_SKEW_S


@dataclass(frozen=True)
class TrustBundle:
    """What the root signs. Times are whole seconds; keys of the past stay listed.

    `log_vkey` is the log's key under its origin, `old_logs` those of origins that it had before.
    `bureau` is the operator's licence as a credit bureau, `texts` are digests of notice templates.
    `quorum` is the text of a C2SP tlog-policy file, `log_cosigner` the vkey of the log's own
    ML-DSA-44 key; empty where there is none. `former_quorums` are those of before.
    `directory_key` (32 bytes) is the public key that places in the directory follow from.
    """

    domain: str
    version: int
    issued_at: int
    expires_at: int
    log_vkey: str
    answer_keys: tuple[DatedKey, ...]
    sealing_keys: tuple[bytes, ...]
    oprf_keys: tuple[OprfKey, ...]
    participants: tuple[Participant, ...]
    schemas: tuple[bytes, ...]
    policies: tuple[PolicyPin, ...]
    directory_key: bytes
    old_logs: tuple[str, ...] = ()
    bureau: Licence | None = None
    relying_parties: tuple[RelyingParty, ...] = ()
    texts: tuple[bytes, ...] = ()
    purposes: tuple[Template, ...] = ()
    quorum: str = ""
    log_cosigner: str = ""
    former_quorums: tuple[FormerQuorum, ...] = ()

    def relying_parties_at(self, at: int) -> tuple[RelyingParty, ...]:
        """Those in force at time `at`: what is new must be signed on their pages."""
        return tuple(party for party in self.relying_parties if party.is_in_force(at))

    def to_json(self) -> dict[str, Json]:
        return {
            "answer_keys": [key_json(key) for key in self.answer_keys],
            "bureau": licence_json(self.bureau),
            "directory_key": b64url(self.directory_key),
            "domain": self.domain,
            "exp": self.expires_at,
            "former_quorums": [_former_json(item) for item in self.former_quorums],
            "iat": self.issued_at,
            "log": self.log_vkey,
            "log_cosigner": self.log_cosigner,
            "old_logs": list(self.old_logs),
            "oprf_keys": [key.to_json() for key in self.oprf_keys],
            "participants": [participant_json(item) for item in self.participants],
            "policies": [_pin_json(pin) for pin in self.policies],
            "purposes": [template.to_json() for template in self.purposes],
            "quorum": self.quorum,
            "relying_parties": [relying_party_json(item) for item in self.relying_parties],
            "schemas": [b64url(digest) for digest in self.schemas],
            "sealing_keys": [b64url(key) for key in self.sealing_keys],
            "texts": [b64url(digest) for digest in self.texts],
            "version": self.version,
        }


def parse_bundle(members: Members) -> TrustBundle:
    """A bundle, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_TRUST`, `BAD_ELEMENT`.
    """
    bundle = TrustBundle(
        domain=members.take("domain", str),
        version=members.take("version", int),
        issued_at=members.take("iat", int),
        expires_at=members.take("exp", int),
        log_vkey=members.take("log", str),
        answer_keys=tuple(parse_key(key) for key in records(members, "answer_keys")),
        sealing_keys=byte_strings(members, "sealing_keys"),
        oprf_keys=tuple(parse_oprf_key(key) for key in records(members, "oprf_keys")),
        participants=tuple(parse_participant(p) for p in records(members, "participants")),
        schemas=byte_strings(members, "schemas"),
        policies=tuple(_parse_pin(pin) for pin in records(members, "policies")),
        directory_key=parse_element(members.bytes("directory_key", 32)),
        old_logs=members.strings("old_logs"),
        bureau=parse_licence(members.nullable("bureau", dict)),
        relying_parties=tuple(_parse_rp(item) for item in records(members, "relying_parties")),
        texts=byte_strings(members, "texts"),
        purposes=tuple(parse_template(item) for item in records(members, "purposes")),
        quorum=members.optional("quorum", str) or "",  # bundles from before witnesses lack both
        log_cosigner=members.optional("log_cosigner", str) or "",
        former_quorums=_parse_former(members.optional("former_quorums", list) or []),
    )
    members.finish()
    ids = [participant.id for participant in bundle.participants]
    if not is_domain(bundle.domain) or bundle.version < 1 or len(set(ids)) != len(ids):
        raise Malformed("BAD_TRUST", "trust bundle has a bad domain, version or participant")
    if not 0 < bundle.expires_at - bundle.issued_at <= TRUST_LIFE_MAX_S:
        raise Malformed("BAD_TRUST", "trust bundle lasts for too short or too long")
    if not (bundle.answer_keys and bundle.sealing_keys and bundle.oprf_keys):
        raise Malformed("BAD_TRUST", "trust bundle lacks a key of the service")
    _require_one_at_a_time(bundle.relying_parties)
    _require_once([(item.lender, item.purpose) for item in bundle.purposes])
    _require_once([key.id for key in bundle.oprf_keys])
    _require_own_keys(bundle)
    _require_custodians(bundle)
    _require_year(bundle)
    return bundle


def _require_once(names: Sequence[object]) -> None:
    if len(set(names)) != len(names):
        raise Malformed("BAD_TRUST", "trust bundle says one thing twice")


def _require_one_at_a_time(parties: Sequence[RelyingParty]) -> None:
    """A party follows another of the same id, and begins when that has ended."""
    ordered = sorted(parties, key=lambda party: (party.id, party.valid_from, party.valid_until))
    for before, after in pairwise(ordered):
        if before.id == after.id and after.valid_from < before.valid_until:
            raise Malformed("BAD_TRUST", "two relying parties of one id are in force at once")


def _require_own_keys(bundle: TrustBundle) -> None:
    """Nobody speaks with another's key: an operator that attests as a provider is seen to."""
    _require_once([key.public.kid for p in bundle.participants for key in p.keys])
    service = {key.public.kid for key in bundle.answer_keys}
    if any(key.public.kid in service for p in bundle.participants for key in p.keys):
        raise Malformed("BAD_TRUST", "a participant has a key of the service")


def _require_custodians(bundle: TrustBundle) -> None:
    """Who holds a share can be looked up: it is a participant, of this role and no other."""
    known = {p.id for p in bundle.participants if p.role == "custodian"}
    for key in bundle.oprf_keys:
        key.require_sound()
        if not known.issuperset(key.custodians):
            raise Malformed("BAD_TRUST", "a share is held by somebody who is no custodian")


def _require_year(bundle: TrustBundle) -> None:
    last = bundle.issued_at + CERTIFICATION_MAX_S
    if any(until > last for p in bundle.participants for until in p.certified.values()):
        raise Malformed("BAD_TRUST", "a purpose is certified for more than a year ahead")


def is_domain(text: str) -> bool:
    """Whether a trust domain may be called so."""
    return _DOMAIN.match(text) is not None


def _former_json(former: FormerQuorum) -> dict[str, Json]:
    return {"quorum": former.text, "until": former.valid_until}


def _parse_former(values: Sequence[Any]) -> tuple[FormerQuorum, ...]:
    """Each ends when the one before has ended; bundles of before have none."""
    at_most(len(values), FORMER_QUORUMS_MAX, "former quorums")
    found, last = [], 0
    for value in values:
        members = Members(value, "former quorum")
        former = FormerQuorum(members.take("quorum", str), members.take("until", int))
        members.finish()
        if former.valid_until < last:
            raise Malformed("BAD_TRUST", "former quorums are out of order")
        found.append(former)
        last = former.valid_until
    return tuple(found)


def _pin_json(pin: PolicyPin) -> dict[str, Json]:
    return {
        "approvals": list(pin.approvals),
        "from": pin.valid_from,
        "policy": ref_json(pin.ref),
        "until": pin.valid_until,
    }


def _parse_pin(value: Any) -> PolicyPin:
    members = Members(value, "policy pin")
    ref = parse_ref(members.take("policy", dict))
    dates = (members.take("from", int), members.take("until", int))
    pin = PolicyPin(ref, *dates, members.strings("approvals"))
    members.finish()
    return pin


def relying_party_json(party: RelyingParty) -> dict[str, Json]:
    """The JSON form of a relying party."""
    return {
        "from": party.valid_from,
        "id": party.id,
        "origins": list(party.origins),
        "until": party.valid_until,
    }


def _parse_rp(value: Any) -> RelyingParty:
    members = Members(value, "relying party")
    until = members.optional("until", int)  # bundles from before parties ended lack both dates
    party = RelyingParty(
        id=members.take("id", str),
        origins=members.strings("origins"),
        valid_from=members.optional("from", int) or 0,
        valid_until=NEVER if until is None else until,
    )
    members.finish()
    if not is_domain(party.id) or not party.origins:
        raise Malformed("BAD_TRUST", "a relying party has a bad id or no origin")
    if not 0 <= party.valid_from <= party.valid_until:
        raise Malformed("BAD_TRUST", "a relying party ends before it begins")
    return party
