"""Ladder commitments: prove v >= t or v < t for the thresholds of a ladder, with 32 bytes.

Two hash chains per claim end in signed anchors (`docs/PROTOCOL.md`, "Ladder commitment").
With thresholds t_1 < … < t_N and i = the number of thresholds that v reaches:

    at least   starts at position i + 1;      x_{k+1}    proves v >= t_k   (k <= i)
    below      starts at position N - i + 1;  x_{N-k+2}  proves v <  t_k   (k >  i)
    unknown    both start at position 1, from which no proof can be reached

A proof is the chain's value at its position; the verifier takes the position from the
policy's threshold and walks down to the anchor x_0. Walking up needs a SHA-256 preimage.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from credproof.base.encoding import canonical_json, frame, tagged, tagged_hash
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import LADDER_RUNGS_MAX

Direction = Literal["at_least", "below"]
DIRECTIONS: tuple[Direction, Direction] = ("at_least", "below")
CONTEXT_BYTES = 19
"""19 + 4 + 32 = 55 bytes: the most that one SHA-256 block takes, so a step is one compression."""
_U32 = tuple(j.to_bytes(4, "big") for j in range(LADDER_RUNGS_MAX + 2))
"""Every position that a chain can have, spelled."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a claim with a rung of its ladder."""

    claim: str
    direction: Direction
    threshold: int

    def evaluate(self, value: object) -> bool | None:
        """Whether `value` satisfies it; None when unknown."""
        if type(value) is not int:
            return None
        return value >= self.threshold if self.direction == "at_least" else value < self.threshold

    @property
    def opposite(self) -> Condition:
        """What holds of a known value exactly when this does not."""
        direction: Direction = "below" if self.direction == "at_least" else "at_least"
        return Condition(self.claim, direction, self.threshold)


@dataclass(frozen=True)
class Ladder:
    """The rising thresholds t_1 … t_N of a claim."""

    thresholds: tuple[int, ...]

    @cached_property
    def digest(self) -> bytes:
        return tagged_hash("ladder", canonical_json(self.thresholds))

    def rung(self, value: int) -> int:
        """How many thresholds `value` reaches: 0 … N."""
        return bisect_right(self.thresholds, value)

    def position(self, direction: Direction, threshold: int) -> int:
        """Where on its chain the proof for `threshold` stands: 2 … N + 1.

        Raises:
            Malformed: `NOT_ON_LADDER`.
        """
        if threshold not in self.thresholds:
            raise Malformed("NOT_ON_LADDER", "threshold is not a rung of the ladder")
        k = self.thresholds.index(threshold) + 1
        return k + 1 if direction == "at_least" else len(self.thresholds) - k + 2

    def start(self, direction: Direction, value: int | None) -> int:
        """Where the chain starts for `value`; None is unknown."""
        if value is None:
            return 1
        i = self.rung(value)
        return i + 1 if direction == "at_least" else len(self.thresholds) - i + 1


@dataclass(frozen=True, slots=True)
class Chain:
    """One of the two chains of one claim of one token.

    `context` binds every step to issuer, token, claim, direction and ladder: a value of any
    other chain leads nowhere.
    """

    context: bytes

    @classmethod
    def of(cls, issuer: str, jti: bytes, claim: str, direction: Direction, ladder: Ladder) -> Chain:
        named = _of_token(issuer, jti) + _of_claim(claim, direction, ladder.digest)
        return cls(hashlib.sha256(named).digest()[:CONTEXT_BYTES])

    def walk(self, value: bytes, start: int, stop: int = 0) -> bytes:
        """From x_start down to x_stop: x_{j-1} = SHA-256(context ‖ u32(j) ‖ x_j)."""
        context, sha256 = self.context, hashlib.sha256
        for position in _U32[start:stop:-1]:
            value = sha256(context + position + value).digest()
        return value

    def prove(self, secret: bytes, start: int, position: int) -> bytes:
        """x_position, from the secret x_start.

        Raises:
            VerificationFailed: `NOT_PROVABLE` when the position lies above the start.
        """
        if position > start:
            raise VerificationFailed("NOT_PROVABLE", "the attested value does not prove this")
        return self.walk(secret, start, position)

    def verify(self, proof: bytes, position: int, anchor: bytes) -> None:
        """Accept `proof` at `position` when it walks down to `anchor`.

        Raises:
            VerificationFailed: `BAD_LADDER_PROOF`.
        """
        if len(proof) != 32 or self.walk(proof, position) != anchor:
            raise VerificationFailed("BAD_LADDER_PROOF", "ladder proof does not reach its anchor")


# What is hashed is one frame, made of two: all chains of a token begin alike, and those of a
# claim end alike in every token.


@lru_cache(maxsize=8)
def _of_token(issuer: str, jti: bytes) -> bytes:
    return tagged("ladder-step", issuer.encode(), jti)


@lru_cache(maxsize=1024)
def _of_claim(claim: str, direction: Direction, ladder_digest: bytes) -> bytes:
    return frame((claim.encode(), direction.encode(), ladder_digest))
