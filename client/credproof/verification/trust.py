"""The trust bundle: which keys, schemas and policies count, signed by an offline root.

A verifier pins the root and, for providers it knows, their key fingerprints; it keeps the
highest version it has seen and refuses an older one. Format: `docs/PROTOCOL.md`, "Trust
bundle".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from credproof.attestation.oprf_key import OprfKey
from credproof.attestation.schema import Schema, parse_schema
from credproof.attestation.sealing import SealingPublicKey
from credproof.base import jws
from credproof.base.encoding import tagged_hash
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import CLOCK_SKEW_S, TRUST_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.log.cosignature import ML_DSA_44, CosignerKey
from credproof.log.note import VerifierKey
from credproof.log.quorum import NOBODY, Quorum, parse_quorum
from credproof.verification.acceptance import Acceptance, parse_acceptance
from credproof.verification.approval import verify_approvals
from credproof.verification.bundle import FormerQuorum, TrustBundle, parse_bundle
from credproof.verification.grammar import parse_policy
from credproof.verification.participant import FormerAcceptance, Participant, Role
from credproof.verification.policy import Policy, PolicyRef
from credproof.verification.text import Text, parse_text

Roots: TypeAlias = PublicKey | tuple[PublicKey, ...]
"""The root's key, or all that followed one another."""


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
        digests = list(dict.fromkeys(pin.ref.digest for pin in self.bundle.policies))
        parsed = (parse_policy(doc, by_id) for doc in self._pinned("policy", digests))
        return {policy.ref: policy for policy in parsed}

    @cached_property
    def texts(self) -> Mapping[bytes, Text]:
        """The pinned texts by digest, in the order of the bundle."""
        parsed = (parse_text(doc) for doc in self._pinned("text", self.bundle.texts))
        return {text.digest: text for text in parsed}

    @cached_property
    def participants(self) -> Mapping[str, Participant]:
        """The participants by id."""
        return {participant.id: participant for participant in self.bundle.participants}

    @cached_property
    def acceptances(self) -> Mapping[str, Acceptance]:
        """What providers accept now, by provider; verified."""
        return {
            item.id: self._acceptance(item, item.acceptance)
            for item in self.bundle.participants
            if item.acceptance
        }

    @cached_property
    def former_acceptances(self) -> Mapping[str, Sequence[tuple[FormerAcceptance, Acceptance]]]:
        """What providers accepted before, and when, by provider; verified."""
        return {
            item.id: [(former, self._acceptance(item, former.token)) for former in formers]
            for item in self.bundle.participants
            if (formers := item.former_acceptances)
        }

    def _acceptance(self, provider: Participant, text: str) -> Acceptance:
        acceptance = parse_acceptance(text)
        acceptance.verify(provider, self.bundle.domain)
        return acceptance

    def binders(self, provider: str, *, at: int | None = None) -> frozenset[str]:
        """Whose key bindings count for a provider: its own, and those that it accepts.

        With a time, those whose word an answer of then may rest on, by what was accepted then.
        """
        now, found = self.acceptances.get(provider), {provider}
        if now is not None and (at is None or now.issued_at - CLOCK_SKEW_S <= at):
            found.update(now.binders)
        if at is not None:
            for former, accepted in self.former_acceptances.get(provider, ()):
                signed = accepted.issued_at - CLOCK_SKEW_S <= at
                if signed and former.may_have_counted(at):
                    found.update(accepted.binders)
        return frozenset(found)

    @cached_property
    def log_key(self) -> VerifierKey:
        return VerifierKey.parse(self.bundle.log_vkey)

    @cached_property
    def old_log_keys(self) -> tuple[VerifierKey, ...]:
        """The keys of the origins that the log had before."""
        return tuple(VerifierKey.parse(text) for text in self.bundle.old_logs)

    @cached_property
    def log_cosigner(self) -> CosignerKey | None:
        """The log's own ML-DSA-44 key."""
        text = self.bundle.log_cosigner
        return CosignerKey.parse(text) if text else None

    @cached_property
    def quorum(self) -> Quorum:
        """Which witnesses count, and how many must have cosigned; nobody if nothing is said."""
        return _quorum(self.bundle.quorum)

    @cached_property
    def former_quorums(self) -> Sequence[tuple[FormerQuorum, Quorum]]:
        """Those of before, the oldest first."""
        return [(item, _quorum(item.text)) for item in self.bundle.former_quorums]

    def quorums(self, at: int) -> Sequence[Quorum]:
        """Those that an answer of time `at` may have reached: in force then, or at any time since.

        The oldest is first, the present one last.
        """
        former = [quorum for item, quorum in self.former_quorums if item.may_count(at)]
        return [*former, self.quorum]

    def asked_nobody(self, at: int) -> bool:
        """Whether no quorum was in force at time `at`, or for a part of that second."""
        begun, listed = 0, [(item.valid_until, quorum) for item, quorum in self.former_quorums]
        for until, quorum in (*listed, (at, self.quorum)):
            if begun <= at <= until and quorum.needed is None:
                return True
            begun = until
        return False

    @property
    def oprf_key(self) -> OprfKey:
        """The newest OPRF key: the one that pseudonyms are made under."""
        return self.bundle.oprf_keys[-1]

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
        pins = [pin for pin in self.bundle.policies if pin.ref == ref]
        if not pins:
            raise VerificationFailed("UNKNOWN_POLICY", "the trust bundle pins no such policy")
        if not any(pin.is_in_force(at) for pin in pins):
            raise VerificationFailed("POLICY_NOT_IN_FORCE", "the policy was not in force then")
        return self.policies[ref]

    def newest_policy(self, policy_id: str, at: int) -> Policy:
        """The policy of this id that is in force at time `at` and began last.

        So an older version comes back by being published again.

        Raises:
            VerificationFailed: `UNKNOWN_POLICY`.
        """
        pins = [
            pin for pin in self.bundle.policies if pin.ref.id == policy_id and pin.is_in_force(at)
        ]
        if not pins:
            raise VerificationFailed("UNKNOWN_POLICY", "no policy of this id is in force")
        newest = max(pins, key=lambda pin: (pin.valid_from, pin.ref.version))
        return self.policies[newest.ref]

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
    root: Roots,
    at: int,
    version_min: int = 0,
) -> Trust:
    """The trust of a bundle that `root` signed, not expired at `at`, not older than seen before.

    Of several roots, each of which took the place of the one before, any may have signed it.
    `at` of 0 leaves its dates aside, for what is only kept.

    Raises:
        Malformed: as the encodings, `BAD_TRUST`, `BAD_QUORUM`, `BAD_VKEY`.
        VerificationFailed: `WRONG_ROOT`, `TRUST_EXPIRED`, `TRUST_ROLLBACK`, `MISSING_DOCUMENT`,
            `FROM_THE_FUTURE`; as `verify_approvals`.
    """
    at_most(len(token) + sum(map(len, documents)), TRUST_BYTES_MAX, "trust bundle")
    parsed = jws.parse(token, jws.TRUST, limit=TRUST_BYTES_MAX)
    signers = [key for key in _each(root) if key.kid == parsed.kid]
    if not signers:
        raise VerificationFailed("WRONG_ROOT", "trust bundle is signed by another root")
    parsed.verify(signers[0])
    trust = Trust(parse_bundle(Members(parsed.claims, "trust bundle")), token, tuple(documents))
    if trust.bundle.version < version_min:
        raise VerificationFailed("TRUST_ROLLBACK", "trust bundle is older than one seen before")
    if at > trust.bundle.expires_at:
        raise VerificationFailed("TRUST_EXPIRED", "trust bundle has expired")
    if 0 < at < trust.bundle.issued_at - CLOCK_SKEW_S:
        raise VerificationFailed("FROM_THE_FUTURE", "trust bundle begins later: check the clock")
    _require_one_each(trust)
    for pin in trust.bundle.policies:
        verify_approvals(pin, trust.participants, trust.bundle.domain)
    _require_known_binders(trust)
    for key in trust.bundle.sealing_keys:
        SealingPublicKey(key)
    names = [key.name for key in (trust.log_key, *trust.old_log_keys)]
    if len(set(names)) != len(names):
        raise Malformed("BAD_TRUST", "trust bundle names an origin of the log twice")
    _require_own_log(trust)
    return trust


