"""Each limit of the protocol: what stands exactly at it passes it, one more does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from credproof import standard
from credproof.attestation.oprf_key import Share, parse_oprf_key
from credproof.attestation.package import parse_package, verify_envelope
from credproof.attestation.pseudonym import parse_subject_id
from credproof.attestation.schema import parse_schema
from credproof.attestation.sdjwt import make_disclosure, open_disclosures
from credproof.attestation.sealing import Route
from credproof.base import jws, limits
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.base.keys import P256Signer
from credproof.base.url import require_url
from credproof.base.yaml import parse_yaml
from credproof.log.entry import parse_entry
from credproof.log.merkle import verify_inclusion
from credproof.log.note import parse_note
from credproof.updating import metadata
from credproof.v1 import answer_pb2 as answer_pb
from credproof.v1 import attestation_service_pb2 as attestation_pb
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import verification_service_pb2 as verification_pb
from credproof.v1.registry_service_pb2 import PublishTrustMetadataRequest, RoleMetadata
from credproof.verification.acceptance import parse_acceptance, sign_acceptance
from credproof.verification.answer import Reference
from credproof.verification.approval import sign_approval
from credproof.verification.bundle import FormerQuorum, PolicyPin
from credproof.verification.consent import parse_request, verify_consent
from credproof.verification.document import (
    CONSENT,
    PAUSE,
    join_signatures,
    sign_document,
    verify_document,
)
from credproof.verification.grammar import parse_policy
from credproof.verification.participant import (
    NEVER,
    FormerAcceptance,
    parse_participant,
    participant_json,
)
from credproof.verification.passkey import format_assertion, parse_assertion
from credproof.verification.pausing import sign_pause, verify_pause
from credproof.verification.policy import PolicyRef
from credproof.verification.trust import verify_trust
from credproof.verification.unsealing import parse_unseal_request, sign_unseal_request
from credproof.wire import answer as answer_wire
from credproof.wire.call import sign_call, verify_call
from credproof.wire.limits import check
from credproof_server.rpc.servicers import AuditServicer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.world import DOMAIN, NOW, POLICY, REVOLVING, World, signer_of

WORLD = World()
BUNDLE = WORLD.finish(WORLD.case())
PAUSE_TEXT = sign_pause(WORLD.borrower, PAUSE, bytes(32), jti=bytes(16), now=NOW)
TITLE = {"en": "x", "zh": "x"}
NOTE = b"text\n\n" + "\N{EM DASH} name AAAAAAAA\n".encode()
ELSEWHERE = {
    "FINDING_ENTRIES_MAX": "the newest are named: tests/verification/test_log_rules.py",
    "EVIDENCE_FINDINGS_MAX": "the next run shows the rest: tests/rpc/test_searching.py",
    "PERSON_ENTRIES_MAX": "the newest are told, not refused: tests/service/test_unsealing.py",
    "UNSEALINGS_PENDING_MAX": "of one auditor: tests/service/test_unsealing.py",
    "UNSEALINGS_PAGE_MAX": "the next page has the rest: tests/service/test_unsealing.py",
    "UNSEALED_TOLD_MAX": "the newest are told, not refused: tests/service/test_unsealing.py",
    "SNAPSHOT_ATTEMPTS_MAX": "asking again ends: tests/rpc/test_batch_ask.py, test_held.py",
    "ENTRIES_PAGE_MAX": "more is cut, not refused: below",
    "MESSAGE_BYTES_MAX": "gRPC refuses it: tests/adversary/test_slow_clients.py",
    "PROPOSAL_AGE_MAX_S": "of a command of the operator: tests/service/test_policies.py",
    "PAGE_BODY_BYTES_MAX": "of HTTP: tests/adversary/test_consent_page.py",
    "RULE_SPAN_MAX_S": "of a rule of misuse: tests/conduct/test_rules.py",
    "OBSERVATIONS_MAX": "of a rule of misuse: tests/conduct/test_rules.py",
    "ANOMALY_EVIDENCE_MAX": "of an entry: tests/verification/test_anomaly.py",
    "DIRECTORY_DEPTH_MAX": "of a lookup proof: tests/log/test_directory.py",
    "AUDIT_TOKEN_LIFE_MAX_S": "of HTTP: tests/rpc/test_tiles.py",
    "WITNESS_BODY_BYTES_MAX": "of HTTP: tests/witness/test_witness.py",
    "QUORUM_FILE_BYTES_MAX": "of a file: tests/log/test_cosignature.py",
    "QUORUM_RECORDS_MAX": "of a file: tests/log/test_cosignature.py",
    "ROOT_CHAIN_MAX": "a longer chain is followed no further: tests/updating/test_newest.py",
    "KEY_SETS_MAX": "a longer row is followed no further: tests/updating/test_key_sets.py",
    "TIMESTAMP_TOLERANCE_S": "a finding: tests/timestamps/test_stamped.py",
    "WITNESS_LAG_S": "a line for auditors: tests/log/test_witnessed.py",
    "TIMESTAMP_GAP_S": "a finding: tests/timestamps/test_stamped.py",
    "TIMESTAMP_EVERY_MAX_S": "of a setting: tests/timestamps/test_asking.py",
    "TIMESTAMP_AUTHORITIES_MAX": "of settings: tests/timestamps/test_asking.py",
    "TIMESTAMPS_PAGE_MAX": "the next page has the rest: tests/timestamps/test_stamped_service.py",
    "TIMESTAMP_BYTES_MAX": "of a timestamp: tests/timestamps/test_timestamp.py",
    "CERTIFICATES_BYTES_MAX": "of a file: tests/timestamps/test_timestamp.py",
    "CERTIFICATES_MAX": "of a file: tests/timestamps/test_timestamp.py",
    "METER_DAYS": "of what was answered before: tests/service/test_metering.py",
    "PROVIDER_ATTESTATIONS_MAX": "of what is stored: tests/service/test_too_many.py",
    "HELD_PAGE_MAX": "the next page has the rest: tests/rpc/test_held.py",
    "ASK_REPLY_BYTES_MAX": "of a reply: tests/rpc/test_batch_ask.py",
}


def call_after(seconds: int) -> None:
    """A call signed `seconds` ago."""
    call = {"service": DOMAIN, "method": "/a/b", "body": b""}
    token = sign_call(WORLD.borrower, now=NOW, nonce=bytes(16), **call)
    verify_call(token, now=NOW + seconds, **call)


def root_of_age(seconds: int) -> None:
    """An answer on a directory root of this age."""
    world = World()
    case = world.case()
    case.directory = world.evidence(time=NOW - seconds)
    world.verify(world.finish(case))


def envelope(*, age: int = 0, **changes: Any) -> None:
    package = parse_package(WORLD.package(WORLD.statement(issued_at=NOW, **changes)))
    schemas = {REVOLVING.digest: REVOLVING}
    verify_envelope(package, caller="bank", schemas=schemas, now=NOW + age)


def consent_of(seconds: int) -> None:
    verify_consent(WORLD.consent(WORLD.terms(expires_at=NOW - 50 + seconds), now=NOW - 50))


def consent_to(count: int) -> None:
    refs = tuple(PolicyRef(f"policy-{i}", 1, bytes(32)) for i in range(count))
    parse_request(WORLD.request(WORLD.terms(policies=refs)))


def binders(count: int) -> None:
    names = [f"binder-{i:03}" for i in range(count)]
    parse_acceptance(
        sign_acceptance(WORLD.bank, provider="bank", domain=DOMAIN, binders=names, now=NOW)
    )


def former_quorums(count: int) -> None:
    former = tuple(FormerQuorum("quorum none\n", at) for at in range(count))
    WORLD.trust(former_quorums=former)


def former_acceptances(count: int) -> None:
    former = (FormerAcceptance("", 0, 0),) * count
    said = WORLD.participant("bank", "provider", WORLD.bank, former_acceptances=former)
    parse_participant(participant_json(said))


def unseal_for(seconds: int) -> None:
    said = {"auditor": "office", "domain": DOMAIN, "now": NOW, "log_index": 1, "detail": "answer"}
    said |= {"entry": bytes(32), "reason": bytes(32), "life_s": seconds}
    parse_unseal_request(sign_unseal_request(WORLD.bank, **said))


def signatures(count: int) -> None:
    texts = [sign_document(signer_of(f"key {i}"), CONSENT, {}) for i in range(count)]
    verify_document(join_signatures(texts), CONSENT, [])


def assertion(*, authenticator_data: int = 37, client_data: int = 80) -> str:
    key = P256Signer(ec.generate_private_key(ec.SECP256R1()))
    return format_assertion(
        key.public,
        CONSENT.passkey_type,
        b"{}",
        authenticator_data=bytes(authenticator_data),
        client_data=bytes(client_data),
        der=encode_dss_signature(1, 1),
    )


def schema(claims: dict[str, Any], facts: dict[str, Any] | None = None) -> None:
    top = {"schema": "made", "version": 1, "title": TITLE, "subjects": ["ref"]}
    parse_schema(canonical_json({**top, "claims": claims, "facts": facts or {}}))


def claim(rungs: int = 0, kind: str = "count") -> dict[str, Any]:
    made = {"type": kind, "title": TITLE, "class": "C1", "disclosure": "predicate"}
    made |= {"min": 0, "max": 1000}
    return {**made, "ladder": list(range(1, rungs + 1))} if rungs else made


def chain_steps(steps: int) -> None:
    """Ladders of 64 steps each, and one for the rest."""
    rungs = [31] * (steps // 64) + ([max(1, (steps % 64 + 1) // 2 - 1)] if steps % 64 else [])
    schema({f"c{i}": claim(count) for i, count in enumerate(rungs)})


def facts(count: int) -> None:
    when = [{"claim": "c", "at_least": 1}]
    schema({"c": claim(1)}, {f"f{i}": {"title": TITLE, "when": when} for i in range(count)})


def approvals(count: int) -> None:
    names = [f"operator-{number}" for number in range(count)]
    pin = bare = PolicyPin(POLICY.ref, 0, NEVER)
    for name in names:
        signed = sign_approval(signer_of(name), bare, operator=name, domain=DOMAIN, now=NOW - 1000)
        pin = replace(pin, approvals=(*pin.approvals, signed))
    operators = [WORLD.participant(name, "operator", signer_of(name)) for name in names]
    WORLD.trust(policies=(pin,), participants=tuple(operators))


def policy(**changes: Any) -> None:
    document = {**json.loads(POLICY.document), **changes}
    parse_policy(canonical_json(document), standard.schemas())


def questions(count: int) -> None:
    asked = json.loads(POLICY.document)["questions"]["good"]
    named = {f"q{i}": asked for i in range(count)}
    tier = json.loads(POLICY.document)["tiers"][0]
    policy(questions=named, tiers=[{**tier, "when": list(named)}])


def tiers(count: int) -> None:
    first, second = json.loads(POLICY.document)["tiers"]
    more = [{**second, "name": f"T{i}"} for i in range(count - 1)]
    policy(tiers=[first, *more])


def many_tokens(count: int) -> None:
    WORLD.verify(replace(BUNDLE, tokens=BUNDLE.tokens * count))


def offered_months(count: int) -> None:
    first, *others = json.loads(POLICY.document)["tiers"]
    offer = {**first["offer"], "months": list(range(1, count + 1))}
    policy(tiers=[{**first, "offer": offer}, *others])


def disclosures(count: int) -> None:
    open_disclosures({}, [make_disclosure(bytes(16), "name", 1)] * count)


def account(size: int) -> None:
    parse_package(WORLD.package(WORLD.statement(account="a" * size)))


def text(size: int) -> None:
    made = {"type": "text", "title": TITLE, "class": "C1", "disclosure": "value"}
    top = {"schema": "made", "version": 1, "title": TITLE, "subjects": ["ref"]}
    parsed = parse_schema(canonical_json({**top, "claims": {"c": made}}))
    parsed.claims["c"].verify_value("a" * size)


def path(count: int) -> None:
    verify_inclusion(bytes(32), 0, 2**62, (bytes(32),) * count, bytes(32))


Present = Callable[[int], Any]
TABLE: dict[str, tuple[Present, str]] = {
    "CLOCK_SKEW_S": (call_after, "CALL_TOO_OLD"),
    "ATTESTATION_AGE_MAX_S": (lambda n: envelope(age=n), "TOO_OLD"),
    "ATTESTATION_LIFE_MAX_S": (lambda n: envelope(expires_at=NOW + n), "BAD_DATES"),
    "CONSENT_LIFE_MAX_S": (consent_of, "BAD_CONSENT"),
    "REQUEST_LIFE_MAX_S": (
        lambda n: parse_request(WORLD.request(issued_at=NOW - 50, open_until=NOW - 50 + n)),
        "BAD_CONSENT",
    ),
    "PAUSE_AGE_MAX_S": (
        lambda n: verify_pause(PAUSE_TEXT, PAUSE).require_fresh(NOW + n),
        "TOO_OLD",
    ),
    "UNSEAL_LIFE_MAX_S": (unseal_for, "BAD_UNSEALING"),
    "ANSWER_AGE_MAX_S": (lambda n: WORLD.verify(BUNDLE, now=NOW + n), "ANSWER_TOO_OLD"),
    "CERTIFICATION_MAX_S": (
        lambda n: WORLD.trust(
            issued_at=NOW, participants=(WORLD.lender(certified={"REVIEW": NOW + n}),)
        ),
        "BAD_TRUST",
    ),
    "TRUST_LIFE_MAX_S": (
        lambda n: WORLD.trust(issued_at=NOW - 9, expires_at=NOW - 9 + n),
        "BAD_TRUST",
    ),
    "BATCH_ITEMS_MAX": (
        lambda n: WORLD.sealing.public.seal([b"x"] * n, Route(DOMAIN, "bank")),
        "LIMIT_EXCEEDED",
    ),
    "ASK_ITEMS_MAX": (
        lambda n: check(
            verification_pb.BatchAskRequest(requests=[verification_pb.AskRequest()] * n)
        ),
        "LIMIT_EXCEEDED",
    ),
    "CHAIN_HEADS_MAX": (
        lambda n: check(attestation_pb.ListChainHeadsRequest(accounts=["a"] * n)),
        "LIMIT_EXCEEDED",
    ),
    "LADDER_RUNGS_MAX": (lambda n: schema({"c": claim(n)}), "LIMIT_EXCEEDED"),
    "CHAIN_STEPS_MAX": (chain_steps, "LIMIT_EXCEEDED"),
    "SCHEMA_CLAIMS_MAX": (
        lambda n: schema({f"c{i}": claim() for i in range(n)}),
        "LIMIT_EXCEEDED",
    ),
    "SCHEMA_FACTS_MAX": (facts, "LIMIT_EXCEEDED"),
    "POLICY_QUESTIONS_MAX": (questions, "LIMIT_EXCEEDED"),
    "POLICY_TIERS_MAX": (tiers, "LIMIT_EXCEEDED"),
    "OFFER_MONTHS_MAX": (offered_months, "LIMIT_EXCEEDED"),
    "CONSENT_POLICIES_MAX": (consent_to, "LIMIT_EXCEEDED"),
    "APPROVALS_MAX": (approvals, "LIMIT_EXCEEDED"),
    "BINDERS_MAX": (binders, "LIMIT_EXCEEDED"),
    "FORMER_QUORUMS_MAX": (former_quorums, "LIMIT_EXCEEDED"),
    "FORMER_ACCEPTANCES_MAX": (former_acceptances, "LIMIT_EXCEEDED"),
    "DOCUMENT_SIGNATURES_MAX": (signatures, "LIMIT_EXCEEDED"),
    "AUTHENTICATOR_DATA_BYTES_MAX": (
        lambda n: parse_assertion(assertion(authenticator_data=n), CONSENT.passkey_type),
        "LIMIT_EXCEEDED",
    ),
    "CLIENT_DATA_BYTES_MAX": (
        lambda n: parse_assertion(assertion(client_data=n), CONSENT.passkey_type),
        "LIMIT_EXCEEDED",
    ),
    "OPRF_SHARES_MAX": (
        lambda n: parse_oprf_key({"shares": [Share(bytes(32)).to_json()] * n}),
        "LIMIT_EXCEEDED",
    ),
    "DIRECTORY_AGE_MAX_S": (root_of_age, "STALE_ROOT"),
    "DIRECTORY_DEPTH_MAX": (
        lambda n: check(answer_pb.DirectoryLookup(siblings=[b""] * n)),
        "LIMIT_EXCEEDED",
    ),
    "DIRECTORY_MEMBERS_MAX": (
        lambda n: check(answer_pb.DirectoryLookup(members=[b""] * n)),
        "LIMIT_EXCEEDED",
    ),
    "EVIDENCE_TOKENS_MAX": (many_tokens, "LIMIT_EXCEEDED"),
    "DISCLOSURES_MAX": (disclosures, "LIMIT_EXCEEDED"),
    "NOTE_SIGNATURES_MAX": (
        lambda n: parse_note(NOTE + "\N{EM DASH} name AAAAAAAA\n".encode() * (n - 1)),
        "LIMIT_EXCEEDED",
    ),
    "TRUST_RECORDS_MAX": (
        lambda n: WORLD.trust(answer_keys=WORLD.bundle().answer_keys * n),
        "LIMIT_EXCEEDED",
    ),
    "JSON_DEPTH_MAX": (lambda n: parse_json(b"[" * n + b"]" * n), "NOT_JSON"),
    "TREE_PROOF_HASHES_MAX": (path, "LIMIT_EXCEEDED"),
    "ENTRY_BYTES_MAX": (lambda n: parse_entry(b"x" * n), "LIMIT_EXCEEDED"),
    "TOKEN_BYTES_MAX": (lambda n: jws.parse("a" * n, jws.CONSENT), "LIMIT_EXCEEDED"),
    "PACKAGE_BYTES_MAX": (lambda n: parse_package(b"x" * n), "LIMIT_EXCEEDED"),
    "SEALED_BATCH_BYTES_MAX": (
        lambda n: WORLD.sealing.open(bytes(n), Route(DOMAIN, "bank")),
        "LIMIT_EXCEEDED",
    ),
    "DOCUMENT_BYTES_MAX": (lambda n: parse_yaml(b"#" * n), "LIMIT_EXCEEDED"),
    "TRUST_BYTES_MAX": (
        lambda n: verify_trust("a" * n, [], root=WORLD.root.public, at=NOW),
        "LIMIT_EXCEEDED",
    ),
    "ROOT_METADATA_BYTES_MAX": (lambda n: metadata.parse_any(b"x" * n, "root"), "LIMIT_EXCEEDED"),
    "TIMESTAMP_METADATA_BYTES_MAX": (
        lambda n: metadata.parse_any(b"x" * n, "timestamp"),
        "LIMIT_EXCEEDED",
    ),
    "METADATA_BYTES_MAX": (lambda n: metadata.parse_any(b"x" * n, "targets"), "LIMIT_EXCEEDED"),
    "METADATA_ITEMS_MAX": (
        lambda n: check(PublishTrustMetadataRequest(items=[RoleMetadata()] * n)),
        "LIMIT_EXCEEDED",
    ),
    "NOTE_BYTES_MAX": (lambda n: parse_note(b"x" * n), "LIMIT_EXCEEDED"),
    "ANSWER_FILE_BYTES_MAX": (lambda n: answer_wire.parse(b"\xff" * n), "LIMIT_EXCEEDED"),
    "REFERENCE_CHARS_MAX": (lambda n: Reference("a" * n, bytes(16)).digest, "LIMIT_EXCEEDED"),
    "SUBJECT_ID_CHARS_MAX": (lambda n: parse_subject_id("ref:" + "a" * n), "BAD_SUBJECT_ID"),
    "ACCOUNT_CHARS_MAX": (account, "BAD_PACKAGE"),
    "URL_CHARS_MAX": (
        lambda n: require_url("https://a.example/".ljust(n, "x")),
        "LIMIT_EXCEEDED",
    ),
    "TEXT_CHARS_MAX": (text, "BAD_VALUE"),
    "INTEGER_MAX": (canonical_json, "NOT_JSON"),
}


def reason_of(present: Present, size: int) -> str | None:
    try:
        present(size)
    except CredproofError as error:
        return error.reason
    return None


def test_every_limit_has_a_row():
    names = {name for name in vars(limits) if name.isupper()}
    assert names == TABLE.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_one_over_the_limit_is_refused(name):
    present, reason = TABLE[name]
    assert reason == reason_of(present, getattr(limits, name) + 1)


@pytest.mark.parametrize("name", TABLE)
def test_what_is_at_the_limit_is_not_refused_for_it(name):
    """It may be nonsense otherwise: then it is refused for that."""
    present, reason = TABLE[name]
    assert reason != reason_of(present, getattr(limits, name))


@pytest.mark.parametrize(("asked", "given"), [(0, 1000), (7, 7), (1001, 1000), (2**31 - 1, 1000)])
def test_a_page_of_entries_is_cut_at_its_limit(asked, given):
    async def lines(_start: int, limit: int) -> list[bytes]:
        return [b"x"] * limit

    servicer = AuditServicer(SimpleNamespace())
    servicer._audit = SimpleNamespace(lines=lines)
    request = audit_pb.ListEntriesRequest(limit=asked)
    reply = asyncio.run(servicer.ListEntries(request, None))
    assert given == len(reply.lines)
    assert limits.ENTRIES_PAGE_MAX == 1000
