"""The registry: the trust bundle in force, and its changes."""

from __future__ import annotations

import hashlib

from credproof.base.errors import Conflict
from credproof.base.jws import TRUST, parse
from credproof.base.keys import PublicKey
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.verification.trust import Trust, verify_trust

from credproof_server.log.state import Transaction
from credproof_server.service.core import fresh_salt
from credproof_server.storage import repository

ENTRY_CHANGED = "registry.changed"


class PublishTrust:
    """Puts a new trust bundle in force and logs it."""

    def __init__(self, actor: str, trust: Trust) -> None:
        self._actor = actor
        self._trust = trust

    def apply(self, tx: Transaction) -> int:
        """The log index of the change; publishing the bundle in force again changes nothing.

        Raises:
            Conflict: `TRUST_VERSION` unless the version is the next one.
        """
        version = self._trust.bundle.version
        current = 0 if tx.trust is None else tx.trust.bundle.version
        if version != current + 1:
            raise Conflict(
                "TRUST_VERSION", f"the next version of the trust bundle is {current + 1}"
            )
        token = parse(self._trust.token, TRUST, limit=TRUST_BYTES_MAX)
        fields: dict[str, object] = {"version": version}
        index = tx.append(ENTRY_CHANGED, self._actor, token.id, salt=fresh_salt(), fields=fields)
        docs = {hashlib.sha256(doc).digest(): doc for doc in self._trust.documents}
        repository.add_trust(tx.connection, version, self._trust.token, index, docs)
        tx.trust = self._trust
        return index


def verified(token: str, documents: tuple[bytes, ...], root: PublicKey, now: int) -> Trust:
    """A trust bundle as it came in, verified under the root that the service was made with."""
    return verify_trust(token, documents, root=root, at=now)
