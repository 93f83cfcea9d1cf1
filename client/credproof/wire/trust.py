"""Trust packages: the bundle with the documents it pins."""

from __future__ import annotations

from dataclasses import dataclass

from credproof.base.encoding import b64url, canonical_json, parse_b64url, parse_json
from credproof.base.members import Members
from credproof.v1 import registry_service_pb2 as pb
from credproof.verification.trust import Roots, Trust, verify_trust


@dataclass(frozen=True, slots=True)
class TrustPackage:
    """A trust bundle as it travels; nothing in it is verified."""

    token: str
    documents: tuple[bytes, ...]

    def verify(self, root: Roots, *, at: int, version_min: int = 0) -> Trust:
        """As `verify_trust`."""
        return verify_trust(self.token, self.documents, root=root, at=at, version_min=version_min)

    def to_bytes(self) -> bytes:
        """The content of a `trust.json` file."""
        documents = [b64url(document) for document in self.documents]
        return canonical_json({"bundle": self.token, "documents": documents})

    def to_proto(self) -> pb.TrustPackage:
        return pb.TrustPackage(bundle=self.token, documents=self.documents)


def package_of(trust: Trust) -> TrustPackage:
    """The package that a verified trust came in."""
    return TrustPackage(trust.token, trust.documents)


def parse(data: bytes) -> TrustPackage:
    """The package in a `trust.json` file.

    Raises:
        Malformed: `BAD_MEMBER`, or as `parse_json`.
    """
    members = Members(parse_json(data), "trust package")
    token, documents = members.take("bundle", str), members.strings("documents")
    members.finish()
    return TrustPackage(token, tuple(parse_b64url(text) for text in documents))


def from_proto(message: pb.TrustPackage) -> TrustPackage:
    return TrustPackage(message.bundle, tuple(message.documents))
