"""What is measured, and the floor of each row."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable

from credproof.attestation.package import (
    parse_package,
    verify_commitments,
    verify_envelope,
    verify_signature,
    verify_values,
)
from credproof.attestation.sealing import Route
from credproof.attestation.statement import HIDDEN
from credproof.base.keys import DatedKey
from credproof.log.audit import LogAudit
from credproof.log.merkle import Tree, leaf_hash, node_hash
from credproof.verification.trust import NEVER

from tests.world import DOMAIN, NOW, REVOLVING, World, seed_of

BATCH = 64
LEAVES = 100_000


class Bench:
    """Samples made once; every method is one piece of work."""

    entries = 2000

    def __init__(self) -> None:
        self._world = World()
        self._route = Route(DOMAIN, "bank")
        packages = [
            self._world.package(self._world.statement(jti=seed_of(f"jti{i}", 16)))
            for i in range(BATCH)
        ]
        self._sealed = self._world.sealing.public.seal(packages, self._route)
        self._keys = {self._world.bank.public.kid: DatedKey(self._world.bank.public, 0, NEVER)}
        self._token = parse_package(packages[0]).token
        self._bundle = self._world.finish(self._world.case())
        self._trust = self._world.trust()
        self._tree = Tree()
        self._tree.extend([leaf_hash(str(i).encode()) for i in range(LEAVES)])
        self._log = self._long_log()

    @staticmethod
    def timed(work: Callable[[], None], items: int, repeat: int = 1) -> Callable[[], float]:
        """CPU seconds per item of `work`, done `repeat` times."""

        def measure() -> float:
            started = time.thread_time()
            for _ in range(repeat):
                work()
            return (time.thread_time() - started) / (items * repeat)

        return measure

    # -- accepting

    def accept(self) -> None:
        schemas = {REVOLVING.digest: REVOLVING}
        for data in self._world.sealing.open(self._sealed, self._route):
            package = parse_package(data)
            verify_signature(package, self._keys, now=NOW)
            schema = verify_envelope(package, caller="bank", schemas=schemas, now=NOW)
            verify_values(package, schema)
            verify_commitments(package, schema)

    def accept_floor(self) -> None:
        """F_i of the design: counted for the reference token, nothing parsed."""
        self._world.sealing.open(self._sealed, self._route)
        message, signature = self._token.jws.signing_input, self._token.jws.signature
        hashes = sum(len(ladder.thresholds) + 2 for ladder in REVOLVING.ladders.values())
        digests = len(REVOLVING.claims) + len(REVOLVING.facts) + len(HIDDEN)
        secrets = digests + 2 * len(REVOLVING.ladders)
        for _ in range(BATCH):
            self._world.bank.public.verify(message, signature)
            for _ in range(hashes + digests):
                hashlib.sha256(_BLOCK).digest()
            for _ in range(secrets):
                hmac.digest(_KEY, _BLOCK, "sha256")
            leaf_hash(message)

    # -- verifying

    def verify_answer(self) -> None:
        self._world.verify(self._bundle, trust=self._trust)

    def verify_floor(self) -> None:
        message, signature = self._token.jws.signing_input, self._token.jws.signature
        for _ in range(4):  # answer, consent, token, binding
            self._world.bank.public.verify(message, signature)

    # -- the log

    def inclusion(self) -> None:
        self._tree.inclusion_proof(LEAVES // 3, LEAVES)

    def node_hash(self) -> None:
        node_hash(_KEY, _KEY)

    def _long_log(self) -> list[bytes]:
        world = World()
        for i in range(self.entries):
            world.log.append("attestation.accepted", "bank", seed_of(str(i)))
        return world.log.lines

    def audit(self) -> None:
        audit = LogAudit()
        for line in self._log:
            audit.feed(line)

    def audit_floor(self) -> None:
        for line in self._log:
            leaf_hash(line)
            node_hash(_KEY, _KEY)


_BLOCK = os.urandom(55)
_KEY = os.urandom(32)
