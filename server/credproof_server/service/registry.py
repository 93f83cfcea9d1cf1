"""The registry: the trust bundle in force, and its changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from credproof.base.errors import Conflict, Malformed, Refused, VerificationFailed
from credproof.base.jws import TRUST, parse
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.base.oprf import public_key
from credproof.updating.metadata import provider_role
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.trust import Trust, pinned_documents, verify_trust

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.service.distribution import Items
from credproof_server.storage import bundles, repository
from credproof_server.storage.evaluations import has_pseudonyms


class PublishTrust:
    """Puts a new trust bundle in force and logs it."""

    def __init__(self, actor: str, trust: Trust, accept: Callable[[], None]) -> None:
        """`accept` keeps the metadata by which clients find this bundle, or refuses it."""
        self._actor = actor
        self._trust = trust
        self._accept = accept

    def apply(self, tx: Transaction) -> int:
        """The log index of the change; publishing the bundle in force again changes nothing.

        Raises:
            Conflict: `TRUST_VERSION` unless the version is the next one; `PSEUDONYMS_IN_USE`.
            CredproofError: as `Distribution.accept`.
        """
        version = self._trust.bundle.version
        if tx.trust is not None and tx.trust.token == self._trust.token:
            return _index(tx, version)
        current = 0 if tx.trust is None else tx.trust.bundle.version
        if version != current + 1:
            raise Conflict(
                "TRUST_VERSION", f"the next version of the trust bundle is {current + 1}"
            )
        if tx.trust is not None:
            _require_settled_key(tx, tx.trust, self._trust)
        self._accept()
        token = parse(self._trust.token, TRUST, limit=TRUST_BYTES_MAX)
        fields: dict[str, object] = {"version": version}
        index = tx.append(ENTRY_CHANGED, self._actor, token.id, salt=fresh_salt(), fields=fields)
        docs = {hashlib.sha256(doc).digest(): doc for doc in self._trust.documents}
        bundles.add_trust(tx.connection, version, self._trust.token, index, docs)
        tx.trust = self._trust
        return index


def _index(tx: Transaction, version: int) -> int:
    row = bundles.trust_version(tx.connection, version)
    assert row is not None, "it is in force"
    return int(row.log_index)


def _require_settled_key(tx: Transaction, present: Trust, fresh: Trust) -> None:
    """Another OPRF key gives everybody another pseudonym: only before there are any."""
    if fresh.oprf_key.id != present.oprf_key.id and has_pseudonyms(tx.connection):
        raise Conflict(
            "PSEUDONYMS_IN_USE",
            "pseudonyms were made already: under another OPRF key everybody has another one, and"
            " nothing that was attested would be found. Share the key of a new service",
        )


@dataclass(frozen=True, slots=True)
class Version:
    """A trust bundle of the history: its text, what it pins, and the entry that logged it."""

    token: str
    documents: tuple[bytes, ...]
    line: bytes
    log_index: int


class Registry:
    """The use case of the operator, and of everybody who must know whom to trust."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def trust(self) -> Trust:
        """The bundle in force."""
        return self._core.trust

    async def version(self, number: int) -> Version:
        """A version of the bundle that the newest checkpoint covers.

        Raises:
            Malformed: `NO_SUCH_VERSION`.
        """
        size = self._core.sequencer.head.tree_size
        return await self._core.in_thread(lambda: self._version(number, size))

    def _version(self, number: int, size: int) -> Version:
        with self._core.engine.connect() as connection:
            row = bundles.trust_version(connection, number)
            if row is None or row.log_index >= size:
                raise Malformed("NO_SUCH_VERSION", "the log names no such version")
            documents = [content for _, content in repository.all_documents(connection)]
            line = repository.lines(connection, row.log_index, 1)[0]
        token = row.token.decode("ascii")
        return Version(token, pinned_documents(token, documents), line, row.log_index)

    async def publish(
        self, actor: str, token: str, documents: Sequence[bytes], items: Items
    ) -> int:
        """Put a bundle in force that the service's own root signed; gives its log index.

        `items` are the metadata by which clients find it.

        Raises:
            CredproofError: as `own_trust`, `PublishTrust` and `Distribution.renew`.
        """
        core, trust = self._core, own_trust(self._core, token, documents)
        index = (await core.commit(publishing(core, actor, trust, items))).value
        await core.in_thread(lambda: core.distribution.renew(core.trust))
        return index

    async def metadata(self, role: str, version: int) -> bytes:
        """As `Distribution.get`."""
        return await self._core.in_thread(lambda: self._core.distribution.get(role, version))

    async def publish_metadata(self, actor: str, items: Items) -> None:
        """Take metadata for the bundle in force. A provider brings its own key set only.

        Raises:
            Refused: `NOT_PERMITTED`.
            CredproofError: as `Distribution.accept` and `Distribution.renew`.
        """
        core = self._core
        if core.trust.participants[actor].role == "provider" and set(items) != {
            provider_role(actor)
        }:
            raise Refused("NOT_PERMITTED", "a provider publishes its own key set, nothing else")

        def publish() -> None:
            core.distribution.require_begun()
            core.distribution.accept(items, core.trust)
            core.distribution.renew(core.trust)

        await core.in_thread(publish)


def publishing(core: Core, actor: str, trust: Trust, items: Items) -> PublishTrust:
    """The command that puts a bundle in force, and keeps the metadata that name it."""
    return PublishTrust(actor, trust, lambda: core.distribution.accept(items, trust))


def own_trust(core: Core, token: str, documents: Sequence[bytes]) -> Trust:
    """A trust bundle of the service's root that is this service's own.

    One root may sign for several services, and its operator may take the wrong file.

    Raises:
        Malformed, VerificationFailed: as `verify_trust`; `OTHER_SERVICE` for another domain or
            log, or when a key that the service works with is not in it.
    """
    trust = verify_trust(token, documents, root=core.distribution.roots[-1], at=core.clock())
    bundle, present = trust.bundle, core.trust.bundle
    same = [(item.domain, item.log_vkey, item.log_cosigner) for item in (bundle, present)]
    answer_keys = [key.public for key in bundle.answer_keys]
    if not (
        same[0] == same[1]
        and core.keys.answer.public in answer_keys
        and core.keys.sealing.public.data == bundle.sealing_keys[-1]
        and public_key(core.keys.oprf) == trust.oprf_key.shares[0].public
        and core.keys.directory.public == bundle.directory_key
    ):
        raise VerificationFailed(
            "OTHER_SERVICE", "the trust bundle is of another service, or lacks a key of this one"
        )
    return trust
