"""Others' software that does something comparable, measured in the same run where it installs."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from credproof.attestation.package import parse_package
from credproof.attestation.sdjwt import verify_presentation
from credproof.attestation.statement import Opening, Statement
from credproof.log.merkle import Tree, leaf_hash, verify_inclusion

from benchmarks.measure import Skipped

NAMES = ("limit", "used", "utilisation", "overdue", *(f"claim-{i}" for i in range(8)))
PEER_LEAVES = 100_000


def peer(module: str) -> Any:
    """An installed package, or the reason why its rows are left out."""
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        raise Skipped(f"{module} cannot be imported here: {error}") from error


class AnonCreds:
    """A credential of twelve attributes, and one predicate proved and verified: limit >= 5000000.

    CL signatures, as the package makes them; no revocation. Keys are made here, once.
    """

    def __init__(self) -> None:
        self._lib = lib = peer("anoncreds")
        self._schema = lib.Schema.create("standing", "1", "did:example:bank", list(NAMES))
        self._public, self._private, proof = lib.CredentialDefinition.create(
            "schema:1", self._schema, "did:example:bank", "tag", "CL", support_revocation=False
        )
        self._secret = lib.create_link_secret()
        self._credential = self._issue(proof)
        self._request = lib.PresentationRequest.load(json.dumps(_request(lib.generate_nonce())))
        self._presentation = self.prove()
        assert self.verify(), "the peer's own proof verifies"

    def _issue(self, proof: Any) -> Any:
        lib = self._lib
        offer = lib.CredentialOffer.create("schema:1", "definition:1", proof)
        request, metadata = lib.CredentialRequest.create(
            "entropy", None, self._public, self._secret, "default", offer
        )
        values = dict.fromkeys(NAMES, "10000000")
        issued = lib.Credential.create(self._public, self._private, offer, request, values)
        return issued.process(metadata, self._secret, self._public)

    def prove(self) -> Any:
        """A presentation of one predicate."""
        present = self._lib.PresentCredentials()
        present.add_predicates(self._credential, "enough")
        return self._lib.Presentation.create(
            self._request, present, {}, self._secret, *self._documents()
        )

    def verify(self) -> bool:
        """Whether that presentation verifies."""
        return bool(self._presentation.verify(self._request, *self._documents()))

    def _documents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"schema:1": self._schema}, {"definition:1": self._public}


def _request(nonce: str) -> dict[str, Any]:
    predicate = {"name": "limit", "p_type": ">=", "p_value": 5_000_000}
    return {
        "nonce": nonce,
        "name": "standing",
        "version": "1",
        "requested_attributes": {},
        "requested_predicates": {"enough": predicate},
    }


class SdJwt:
    """Our reference token with disclosures of all that has a value, read by us and by `sd-jwt`."""

    def __init__(self, package: bytes, statement: Statement, key: Any) -> None:
        self._verifier = peer("sd_jwt.verifier").SDJWTVerifier
        parsed = parse_package(package)
        opening = Opening(statement, parsed.seed)
        names = [name for name, value in statement.values.items() if value is not None]
        disclosures = [opening.disclose(name).text for name in names]
        self._text = "~".join([parsed.token.jws.token, *disclosures, ""])
        self._key = key
        self._jwk = peer("jwcrypto.jwk").JWK(**key.jwk())
        self._now = statement.issued_at + 1

    def ours(self) -> None:
        verify_presentation(self._text, self._key, now=self._now)

    def theirs(self) -> None:
        found = self._verifier(self._text, lambda _issuer, _header: self._jwk)
        assert found.get_verified_payload()


class Pymerkle:
    """The same leaves in our tree and in `pymerkle`'s, both in memory."""

    def __init__(self, leaves: int) -> None:
        lib = peer("pymerkle")
        entries = [str(i).encode() for i in range(leaves)]
        self._ours, self._theirs = Tree(), lib.InmemoryTree.init_from_entries(entries)
        self._ours.extend([leaf_hash(entry) for entry in entries])
        self._size, self._index, self._lib = leaves, leaves // 3, lib
        self._proof = self._ours.inclusion_proof(self._index, leaves)
        self._root, self._leaf = self._ours.root(), leaf_hash(entries[self._index])
        self._their_proof = self.theirs()

    def ours(self) -> tuple[bytes, ...]:
        return self._ours.inclusion_proof(self._index, self._size)

    def theirs(self) -> Any:
        return self._theirs.prove_inclusion(self._index + 1, self._size)

    def verify_ours(self) -> None:
        verify_inclusion(self._leaf, self._index, self._size, self._proof, self._root)

    def verify_theirs(self) -> None:
        self._lib.verify_inclusion(self._leaf, self._root, self._their_proof)
