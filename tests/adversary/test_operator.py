"""An operator with all of its own keys signs and logs whatever it likes."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.encoding import canonical_json
from credproof.base.errors import CredproofError
from credproof.verification.answer import (
    ENTRY_ANSWER,
    ENTRY_ATTESTATION,
    Answer,
    AnswerBundle,
    DirectoryEvidence,
    evidence_digest,
    parse_answer,
)

from tests.adversary.mutation import mutated
from tests.world import FAIR, GOOD, POOR, World


def claims_of(token: str, kind: str) -> dict:
    return json.loads(jws.parse(token, kind).payload)


@pytest.mark.parametrize("values", [GOOD, FAIR, POOR], ids=["A", "B", "REFER"])
def test_no_changed_answer_is_accepted_though_the_operator_signs_and_logs_it(values):
    chance = random.Random(7)
    for _ in range(80):
        world = World()
        case = world.case(values)
        honest = world.finish(case)
        changed = mutated(chance, claims_of(honest.answer, jws.ANSWER))
        if not isinstance(changed, dict) or changed == claims_of(honest.answer, jws.ANSWER):
            continue
        token = jws.sign(world.answerer, jws.ANSWER, changed)
        fields = said_of(world, token, case.answer)
        index = world.log.append(ENTRY_ANSWER, "lend", jws.token_id(token), fields=fields)
        with pytest.raises(CredproofError):
            world.verify(relogged(world, replace(honest, answer=token), index))


def said_of(world: World, token: str, honest: Answer) -> dict[str, object]:
    """What the log says of a changed answer: the same as itself, where it can be read."""
    try:
        return world.entry_fields(parse_answer(token)[1])
    except CredproofError:
        return world.entry_fields(honest)


def relogged(world: World, bundle: AnswerBundle, index: int) -> AnswerBundle:
    """The bundle with fresh proofs under the newest checkpoint, the answer at `index`."""
    return replace(
        bundle,
        tokens=tuple(
            replace(t, logged=world.log.logged(t.logged.log_index)) for t in bundle.tokens
        ),
        bindings=tuple(
            replace(b, logged=world.log.logged(b.logged.log_index)) for b in bundle.bindings
        ),
        logged=world.log.logged(index),
        directory=bundle.directory
        and replace(bundle.directory, root=world.log.logged(bundle.directory.root.log_index)),
        checkpoint=world.log.checkpoint(),
    )


def test_no_changed_token_is_accepted_though_the_operator_logs_it():
    """The operator cannot sign for the provider: it can only change bytes."""
    chance = random.Random(11)
    for _ in range(80):
        world = World()
        case = world.case()
        token = case.tokens[0].token
        head, _, signature = token.split(".")
        changed = mutated(chance, claims_of(token, jws.ATTESTATION))
        if not isinstance(changed, dict) or changed == claims_of(token, jws.ATTESTATION):
            continue
        payload = jws.b64url(canonical_json(changed))
        forged = f"{head}.{payload}.{signature}"
        index = world.log.append(ENTRY_ATTESTATION, "bank", jws.token_id(forged))
        logged = world.log.logged(index)
        case.tokens = [replace(case.tokens[0], token=forged, logged=logged)]
        with pytest.raises(CredproofError):
            world.verify(world.finish(case))


def test_evidence_of_one_answer_does_not_serve_another():
    """Tokens, bindings, consents and proofs of two people, mixed in every way."""
    chance = random.Random(13)
    for _ in range(40):
        world = World()
        case = world.case(GOOD)
        other_sub, _ = world.identify("ref:somebody-else")
        other = world.hold(world.statement(GOOD, sub=other_sub, account="other", jti=bytes(16)))
        foreign = [
            replace(
                case.tokens[0],
                token=other.token,
                logged=world.log.logged(other.log_index),
            )
        ]
        case.tokens = chance.choice([foreign, [*case.tokens, *foreign], [*foreign, *case.tokens]])
        with pytest.raises(CredproofError):
            world.verify(world.finish(case))


def test_the_digest_of_the_evidence_notices_every_part():
    world = World()
    case = world.case()
    tokens, bindings = tuple(case.tokens), tuple(case.bindings)
    shown, proofs = case.directory, tokens[0].proofs
    whole = evidence_digest(case.consent, tokens, bindings, shown)
    for changed in (
        evidence_digest(case.consent + "x", tokens, bindings, shown),
        evidence_digest(case.consent, (), bindings, shown),
        evidence_digest(case.consent, tokens, (), shown),
        evidence_digest(case.consent, (replace(tokens[0], proofs=proofs[:-1]),), bindings, shown),
        evidence_digest(case.consent, (replace(tokens[0], proofs=proofs[::-1]),), bindings, shown),
        *(evidence_digest(case.consent, tokens, bindings, changed) for changed in _bent(shown)),
    ):
        assert whole != changed


def _bent(shown: DirectoryEvidence) -> list[DirectoryEvidence | None]:
    (lookup,) = shown.lookups
    proof = lookup.proof
    lookups = (
        replace(lookup, schema=bytes(32)),
        replace(lookup, salt=bytes(15)),
        replace(lookup, members=()),
        replace(lookup, proof=replace(proof, leaf=None)),
        replace(lookup, proof=replace(proof, siblings=proof.siblings[:-1])),
    )
    return [
        None,
        replace(shown, root=replace(shown.root, line=b"")),
        replace(shown, output=replace(shown.output, element=bytes(32))),
        replace(shown, output=replace(shown.output, proof=bytes(64))),
        replace(shown, lookups=()),
        *(replace(shown, lookups=(changed,)) for changed in lookups),
    ]