def _each(root: Roots) -> tuple[PublicKey, ...]:
    return (root,) if isinstance(root, PublicKey) else root


def _require_known_binders(trust: Trust) -> None:
    """Acceptances name participants, and former ones have ended."""
    former = [item for listed in trust.former_acceptances.values() for item in listed]
    accepted = (*trust.acceptances.values(), *(acceptance for _, acceptance in former))
    binders = {name for item in accepted for name in item.binders}
    if not binders <= set(trust.participants):
        raise Malformed("BAD_TRUST", "a provider accepts a binder that is no participant")
    if any(item.valid_until > trust.bundle.issued_at + CLOCK_SKEW_S for item, _ in former):
        raise Malformed("BAD_TRUST", "a former acceptance has not ended")


def pinned_documents(token: str, documents: Sequence[bytes]) -> tuple[bytes, ...]:
    """Those of the documents that a bundle pins; nothing is verified.

    Raises:
        Malformed: as `parse_bundle`.
    """
    claims = jws.parse(token, jws.TRUST, limit=TRUST_BYTES_MAX).claims
    bundle = parse_bundle(Members(claims, "trust bundle"))
    pinned = {
        "schema": set(bundle.schemas),
        "policy": {pin.ref.digest for pin in bundle.policies},
        "text": set(bundle.texts),
    }
    return tuple(
        document
        for document in documents
        if any(tagged_hash(tag, document) in digests for tag, digests in pinned.items())
    )


