"""The key of the directory: where a borrower's attestations are filed follows from it."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from credproof.base.oprf import public_key
from credproof.base.vrf import Output
from credproof.verification.filing import element_of, index_of, prove_element

CACHED: Final = 4096
"""Borrowers whose elements stay in memory: a few MB."""


class DirectoryKey:
    """The secret (32 bytes) and what it makes. Safe to use from several threads."""

    def __init__(self, secret: bytes) -> None:
        self.public = public_key(secret)
        self._element = lru_cache(CACHED)(lambda sub: element_of(secret, sub))
        self._proved = lru_cache(CACHED)(lambda sub: prove_element(secret, sub, os.urandom(64)))

    def index(self, sub: bytes, schema_digest: bytes) -> bytes:
        """The index of a borrower's attestations of one schema."""
        return index_of(self._element(sub), schema_digest)

    def prove(self, sub: bytes) -> Output:
        """The borrower's element with its proof."""
        return self._proved(sub)
