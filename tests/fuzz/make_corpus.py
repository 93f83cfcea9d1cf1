"""Write the seeds of all fuzz targets: honest objects, the same in every run.

python -m tests.fuzz.make_corpus
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import resources

from credproof import standard
from credproof.attestation.oprf_key import prove_share
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, frame, tagged_hash
from credproof.base.group import scalar_from
from credproof.base.keys import P256Signer
from credproof.base.oprf import public_key
from credproof.borrower import Pass
from credproof.log.audit import AuditState
from credproof.log.checkpoint import Checkpoint
from credproof.log.entry import ChainPosition
from credproof.log.note import sign_note
from credproof.log.proof import TlogProof, format_proof
from credproof.verification.consent import sign_revocation
from credproof.verification.document import PAUSE
from credproof.verification.link import link_to
from credproof.verification.pausing import sign_pause
from credproof.verification.trust import sign_trust
from credproof.verification.unsealing import sign_unseal_decision, sign_unseal_request
from credproof.wire import answer as answer_wire
from credproof.wire import trust as trust_wire
from credproof.wire.call import sign_call
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fuzz.targets import CORPUS
from tests.world import DOMAIN, KEY_BINDING, NOW, World, seed_of

Seed = tuple[str, str, bytes]
"""Target, name, content."""


def tokens(world: World) -> Iterator[Seed]:
    consent = world.consent()
    call = {"service": DOMAIN, "method": "/a/b", "body": b"", "now": NOW, "nonce": bytes(16)}
    possession = {"aud": "bank", "iat": NOW}
    by = {"auditor": "office", "domain": DOMAIN, "now": NOW}
    unseal = {"log_index": 1, "entry": bytes(32), "detail": "answer", "reason": bytes(32)}
    withdrawal = {"issuer": "bank", "service": DOMAIN, "token": bytes(32), "reason": "error"}
    phone = P256Signer(ec.derive_private_key(7, ec.SECP256R1()))
    made = {
        "call": sign_call(world.borrower, **call),
        "consent": consent,
        "jws": consent,
        "possession": jws.sign(world.borrower, jws.POSSESSION, possession, carry_key=True),
        "pause": sign_pause(world.borrower, PAUSE, bytes(32), jti=bytes(16), now=NOW),
        "request": world.request(),
        "revocation": sign_revocation(world.borrower, bytes(32), now=NOW),
        "unseal": sign_unseal_request(world.bank, **by, life_s=60, **unseal),
        "unseal-decision": sign_unseal_decision(world.bank, **by, request=bytes(32), approves=True),
        "withdrawal": sign_withdrawal(world.bank, now=NOW, **withdrawal),
    }
    yield from ((name, "ed25519", token.encode()) for name, token in made.items())
    yield "request", "return-to", world.request(return_to="https://shop.example/a?b=1").encode()
    yield "link", "request", link_to("https://page.example:8443/a?b", world.request()).encode()
    # The header of a phone's consent; its signature is left out, for it is not the same twice.
    p256 = jws.canonical_json({"alg": "ES256", "jwk": phone.public.jwk(), "kid": phone.public.kid})
    yield "json", "p256-header", p256


def attestations(world: World) -> Iterator[Seed]:
    for name, statement in (
        ("good", world.statement()),
        ("unknown", world.statement({})),
        ("binding", world.binding().statement),
    ):
        holding = world.hold(statement)
        yield "sd-jwt", name, holding.token.encode()
        yield "package", name, world.package(statement)
        shown = "jwk" if statement.schema is KEY_BINDING else "account"
        disclosure = holding.opening.disclose(shown).text
        yield "disclosure", name, disclosure.encode()
        yield "presentation", name, f"{holding.token}~{disclosure}~".encode()


def log(world: World) -> Iterator[Seed]:
    checkpoint = world.log.checkpoint()
    logged = world.log.logged(1)
    yield "entry", "attestation", logged.line
    yield "note", "checkpoint", checkpoint
    yield "note", "two-signers", sign_note("text\n", [world.log.signer, world.log.signer])
    yield "checkpoint", "log", Checkpoint(f"{DOMAIN}/log", 7, bytes(32)).to_text().encode()
    proof = TlogProof(1, logged.hashes, checkpoint)
    yield "tlog-proof", "entry", format_proof(proof)
    yield "tlog-proof", "extra", format_proof(TlogProof(1, logged.hashes, checkpoint, b"more"))
    yield "vkey", "log", str(world.log.signer.verifier_key).encode()
    state = AuditState(ChainPosition(1, bytes(32), NOW), world.log.tree.frontier(1))
    yield "audit-state", "one", state.to_bytes()


def answers(world: World) -> Iterator[Seed]:
    bundle = world.finish(world.case())
    yield "answer", "tier-a", bundle.answer.encode()
    yield "answer-bundle", "tier-a", answer_wire.to_bytes(bundle)


def trust(world: World) -> Iterator[Seed]:
    package = trust_wire.package_of(world.trust())
    empty = sign_trust(world.root, world.bundle(schemas=(), policies=(), texts=()))
    yield "trust-package", "world", package.to_bytes()
    yield "trust-verified", "world", package.to_bytes()
    yield "trust-bundle", "without-documents", empty.encode()


def documents() -> Iterator[Seed]:
    folder = resources.files("credproof") / "data"
    for schema in standard.schemas().values():
        yield "schema", f"{schema.name}.json", schema.document
        yield "schema", f"{schema.name}.yaml", standard.read(f"schemas/{schema.name}.yaml")
    policy = standard.policies()[0]
    yield "policy", "json", policy.document
    text = standard.texts()[0]
    yield "text", "json", text.document
    yield "text", "yaml", standard.read(f"texts/{text.language}.yaml")
    yield "policy", "yaml", standard.read(f"policies/{policy.id}.yaml")
    yield "mapping", "uci", (folder / "uci.mapping.yaml").read_bytes()
    yield "yaml", "policy", standard.read(f"policies/{policy.id}.yaml")
    yield "yaml", "small", b"a: [1, two, true, null]\nb: {c: 'x'}\n"


def small(world: World) -> Iterator[Seed]:
    yield "subject-id", "ref", b"ref:somebody"
    yield "subject-id", "cn-id", b"cn-id:11010519491231002X"
    yield "subject-id", "uscc", b"uscc:91350100M000100Y43"
    yield "frame", "three", frame((b"a", b"", b"ccc"))
    for name in ("json", "loose-json"):
        yield name, "all", '{"a":[1,-2,true,null,"文"],"b":{"c":9007199254740991}}'.encode()
    found = Pass(bytes(32), "bank", DOMAIN, "127.0.0.1:1", b"PEM", world.root.public)
    yield "pass", "bank", found.to_bytes()


def enrolment(world: World) -> Iterator[Seed]:
    """As `credproof enrol` makes it, with a key and a signature that are the same every time."""
    key = ec.derive_private_key(int.from_bytes(seed_of("tls", 31), "big"), ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bank")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    csr = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    digest = b64url(tagged_hash("csr", pem.encode()))
    claims = {"csr": digest, "iat": NOW, "id": "bank", "role": "provider", "title": "Bank"}
    custodian = {**claims, "id": "notary", "role": "custodian", "share": own_share(pem)}
    for claimed in (claims, custodian):
        proof = jws.sign(world.bank, jws.ENROLMENT, claimed, carry_key=True)
        yield "enrolment", claimed["id"], canonical_json({"csr": pem, "proof": proof})


def own_share(csr_pem: str) -> dict[str, str]:
    """What a custodian says of its share, by a nonce that is the same every time."""
    secret = scalar_from(seed_of("notary", 64))
    bound_to = tagged_hash("csr", csr_pem.encode()) + b"notary"
    proof = prove_share(secret, bound_to, seed_of("nonce", 64))
    return {
        "address": "notary.example:7445",
        "element": b64url(proof.elements[0]),
        "proof": b64url(proof.proof),
        "public": b64url(public_key(secret)),
    }


def shared() -> Iterator[Seed]:
    """What differs where a custodian holds a share of the OPRF key."""
    world = World("notary")
    bundle = world.finish(world.case())
    yield "answer-bundle", "two-shares", answer_wire.to_bytes(bundle)
    yield "trust-verified", "two-shares", trust_wire.package_of(world.trust()).to_bytes()


def every_seed() -> Iterator[Seed]:
    world = World()
    for make in (tokens, attestations, log, answers, trust, small, enrolment):
        yield from make(world)
    yield from documents()
    yield from shared()


def main() -> None:
    """Write all seeds anew."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    for target, name, data in every_seed():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
