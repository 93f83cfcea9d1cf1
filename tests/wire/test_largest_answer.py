"""The largest answer that can be given is one that everybody can read."""

from __future__ import annotations

import json
from dataclasses import replace

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import parse_schema
from credproof.attestation.statement import Opening, issue
from credproof.base import limits
from credproof.base.encoding import canonical_json
from credproof.log.directory import Leaf, LookupProof
from credproof.v1 import verification_service_pb2 as pb
from credproof.verification import assurance
from credproof.verification.answer import (
    AnswerBundle,
    Logged,
    Lookup,
    Proof,
    Reference,
    TokenEvidence,
)
from credproof.verification.policy import Assurance
from credproof.wire import answer as wire
from credproof.wire import ask

from tests.world import World, complete

TITLE = {"en": "x", "zh": "x"}
NAME_CHARS = 63
"""The longest name of a claim, of a fact, and of a value of an enum."""
QUESTION_CHARS = 31
ENTRY_BYTES = 1024
"""No entry of an attestation, root or answer is longer: see below."""


def largest_schema():
    """As many claims, with ladders, and facts as a schema may have, under the longest names."""
    claim = {"title": TITLE, "class": "C1", "disclosure": "value"}
    counted = {**claim, "type": "count", "min": 0, "max": 9, "ladder": [1]}
    shown = {"channel": "C" * NAME_CHARS, "result": "MATCHED"}
    claims = {n: {**claim, "type": "enum", "values": [v]} for n, v in shown.items()}
    claims |= {"performed_on": {**claim, "type": "date"}, "level": counted}
    names = [f"c{i:0{NAME_CHARS - 1}}" for i in range(limits.SCHEMA_CLAIMS_MAX - len(claims))]
    claims |= dict.fromkeys(names, counted)
    fact = {"title": TITLE, "when": [{"claim": "level", "at_least": 1}]}
    facts = {f"f{i:0{NAME_CHARS - 1}}": fact for i in range(limits.SCHEMA_FACTS_MAX)}
    top = {"schema": "identity-assurance", "version": 9, "title": TITLE, "subjects": ["ref"]}
    return parse_schema(canonical_json({**top, "claims": claims, "facts": facts}))


def largest_token(world: World) -> tuple[str, tuple[Proof, ...]]:
    """A token of that schema, and the longest proofs of as many questions as there may be."""
    schema = largest_schema()
    values = {"channel": "C" * NAME_CHARS, "result": "MATCHED", "performed_on": "2026-01-01"}
    values |= dict.fromkeys(schema.ladders, 1)
    issuer = "b" * 40
    opening = Opening(
        world.statement(complete(schema, values), schema=schema, issuer=issuer), bytes(32)
    )
    level = Condition("level", "at_least", 1)
    data = assurance.prove(Assurance(level, 1, 1, 1), opening)
    assert all(len(opening.disclose(name).text) < len(data) for name in schema.facts)
    names = (f"q{i:0{QUESTION_CHARS - 1}}" for i in range(limits.POLICY_QUESTIONS_MAX))
    return issue(opening, world.bank), tuple(Proof(name, data) for name in names)


def logged() -> Logged:
    hashes = (bytes(32),) * limits.TREE_PROOF_HASHES_MAX
    return Logged(bytes(ENTRY_BYTES), 2**62, hashes)


def lookup(members: int) -> Lookup:
    proof = LookupProof(Leaf(bytes(32), bytes(32)), (bytes(32),) * limits.DIRECTORY_DEPTH_MAX)
    return Lookup(bytes(32), proof, bytes(16), (bytes(32),) * members)


def largest_answer(world: World) -> AnswerBundle:
    """All that the service's checks allow, at once; what it signs itself at its longest too."""
    honest = world.finish(world.case())
    token, proofs = largest_token(world)
    (binding,), count = honest.bindings, limits.EVIDENCE_TOKENS_MAX
    bound = replace(binding, logged=logged())
    share = limits.DIRECTORY_MEMBERS_MAX // limits.POLICY_QUESTIONS_MAX
    lookups = (lookup(share),) * limits.POLICY_QUESTIONS_MAX
    long = Reference("\U0001f4dc" * limits.REFERENCE_CHARS_MAX, bytes(16))
    kept = honest.kept
    parts = kept.transcript.parts * limits.OPRF_SHARES_MAX
    return AnswerBundle(
        answer="a" * limits.TOKEN_BYTES_MAX,
        consent="c" * limits.TOKEN_BYTES_MAX,
        tokens=(TokenEvidence(token, proofs, logged()),) * count,
        bindings=(bound,) * count,
        logged=logged(),
        checkpoint=bytes(limits.NOTE_BYTES_MAX),
        kept=replace(kept, case=long, staff=long, transcript=replace(kept.transcript, parts=parts)),
        directory=replace(honest.directory, root=logged(), lookups=lookups),
    )


def test_the_largest_answer_is_read_as_a_file_and_fits_one_reply():
    """What a lender adds, and what witnesses do, is in it."""
    bundle = largest_answer(World())
    assert wire.parse(wire.to_bytes(bundle)) == bundle
    (result,) = ask.fitting([bundle])
    reply = pb.BatchAskResponse(results=[result]).SerializeToString()
    assert len(reply) <= limits.ASK_REPLY_BYTES_MAX
    assert ask.from_proto(result) == bundle


def test_no_entry_that_an_answer_shows_is_longer_than_that():
    """Of attestations and answers: an id has at most 40 characters, a count 16 digits."""
    world = World()
    first = world.hold(world.statement())
    world.hold(world.statement(jti=bytes(16), seq=2), replaces=first.token_id)
    world.finish(world.case())
    lines = [json.loads(line) for line in world.log.lines]
    longest = 40 + 4 * 16 + 63  # actor, counts, a policy's id
    assert max(len(canonical_json(line)) for line in lines) + longest <= ENTRY_BYTES
