"""Parts of one honest answer in another, proofs a part too short or too long: none verifies.

The service signs and logs what was mixed as if nothing had happened, so that the evidence alone
gives it away; once more without, so that nobody needs the service's help to lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from credproof.base import jws
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.log.merkle import Tree, leaf_hash, verify_consistency
from credproof.verification.answer import AnswerBundle, Kept

from tests.adversary import forge
from tests.world import FAIR, GOOD, POLICY, Case, World, seed_of


class TwoAnswers:
    """One log with two honest answers: about somebody, and about somebody else."""

    def __init__(self) -> None:
        self.world = World()
        self.cases = [self._case("ref:somebody", GOOD), self._case("ref:somebody-else", FAIR)]

    def _case(self, subject: str, values: dict[str, int]) -> Case:
        """A case of this person, with a key, a consent and a nonce of their own."""
        world = self.world
        world.sub, world.transcript = world.identify(subject)
        world.borrower = type(world.borrower)(seed_of("key of " + subject))
        statement = world.statement(
            values, jti=seed_of(subject, 16), account=b64url(seed_of(subject, 8))
        )
        case = world.case(policy=POLICY, holdings=[world.hold(statement)])
        kept = replace(
            case.kept, nonce=seed_of("n" + subject), request_id=seed_of("r" + subject, 16)
        )
        case.kept = kept
        case.answer = replace(case.answer, nonce=kept.nonce, request_id=kept.request_id)
        return case

    def bundles(self) -> list[AnswerBundle]:
        return [self.world.finish(case) for case in self.cases]

    def finish(self, case: Case) -> AnswerBundle:
        return self.world.finish(case)


def refused(world: World, bundle: AnswerBundle) -> VerificationFailed | Malformed:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle)
    assert isinstance(caught.value, VerificationFailed | Malformed)
    assert caught.value.step is not None, "a refused answer names the check"
    return caught.value


def test_both_answers_verify_as_they_are():
    two = TwoAnswers()
    tiers = [two.world.verify(bundle).outcome.tier for bundle in two.bundles()]
    assert tiers == ["A", "B"]


# -- what stands in the bundle

PARTS = ("answer", "consent", "tokens", "bindings", "logged", "checkpoint", "kept")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("into", [0, 1], ids=["of-the-second-in-the-first", "the-other-way"])
def test_no_part_of_one_answer_serves_another(part, into):
    two = TwoAnswers()
    bundles = two.bundles()
    if part == "checkpoint":
        bundles.reverse()  # the first checkpoint is older: what came later is not under it
    host, guest = bundles[into], bundles[1 - into]
    refused(two.world, replace(host, **{part: getattr(guest, part)}))


@pytest.mark.parametrize("first", PARTS)
@pytest.mark.parametrize("second", PARTS)
def test_no_two_parts_of_one_answer_serve_another(first, second):
    two = TwoAnswers()
    host, guest = two.bundles()
    mixed = {first: getattr(guest, first), second: getattr(guest, second)}
    refused(two.world, replace(host, **mixed))


EVIDENCE: dict[str, Callable[[Case, Case], Any]] = {
    "consent": lambda host, guest: replace(host, consent=guest.consent),
    "tokens": lambda host, guest: replace(host, tokens=guest.tokens),
    "tokens beside": lambda host, guest: replace(host, tokens=[*host.tokens, *guest.tokens]),
    "tokens before": lambda host, guest: replace(host, tokens=[*guest.tokens, *host.tokens]),
    "a token under its own proofs": lambda host, guest: replace(
        host, tokens=[replace(host.tokens[0], token=guest.tokens[0].token)]
    ),
    "proofs": lambda host, guest: replace(
        host, tokens=[replace(host.tokens[0], proofs=guest.tokens[0].proofs)]
    ),
    "the place of a token": lambda host, guest: replace(
        host, tokens=[replace(host.tokens[0], logged=guest.tokens[0].logged)]
    ),
    "bindings": lambda host, guest: replace(host, bindings=guest.bindings),
    "bindings beside": lambda host, guest: replace(
        host, bindings=[*host.bindings, *guest.bindings]
    ),
    "a binding under its own key": lambda host, guest: replace(
        host, bindings=[replace(host.bindings[0], token=guest.bindings[0].token)]
    ),
    "the key of a binding": lambda host, guest: replace(
        host, bindings=[replace(host.bindings[0], disclosure=guest.bindings[0].disclosure)]
    ),
    "the place of a binding": lambda host, guest: replace(
        host, bindings=[replace(host.bindings[0], logged=guest.bindings[0].logged)]
    ),
    "a token as a binding": lambda host, guest: replace(
        host, bindings=[replace(host.bindings[0], token=host.tokens[0].token)]
    ),
    "a binding as a token": lambda host, guest: replace(
        host, tokens=[replace(host.tokens[0], token=host.bindings[0].token)]
    ),
    "a token twice": lambda host, guest: replace(host, tokens=host.tokens * 2),
    "a binding twice": lambda host, guest: replace(host, bindings=host.bindings * 2),
    "no tokens": lambda host, guest: replace(host, tokens=[]),
    "no bindings": lambda host, guest: replace(host, bindings=[]),
    "a consent as an answer's case": lambda host, guest: replace(
        host, kept=replace(host.kept, case=guest.kept.staff)
    ),
    "the transcript": lambda host, guest: replace(
        host, kept=replace(host.kept, transcript=guest.kept.transcript)
    ),
}
"""What a service could put into an answer that it then signs and logs as it stands."""


@pytest.mark.parametrize("what", EVIDENCE)
@pytest.mark.parametrize("host", [0, 1])
def test_mixed_evidence_is_refused_though_the_service_signs_and_logs_it(what, host):
    two = TwoAnswers()
    mixed = EVIDENCE[what](two.cases[host], two.cases[1 - host])
    refused(two.world, two.finish(mixed))


# -- proofs, a part too short or too long

LENGTHS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "a byte short": lambda data: data[:-1],
    "a byte long": lambda data: data + b"A",
    "without its head": lambda data: data[1:],
    "twice": lambda data: data * 2,
    "flipped": lambda data: bytes([data[0] ^ 1]) + data[1:],
}


def other_lengths(hashes: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """A list of hashes, too short or too long, out of order, with odd items."""
    yield from ((), hashes[:-1], hashes[1:], (*hashes, bytes(32)), (bytes(32), *hashes))
    yield from ((*hashes, *hashes), (*hashes[:-1], hashes[-1][:-1]), (*hashes, b""))
    if len(hashes) > 1:
        yield hashes[::-1]


@pytest.mark.parametrize("change", LENGTHS)
@pytest.mark.parametrize("question", ["good", "clean", "room", "sizeable"])
def test_a_proof_of_another_length_is_refused(question, change):
    """`good` is shown by a disclosure, the others by the ladder."""
    world = World()
    case = world.case()
    token = case.tokens[0]
    proofs = tuple(
        replace(proof, data=LENGTHS[change](proof.data)) if proof.question == question else proof
        for proof in token.proofs
    )
    case.tokens = [replace(token, proofs=proofs)]
    assert refused(world, world.finish(case)).step == 5


@pytest.mark.parametrize("question", ["good", "clean", "room", "sizeable"])
@pytest.mark.parametrize("other", ["good", "clean", "room", "sizeable"])
def test_the_proof_of_one_question_is_none_of_another(question, other):
    if question == other:
        return
    world = World()
    case = world.case()
    token = case.tokens[0]
    data = {proof.question: proof.data for proof in token.proofs}
    data[question] = data[other]
    proofs = tuple(replace(proof, data=data[proof.question]) for proof in token.proofs)
    case.tokens = [replace(token, proofs=proofs)]
    assert refused(world, world.finish(case)).step == 5


@pytest.mark.parametrize("change", LENGTHS)
def test_the_disclosure_of_a_binding_of_another_length_is_refused(change):
    world = World()
    case = world.case()
    binding = case.bindings[0]
    text = LENGTHS[change](binding.disclosure.encode()).decode("latin-1")
    case.bindings = [replace(binding, disclosure=text)]
    assert refused(world, world.finish(case)).step == 3


@pytest.mark.parametrize("place", ["answer", "token", "binding"])
def test_an_inclusion_proof_of_another_length_is_refused(place):
    world = World()
    bundle = world.finish(world.case())
    logged = {
        "answer": bundle.logged,
        "token": bundle.tokens[0].logged,
        "binding": bundle.bindings[0].logged,
    }[place]
    for hashes in other_lengths(logged.hashes):
        assert refused(world, moved(bundle, place, replace(logged, hashes=hashes))).step == 8


def moved(bundle: AnswerBundle, place: str, logged: Any) -> AnswerBundle:
    if place == "answer":
        return replace(bundle, logged=logged)
    if place == "token":
        return replace(bundle, tokens=(replace(bundle.tokens[0], logged=logged),))
    return replace(bundle, bindings=(replace(bundle.bindings[0], logged=logged),))


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 2**62])
def test_an_entry_at_another_place_is_refused(index):
    world = World()
    bundle = world.finish(world.case())
    logged = replace(bundle.logged, log_index=index)
    assert refused(world, replace(bundle, logged=logged)).step == 8


@pytest.mark.parametrize("member", ["blind", "evaluated_element", "proof"])
@pytest.mark.parametrize("change", LENGTHS)
def test_a_transcript_of_another_length_is_refused(member, change):
    world = World()
    bundle = world.finish(world.case())
    transcript = bundle.kept.transcript
    if member == "blind":
        bent = replace(transcript, blind=LENGTHS[change](transcript.blind))
    else:
        (part,) = transcript.parts
        part = replace(part, **{member: LENGTHS[change](getattr(part, member))})
        bent = replace(transcript, parts=(part,))
    kept: Kept = replace(bundle.kept, transcript=bent)
    assert refused(world, replace(bundle, kept=kept)).step == 7


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (5, 8), (6, 13), (8, 13)])
def test_a_consistency_proof_of_another_length_is_refused(old, new):
    tree = Tree()
    tree.extend([leaf_hash(bytes([i])) for i in range(new)])
    proof = tree.consistency_proof(old, new)
    verify_consistency(old, tree.root(old), new, tree.root(new), proof)
    for other in other_lengths(proof):
        with pytest.raises(CredproofError):
            verify_consistency(old, tree.root(old), new, tree.root(new), other)


@pytest.mark.parametrize("change", ["slack bits in the signature", "a truncated signature"])
@pytest.mark.parametrize("part", ["answer", "consent", "token", "binding"])
def test_a_token_spelled_otherwise_is_refused(part, change):
    world = World()
    case = world.case()
    bend = forge.SIGNATURES[change][0]
    if part == "consent":
        case.consent = bend(case.consent)
    elif part == "token":
        case.tokens = [replace(case.tokens[0], token=bend(case.tokens[0].token))]
    elif part == "binding":
        case.bindings = [replace(case.bindings[0], token=bend(case.bindings[0].token))]
    bundle = world.finish(case)
    refused(world, replace(bundle, answer=bend(bundle.answer)) if part == "answer" else bundle)


@pytest.mark.parametrize("kind", forge.other_kinds(jws.ANSWER))
def test_no_other_kind_of_token_is_an_answer(kind):
    world = World()
    bundle = world.finish(world.case())
    typ = forge.KINDS[kind]
    answer = forge.reheaded(bundle.answer, world.answerer, typ=typ)
    assert refused(world, replace(bundle, answer=answer)).reason == "WRONG_TYPE"