def require_successor(trust: Trust, before: Trust) -> None:
    """Refuse a bundle whose newest OPRF key lacks a custodian that the one before had.

    Else an operator could go on without the party that keeps it from trying out ids.

    Raises:
        VerificationFailed: `CUSTODIAN_LEFT_OUT`.
    """
    if not set(before.oprf_key.custodians) <= set(trust.oprf_key.custodians):
        raise VerificationFailed(
            "CUSTODIAN_LEFT_OUT", "the new trust bundle makes pseudonyms without a custodian"
        )


def _quorum(text: str) -> Quorum:
    return parse_quorum(text.encode()) if text else NOBODY


def _require_own_log(trust: Trust) -> None:
    """Each quorum is one for this log, and the log is none of its own witnesses."""
    own, cosigner = (trust.log_key, *trust.old_log_keys), trust.log_cosigner
    quorums = [trust.quorum, *(quorum for _, quorum in trust.former_quorums)]
    if any(not set(quorum.logs) <= set(own) for quorum in quorums):
        raise Malformed("BAD_TRUST", "the quorum names another log than the bundle")
    last = trust.bundle.issued_at + CLOCK_SKEW_S
    if any(item.valid_until > last for item, _ in trust.former_quorums):
        raise Malformed("BAD_TRUST", "a former quorum has not ended")
    named = trust.log_key.name
    if cosigner and (cosigner.algorithm, cosigner.name) != (ML_DSA_44, named):
        raise Malformed("BAD_TRUST", "the log's cosigner has another name, or no ML-DSA-44 key")
    keys = {key.public.data for key in own} | ({cosigner.data} if cosigner else set())
    if any(key.data in keys for quorum in quorums for key in quorum.keys):
        raise Malformed("BAD_TRUST", "the quorum counts the log itself as a witness")


def _require_one_each(trust: Trust) -> None:
    """One digest per schema and policy version: else which one is meant would depend on order."""
    schemas = {schema.id for schema in trust.schemas.values()}
    policies = {(ref.id, ref.version) for ref in trust.policies}
    begun = {(pin.ref, pin.valid_from) for pin in trust.bundle.policies}
    bundle, found = trust.bundle, (len(schemas), len(policies), len(begun), len(trust.texts))
    pinned = (len(bundle.schemas), len(trust.policies), len(bundle.policies), len(bundle.texts))
    if found != pinned:
        raise Malformed("BAD_TRUST", "trust bundle pins two documents under one id and version")
