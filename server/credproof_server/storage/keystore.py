"""Private keys on disk: files of mode 0600, encrypted under the key-encryption key.

The key-encryption key comes from a small interface: a file or an environment variable
here, a KMS where the operator has one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from credproof.base.encoding import parse_b64url, tagged
from credproof.base.errors import DataLoss, Malformed
from credproof.files import write_private
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
KEK_VARIABLE = "CREDPROOF_KEK"


class KeyEncryption(Protocol):
    """Wraps and unwraps small secrets. `name` is bound to the result: another name fails.

    Safe to call from several threads. `unwrap` raises DataLoss (`KEY_NOT_OPENED`).
    """

    def wrap(self, name: bytes, secret: bytes) -> bytes: ...

    def unwrap(self, name: bytes, wrapped: bytes) -> bytes: ...


class LocalKeyEncryption:
    """AES-256-GCM under a 32-byte key: a random nonce of 12 bytes, then the ciphertext."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def wrap(self, name: bytes, secret: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, tagged("wrap", name))

    def unwrap(self, name: bytes, wrapped: bytes) -> bytes:
        try:
            nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, sealed, tagged("wrap", name))
        except (InvalidTag, ValueError, TypeError) as error:
            raise DataLoss("KEY_NOT_OPENED", "a stored key does not open") from error


def load_key_encryption(path: Path) -> KeyEncryption:
    """The key-encryption key from the environment if it is there, else from the file."""
    try:
        text = os.environ.get(KEK_VARIABLE) or path.read_bytes().decode("ascii").strip()
        return LocalKeyEncryption(parse_b64url(text, size=KEY_BYTES))
    except (FileNotFoundError, UnicodeDecodeError, Malformed) as error:
        message = f"{path.name} holds no key-encryption key, nor does {KEK_VARIABLE}"
        raise DataLoss("NO_KEK", message) from error


class KeyStore:
    """Named secrets in a folder, one encrypted file each."""

    def __init__(self, folder: Path, key_encryption: KeyEncryption) -> None:
        self._folder = folder
        self._key_encryption = key_encryption

    def write(self, name: str, secret: bytes) -> None:
        """Keep a new secret; an existing one is never overwritten."""
        write_private(
            self._folder / f"{name}.key", self._key_encryption.wrap(name.encode(), secret)
        )

    def has(self, name: str) -> bool:
        """Whether there is a secret of this name."""
        return (self._folder / f"{name}.key").exists()

    def read(self, name: str) -> bytes:
        """The secret of this name.

        Raises:
            DataLoss: `KEY_NOT_OPENED`, `KEY_MISSING`.
        """
        try:
            wrapped = (self._folder / f"{name}.key").read_bytes()
        except FileNotFoundError as error:
            raise DataLoss("KEY_MISSING", f"the key {name} is not there") from error
        return self._key_encryption.unwrap(name.encode(), wrapped)
