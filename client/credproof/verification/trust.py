"""The trust bundle: which keys, schemas and policies count, signed by an offline root.

A verifier pins the root and, for providers it knows, their key fingerprints; it keeps the
highest version it has seen and refuses an older one. Format: `docs/PROTOCOL.md`, "Trust
bundle".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from credproof.attestation.schema import Schema, parse_schema
from credproof.attestation.sealing import SealingPublicKey
from credproof.base import jws
from credproof.base.encoding import Json, b64url, parse_b64url, tagged_hash
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.group import parse_element
from credproof.base.keys import DatedKey, PublicKey, Signer, parse_jwk
from credproof.base.limits import (
    CLOCK_SKEW_S,
    TRUST_BYTES_MAX,
    TRUST_LIFE_MAX_S,
    TRUST_RECORDS_MAX,
    at_most,
)
from credproof.base.members import Members
from credproof.log.note import VerifierKey
from credproof.verification.policy import Policy, PolicyRef, parse_policy, parse_ref, ref_json

Role = Literal["provider", "lender", "auditor", "operator", "custodian"]
ROLES: tuple[Role, ...] = ("provider", "lender", "auditor", "operator", "custodian")
STATUSES = ("active", "suspended")
NEVER = 253402300799
"""The last second of the year 9999: an open end of validity."""

BORROWER = "borrower"
"""The actor of every borrower in the log, who has no id there: no participant is called so."""

_ID = re.compile(r"[a-z0-9-]{3,40}\Z")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Participant:
    """A provider, lender, auditor, operator or custodian with its signing keys.

    `schemas` are the digests that a provider may attest; the order of keys is oldest first.
    `status` holds since the time `since`, in whole seconds.
    """

    id: str
    role: Role
    title: str
    status: str
    keys: tuple[DatedKey, ...]
    schemas: tuple[bytes, ...] = ()
    since: int = 0

    def is_suspended(self, at: int) -> bool:
        """Whether what it says did not count any more at time `at`."""
        return self.status == "suspended" and self.since <= at

    def key(self, kid: str) -> DatedKey | None:
        """The key with this fingerprint."""
        return next((key for key in self.keys if key.public.kid == kid), None)


@dataclass(frozen=True, slots=True)
class PolicyPin:
    """A policy in force from and until these times, in whole seconds."""

    ref: PolicyRef
    valid_from: int
    valid_until: int


@dataclass(frozen=True)
class TrustBundle:
    """What the root signs. Times are whole seconds; keys of the past stay listed.

    `log_vkey` is the log's key under its origin, `old_logs` those of origins that it had before.
    """

    domain: str
    version: int
    issued_at: int
    expires_at: int
    log_vkey: str
    answer_keys: tuple[DatedKey, ...]
    sealing_keys: tuple[bytes, ...]
    oprf_keys: tuple[bytes, ...]
    participants: tuple[Participant, ...]
    schemas: tuple[bytes, ...]
    policies: tuple[PolicyPin, ...]
    old_logs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        return {
            "answer_keys": [_key_json(key) for key in self.answer_keys],
            "domain": self.domain,
            "exp": self.expires_at,
            "iat": self.issued_at,
            "log": self.log_vkey,
            "old_logs": list(self.old_logs),
            "oprf_keys": [b64url(key) for key in self.oprf_keys],
            "participants": [_participant_json(item) for item in self.participants],
            "policies": [_pin_json(pin) for pin in self.policies],
            "schemas": [b64url(digest) for digest in self.schemas],
            "sealing_keys": [b64url(key) for key in self.sealing_keys],
            "version": self.version,
        }


@dataclass(frozen=True)
class Trust:
    """A verified trust bundle with the documents that it pins: build it by `verify_trust`."""

    bundle: TrustBundle
    token: str
    documents: tuple[bytes, ...]

    @cached_property
    def schemas(self) -> Mapping[bytes, Schema]:
        """The pinned schemas by digest."""
        parsed = (parse_schema(doc) for doc in self._pinned("schema", self.bundle.schemas))
        return {schema.digest: schema for schema in parsed}

    @cached_property
    def policies(self) -> Mapping[PolicyRef, Policy]:
        """The pinned policies."""
        by_id = {schema.id: schema for schema in self.schemas.values()}
        digests = [pin.ref.digest for pin in self.bundle.policies]
        parsed = (parse_policy(doc, by_id) for doc in self._pinned("policy", digests))
        return {policy.ref: policy for policy in parsed}

    @cached_property
    def participants(self) -> Mapping[str, Participant]:
        """The participants by id."""
        return {participant.id: participant for participant in self.bundle.participants}

    @cached_property
    def log_key(self) -> VerifierKey:
        return VerifierKey.parse(self.bundle.log_vkey)

    @cached_property
    def old_log_keys(self) -> tuple[VerifierKey, ...]:
        """The keys of the origins that the log had before."""
        return tuple(VerifierKey.parse(text) for text in self.bundle.old_logs)

    @property
    def sealing_key(self) -> SealingPublicKey:
        """The newest sealing key."""
        return SealingPublicKey(self.bundle.sealing_keys[-1])

    def schema(self, schema_id: str) -> Schema:
        """The schema with this id (`name/version`).

        Raises:
            Malformed: `UNKNOWN_SCHEMA`.
        """
        for schema in self.schemas.values():
            if schema.id == schema_id:
                return schema
        raise Malformed("UNKNOWN_SCHEMA", "the service knows no such schema")

    def policy_in_force(self, ref: PolicyRef, at: int) -> Policy:
        """The policy of this reference, in force at time `at`.

        Raises:
            VerificationFailed: `UNKNOWN_POLICY`, `POLICY_NOT_IN_FORCE`.
        """
        pin = next((pin for pin in self.bundle.policies if pin.ref == ref), None)
        if pin is None:
            raise VerificationFailed("UNKNOWN_POLICY", "the trust bundle pins no such policy")
        if not pin.valid_from <= at + CLOCK_SKEW_S or at > pin.valid_until:
            raise VerificationFailed("POLICY_NOT_IN_FORCE", "policy was not in force then")
        return self.policies[ref]

    def newest_policy(self, policy_id: str, at: int) -> Policy:
        """The highest version of a policy that is in force at time `at`.

        Raises:
            VerificationFailed: `UNKNOWN_POLICY`.
        """
        refs = [
            pin.ref
            for pin in self.bundle.policies
            if pin.ref.id == policy_id and pin.valid_from <= at + CLOCK_SKEW_S <= pin.valid_until
        ]
        if not refs:
            raise VerificationFailed("UNKNOWN_POLICY", "no policy of this id is in force")
        return self.policies[max(refs, key=lambda ref: ref.version)]

    def active(self, participant_id: str, role: Role) -> Participant:
        """The active participant of this id and role.

        Raises:
            VerificationFailed: `UNKNOWN_PARTICIPANT`.
        """
        participant = self.participants.get(participant_id)
        if participant is None or (participant.role, participant.status) != (role, "active"):
            raise VerificationFailed("UNKNOWN_PARTICIPANT", f"no active {role} of this id")
        return participant

    def _pinned(self, tag: str, digests: Sequence[bytes]) -> list[bytes]:
        by_digest = {tagged_hash(tag, document): document for document in self.documents}
        missing = [digest for digest in digests if digest not in by_digest]
        if missing:
            raise VerificationFailed("MISSING_DOCUMENT", f"a pinned {tag} is not at hand")
        return [by_digest[digest] for digest in digests]


def sign_trust(signer: Signer, bundle: TrustBundle) -> str:
    """The bundle, signed by the offline root."""
    return jws.sign(signer, jws.TRUST, bundle.to_json())


def verify_trust(
    token: str,
    documents: Sequence[bytes],
    *,
    root: PublicKey,
    at: int,
    version_min: int = 0,
) -> Trust:
    """The trust of a bundle that `root` signed, not expired at `at`, not older than seen before.

    `at` of 0 leaves its dates aside, for what is only kept.

    Raises:
        Malformed: as the encodings, `BAD_TRUST`.
        VerificationFailed: `WRONG_ROOT`, `TRUST_EXPIRED`, `TRUST_ROLLBACK`, `MISSING_DOCUMENT`.
    """
    at_most(len(token) + sum(map(len, documents)), TRUST_BYTES_MAX, "trust bundle")
    parsed = jws.parse(token, jws.TRUST, limit=TRUST_BYTES_MAX)
    if parsed.kid != root.kid:
        raise VerificationFailed("WRONG_ROOT", "trust bundle is signed by another root")
    parsed.verify(root)
    trust = Trust(_parse_bundle(Members(parsed.claims, "trust bundle")), token, tuple(documents))
    if trust.bundle.version < version_min:
        raise VerificationFailed("TRUST_ROLLBACK", "trust bundle is older than one seen before")
    if at > trust.bundle.expires_at:
        raise VerificationFailed("TRUST_EXPIRED", "trust bundle has expired: fetch a newer one")
    if 0 < at < trust.bundle.issued_at - CLOCK_SKEW_S:
        raise VerificationFailed("FROM_THE_FUTURE", "trust bundle begins later: check the clock")
    _require_one_each(trust)
    for key in trust.bundle.sealing_keys:
        SealingPublicKey(key)
    for key in trust.bundle.oprf_keys:
        parse_element(key)
    names = [key.name for key in (trust.log_key, *trust.old_log_keys)]
    if len(set(names)) != len(names):
        raise Malformed("BAD_TRUST", "trust bundle names an origin of the log twice")
    return trust


def _require_one_each(trust: Trust) -> None:
    """One digest per schema and policy version: else which one is meant would depend on order."""
    schemas = {schema.id for schema in trust.schemas.values()}
    policies = {(ref.id, ref.version) for ref in trust.policies}
    if len(schemas) != len(trust.bundle.schemas) or len(policies) != len(trust.bundle.policies):
        raise Malformed("BAD_TRUST", "trust bundle pins two documents under one id and version")


def _parse_bundle(members: Members) -> TrustBundle:
    bundle = TrustBundle(
        domain=members.take("domain", str),
        version=members.take("version", int),
        issued_at=members.take("iat", int),
        expires_at=members.take("exp", int),
        log_vkey=members.take("log", str),
        answer_keys=tuple(_parse_key(key) for key in _records(members, "answer_keys")),
        sealing_keys=_byte_strings(members, "sealing_keys"),
        oprf_keys=_byte_strings(members, "oprf_keys"),
        participants=tuple(_parse_participant(p) for p in _records(members, "participants")),
        schemas=_byte_strings(members, "schemas"),
        policies=tuple(_parse_pin(pin) for pin in _records(members, "policies")),
        old_logs=members.strings("old_logs"),
    )
    members.finish()
    ids = [participant.id for participant in bundle.participants]
    if not is_domain(bundle.domain) or bundle.version < 1 or len(set(ids)) != len(ids):
        raise Malformed("BAD_TRUST", "trust bundle has a bad domain, version or participant")
    if not 0 < bundle.expires_at - bundle.issued_at <= TRUST_LIFE_MAX_S:
        raise Malformed("BAD_TRUST", "trust bundle lasts for too short or too long")
    if not (bundle.answer_keys and bundle.sealing_keys and bundle.oprf_keys):
        raise Malformed("BAD_TRUST", "trust bundle lacks a key of the service")
    return bundle


def _records(members: Members, name: str) -> list[Any]:
    records = members.take(name, list)
    at_most(len(records), TRUST_RECORDS_MAX, name)
    return records


def _byte_strings(members: Members, name: str) -> tuple[bytes, ...]:
    texts = members.strings(name)
    at_most(len(texts), TRUST_RECORDS_MAX, name)
    return tuple(parse_b64url(text) for text in texts)


def _key_json(key: DatedKey) -> dict[str, Json]:
    return {"from": key.not_before, "jwk": key.public.jwk(), "until": key.not_after}


def _parse_key(value: Any) -> DatedKey:
    members = Members(value, "key")
    public = parse_jwk(members.take("jwk", dict))
    key = DatedKey(public, members.take("from", int), members.take("until", int))
    members.finish()
    return key


def _participant_json(participant: Participant) -> dict[str, Json]:
    return {
        "id": participant.id,
        "keys": [_key_json(key) for key in participant.keys],
        "role": participant.role,
        "schemas": [b64url(digest) for digest in participant.schemas],
        "since": participant.since,
        "status": participant.status,
        "title": participant.title,
    }


def _parse_participant(value: Any) -> Participant:
    members = Members(value, "participant")
    participant = Participant(
        id=members.take("id", str),
        role=members.take("role", str),  # type: ignore[arg-type]
        title=members.take("title", str),
        status=members.take("status", str),
        keys=tuple(_parse_key(key) for key in _records(members, "keys")),
        schemas=_byte_strings(members, "schemas"),
        since=members.take("since", int),
    )
    members.finish()
    if participant.role not in ROLES or participant.status not in STATUSES:
        raise Malformed("BAD_TRUST", "participant has an unknown role or status")
    if not is_participant_id(participant.id) or not participant.title.isprintable():
        raise Malformed("BAD_TRUST", "participant has a bad id or title")
    return participant


def is_domain(text: str) -> bool:
    """Whether a trust domain may be called so."""
    return _DOMAIN.match(text) is not None


def is_participant_id(text: str) -> bool:
    """Whether a participant may have this id."""
    return _ID.match(text) is not None and text != BORROWER


def _pin_json(pin: PolicyPin) -> dict[str, Json]:
    return {"from": pin.valid_from, "policy": ref_json(pin.ref), "until": pin.valid_until}


def _parse_pin(value: Any) -> PolicyPin:
    members = Members(value, "policy pin")
    ref = parse_ref(members.take("policy", dict))
    pin = PolicyPin(ref, members.take("from", int), members.take("until", int))
    members.finish()
    return pin
