"""The primitives that the work cannot do without, and the floors made of them.

All are called the way the product calls them, on data of the size that it handles. Floors do
nothing else: no parsing, no storing, no network.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import cached_property

from credproof.attestation.package import parse_package
from credproof.attestation.sealing import Route
from credproof.attestation.statement import HIDDEN
from credproof.base import group
from credproof.base.jws import Jws
from credproof.log.merkle import leaf_hash, node_hash
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.world import DOMAIN, REVOLVING, World, seed_of

_BLOCK = os.urandom(55)
_KEY = os.urandom(32)
_LADDERS = REVOLVING.ladders.values()

DIGESTS = len(REVOLVING.claims) + len(REVOLVING.facts) + len(HIDDEN)
N_SHA = sum(len(ladder.thresholds) + 2 for ladder in _LADDERS) + DIGESTS
"""Hashes of one SHA-256 block: both chains of each ladder, and a digest for each member."""
N_HMAC = DIGESTS + 2 * len(_LADDERS)
"""Secrets derived from the seed: a salt per member, a start per chain."""


class Floors:
    """Each method does the work of one item once."""

    def __init__(self, world: World, batch: int) -> None:
        self.batch = batch
        self.route = Route(DOMAIN, "bank")
        self.packages = [
            world.package(world.statement(jti=seed_of(f"jti{i}", 16))) for i in range(batch)
        ]
        self.sealed = world.sealing.public.seal(self.packages, self.route)
        self._world = world
        self._scalar = group.scalar_from(os.urandom(64))
        self._element = group.multiply_base(self._scalar)
        self._aead, self._nonce = AESGCM(_KEY), os.urandom(12)
        self._row = self._aead.encrypt(self._nonce, self.packages[0], None)

    @cached_property
    def jws(self) -> Jws:
        """The reference token: consumer-revolving/1, all shipped ladders."""
        return parse_package(self.packages[0]).token.jws

    def verify(self) -> None:
        self._world.bank.public.verify(self.jws.signing_input, self.jws.signature)

    def sign(self) -> None:
        self._world.bank.sign(self.jws.signing_input)

    def scalar_multiplication(self) -> None:
        group.multiply(self._scalar, self._element)

    def node(self) -> None:
        node_hash(_KEY, _KEY)

    def commitments(self) -> None:
        """All hashes and secrets of one token."""
        for _ in range(N_SHA):
            hashlib.sha256(_BLOCK).digest()
        for _ in range(N_HMAC):
            hmac.digest(_KEY, _BLOCK, "sha256")

    def accept_batch(self) -> None:
        """F_i times the batch: one seal opened; per item one verify, the hashes, one leaf."""
        self._world.sealing.open(self.sealed, self.route)
        for _ in range(self.batch):
            self.verify()
            self.commitments()
            leaf_hash(self.jws.signing_input)

    def answer(self) -> None:
        """F_q: one row decrypted, one signature, one hash over what is signed."""
        self._aead.decrypt(self._nonce, self._row, None)
        self.sign()
        leaf_hash(self.jws.signing_input)

    def attest(self) -> None:
        """F_p: blind, evaluate, unblind; the hashes of the token; one signature."""
        for _ in range(3):
            self.scalar_multiplication()
        self.commitments()
        self.sign()
