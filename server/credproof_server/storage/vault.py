"""Encryption at rest: one data key per subject, wrapped, in a store of its own.

Destroying a data key erases all that was encrypted under it, wherever copies lie.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from credproof.base.encoding import tagged
from credproof.base.errors import DataLoss
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine, bindparam, insert, select

from credproof_server.storage.keystore import KEY_BYTES, NONCE_BYTES, KeyEncryption
from credproof_server.storage.tables import data_keys

_WRAPPED = select(data_keys.c.sub, data_keys.c.wrapped).where(
    data_keys.c.sub.in_(bindparam("subs", expanding=True)), data_keys.c.erased.is_(False)
)
_ADD_KEYS = insert(data_keys).prefix_with("OR IGNORE", dialect="sqlite")


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one subject, 32 bytes."""

    secret: bytes

    def seal(self, kind: str, name: bytes, plain: bytes) -> bytes:
        """AES-256-GCM; kind and name of the row are bound, so rows cannot be swapped."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, plain, _bound(kind, name))

    def open(self, kind: str, name: bytes, sealed: bytes) -> bytes:
        """What `seal` sealed.

        Raises:
            DataLoss: `ROW_NOT_OPENED`.
        """
        try:
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return AESGCM(self.secret).decrypt(nonce, rest, _bound(kind, name))
        except (InvalidTag, ValueError, TypeError) as error:
            raise DataLoss("ROW_NOT_OPENED", "a stored row does not decrypt") from error

    def tag(self, salt: bytes) -> bytes:
        """The erasable tag of a log entry: recognisable only while this key exists."""
        return hmac.digest(self.secret, tagged("entry-tag", salt), "sha256")

    def verdicts_salt(self, salt: bytes) -> bytes:
        """What an entry commits to verdicts under, 32 bytes: none who reads the log can try them.

        It is gone with this key, and with it the way to tell which verdicts were meant.
        """
        return hmac.digest(self.secret, tagged("verdicts-salt", salt), "sha256")


def _bound(kind: str, name: bytes) -> bytes:
    return tagged("row", kind.encode(), name)


class Vault:
    """The data keys. Safe to use from several threads."""

    def __init__(self, engine: Engine, key_encryption: KeyEncryption) -> None:
        self._engine = engine
        self._key_encryption = key_encryption

    def close(self) -> None:
        self._engine.dispose()

    def keys(self, subs: Iterable[bytes]) -> Mapping[bytes, DataKey]:
        """The data keys of these subjects; missing ones are made, durable when this returns.

        A subject whose key was erased has none: it never gets another.
        """
        wanted = set(subs)
        found = self.existing(wanted)
        missing = sorted(wanted - set(found))
        if not missing:
            return found
        wrap = self._key_encryption.wrap
        rows = [{"sub": sub, "wrapped": wrap(sub, os.urandom(KEY_BYTES))} for sub in missing]
        with self._engine.begin() as connection:
            # Two batches may meet a subject at once: the second takes the first's key.
            connection.execute(_ADD_KEYS, rows)
        return self.existing(wanted)

    def existing(self, subs: Iterable[bytes]) -> Mapping[bytes, DataKey]:
        """The data keys that are there.

        Raises:
            DataLoss: `KEY_NOT_OPENED`.
        """
        return {sub: self.unwrap(sub, wrapped) for sub, wrapped in self.wrapped(subs).items()}

    def wrapped(self, subs: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """The data keys that are there, still wrapped: one that is damaged spoils no other."""
        with self._engine.connect() as connection:
            rows = connection.execute(_WRAPPED, {"subs": list(subs)})
            return {row.sub: row.wrapped for row in rows}

    def unwrap(self, sub: bytes, wrapped: bytes) -> DataKey:
        """A data key.

        Raises:
            DataLoss: `KEY_NOT_OPENED`.
        """
        return DataKey(self._key_encryption.unwrap(sub, wrapped))

    def key(self, sub: bytes) -> DataKey:
        """The data key of one subject.

        Raises:
            DataLoss: `KEY_MISSING`, `KEY_NOT_OPENED`.
        """
        found = self.existing([sub]).get(sub)
        if found is None:
            raise DataLoss("KEY_MISSING", "a subject has no data key")
        return found
