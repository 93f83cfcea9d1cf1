"""An attacker who infers figures from answers: by trying out every figure, with no word from the
meter, under the public policies; and by trying every proof on every rung."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from credproof.attestation.ladder import DIRECTIONS, Condition
from credproof.attestation.token import parse_token
from credproof.base.encoding import parse_json
from credproof.base.errors import Refused, VerificationFailed
from credproof.lender import KeptAnswer, Lender
from credproof.verification.evaluation import evaluate
from credproof.verification.meter import Interval, meter
from credproof.verification.policy import Policy

from tests.proposing import proposed, variant
from tests.rpc.registry import publish
from tests.world import GOOD, POLICY, REVOLVING, World, complete

WORLD = World()
SHARE = "utilisation_bp"
OFFER = parse_json(POLICY.document)["tiers"][0]["offer"]


def asking(name: str, *tiers: Mapping[str, Any], **members: object) -> Policy:
    """A policy whose tiers, best first, each need the conditions given by their names."""
    questions = {key: question(**q) for tier in tiers for key, q in tier.items()}
    granted = [
        {"name": f"T{place}", "when": list(tier), "offer": OFFER}
        for place, tier in enumerate(tiers)
    ]
    caps = {"answers": "9 per day"}
    return variant(name, questions=questions, tiers=granted, caps=caps, **members)


def question(claim: str, **asked: object) -> dict[str, object]:
    """A question about a claim of the revolving account."""
    money = {"currency": "TWD"} if REVOLVING.claims[claim].type == "money" else {}
    return {"schema": REVOLVING.id, "claim": claim, **asked, **money}


def share(name: str, threshold: int, **members: object) -> Policy:
    """A policy that asks whether the share in use is below one rung."""
    return asking(name, {"q": {"claim": SHARE, "below": threshold}}, **members)


def promise(bands: int) -> dict[str, dict[str, int]]:
    """What a policy says under `narrowest` about the share in use."""
    return {REVOLVING.id: {SHARE: bands}}


def publish_all(running, policies: Iterable[Policy]) -> None:
    """Put policies in force."""
    found = list(policies)
    pins = tuple(proposed(running.world.service, policy, 0).pin for policy in found)
    documents = (policy.document for policy in found)
    publish(running, lambda b: replace(b, policies=(*b.policies, *pins)), *documents)


@dataclass
class Attacker:
    """Somebody's knowledge about one borrower with one account, from all that was answered."""

    answered: list[tuple[Policy, KeptAnswer]] = field(default_factory=list)
    refused: list[tuple[Policy, Refused]] = field(default_factory=list)

    def ask(self, lender: Lender, subject_id: str, borrower, policy: Policy) -> bool:
        """Ask with a fresh consent; whether there was an answer."""
        subject = lender.subject(subject_id)
        request = lender.request(subject, policy_id=policy.id, mode="continuing")
        consent = borrower.consent(borrower.check(request), language="zh")
        try:
            kept = lender.ask(subject, policy_id=policy.id, consent=consent)
        except Refused as error:
            self.refused.append((policy, error))
            return False
        self.answered.append((policy, kept))
        return True

    def left(self, *claims: str) -> list[Mapping[str, int]]:
        """The lowest figures of all bands of these claims that fit everything that was seen.

        A refusal fits every figure: `test_refusal_as_oracle` shows it.
        """
        return [
            values
            for values in figures(claims)
            if all(seen(kept) == expected(policy, values, kept) for policy, kept in self.answered)
        ]

    def hull(self, claim: str) -> Interval:
        """The part of a claim's range that fits, tried alone."""
        return hull(claim, self.left(claim))

    def proved(self, claim: str) -> Interval:
        """What all proofs together prove of a claim: each is tried on each rung."""
        low, end = edges(claim)[0], edges(claim)[-1]
        for condition in self._conditions(claim):
            if condition.direction == "at_least":
                low = max(low, condition.threshold)
            else:
                end = min(end, condition.threshold)
        return Interval(low, end)

    def _conditions(self, claim: str) -> Iterator[Condition]:
        items = [item for _, kept in self.answered for item in kept.bundle.tokens]
        proofs = [(parse_token(item.token), proof.data) for item in items for proof in item.proofs]
        rungs = REVOLVING.ladders[claim].thresholds
        for (token, data), way, rung in itertools.product(proofs, DIRECTIONS, rungs):
            condition = Condition(claim, way, rung)
            try:
                token.verify_condition(REVOLVING, condition, data)
            except VerificationFailed:
                continue
            yield condition

    def cell(self, claim: str, value: int) -> Interval:
        """What the meter says that is at most known."""
        return meter([policy for policy, _ in self.answered])[REVOLVING.id, claim].cell(value)


def edges(claim: str) -> list[int]:
    asked = REVOLVING.claims[claim]
    return [asked.minimum, *REVOLVING.ladders[claim].thresholds, asked.maximum + 1]


def bands(claim: str, part: Interval) -> int:
    """How many bands a part of the range has."""
    return edges(claim).index(part.end) - edges(claim).index(part.low)


def figures(claims: Iterable[str]) -> Iterator[dict[str, int]]:
    """One figure of every band of these claims, in every combination that the schema allows."""
    names = list(claims)
    for values in itertools.product(*(edges(name)[:-1] for name in names)):
        found = dict(zip(names, values, strict=True))
        pairs = [(low, high) for low, high in REVOLVING.not_above if {low, high} <= found.keys()]
        if all(found[low] <= found[high] for low, high in pairs):
            yield found


def seen(kept: KeptAnswer) -> tuple:
    """All of an answer that may depend on figures."""
    answer = kept.verified.answer
    shown = [(item.question, item.verdict) for item in answer.results]
    proofs = [proof.question for item in kept.bundle.tokens for proof in item.proofs]
    return answer.outcome, shown, dict(answer.offer), proofs


def expected(policy: Policy, values: Mapping[str, int], kept: KeptAnswer) -> tuple:
    """What an answer about these figures would have shown at that time."""
    time = kept.verified.answer.issued_at
    complete_values = complete(REVOLVING, {**GOOD, **values})
    statement = replace(
        WORLD.statement({}), values=complete_values, as_of=policy.oldest(time), expires_at=time
    )
    found = evaluate(policy, [statement], now=time)
    tier = policy.tier(found.outcome.tier or "")
    shown = [(name, "YES") for name in (tier.when if tier else ())]
    if found.failing is not None:
        shown = [(found.failing, "NO")]
    offer = dict(tier.offer) if tier else {}
    return found.outcome, shown, offer, [name for name, _ in shown]


def hull(claim: str, left: Iterable[Mapping[str, int]]) -> Interval:
    """The part of a claim's range that figures lie in."""
    steps = edges(claim)
    places = [steps.index(values[claim]) for values in left]
    return Interval(steps[min(places)], steps[max(places) + 1])


def never_narrower(attacker: Attacker, truth: Mapping[str, int]) -> None:
    """What is inferred of claims, tried together, is true and no narrower than the meter says."""
    left = attacker.left(*truth)
    for claim, value in truth.items():
        cell = attacker.cell(claim, value)
        for known in (hull(claim, left), attacker.proved(claim)):
            assert known.low <= cell.low <= value < cell.end <= known.end
