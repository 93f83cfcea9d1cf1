"""Files that nobody of ours wrote: each is told by its reason, none ends in a traceback."""

from __future__ import annotations

import pytest
from credproof import enrolment as enrolments
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, tagged_hash
from credproof.base.errors import CredproofError
from credproof_server.config import FILE_NAME
from credproof_server.directory import ServiceDirectory
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from tests.world import NOW, signer_of

KEYS = {
    "RSA": lambda: (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
    "Ed25519": lambda: (ed25519.Ed25519PrivateKey.generate(), None),
    "P-384": lambda: (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
}


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert reason == caught.value.reason


def enrolment(key, digest) -> bytes:
    """An enrolment that nothing is wrong with but the kind of its TLS key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "new")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    claims = {"csr": b64url(tagged_hash("csr", pem.encode())), "iat": NOW, "id": "new"}
    claims |= {"role": "lender", "title": "New"}
    proof = jws.sign(signer_of("new"), jws.ENROLMENT, claims, carry_key=True)
    return canonical_json({"csr": pem, "proof": proof})


@pytest.mark.parametrize("kind", KEYS)
def test_an_enrolment_with_a_tls_key_of_another_kind_is_refused_before_anything_is_done(kind):
    data = enrolment(*KEYS[kind]())
    refused("BAD_ENROLMENT", lambda: enrolments.verify_enrolment(data, now=NOW))


@pytest.mark.parametrize("pins", ["[]", '{"bank":5}', '{"bank":[5]}', "5"])
def test_pins_that_are_no_lists_of_fingerprints_are_refused(deployment, pins):
    home = deployment.home("lend")
    (home.folder / "pins.json").write_text(pins)
    refused("BAD_MEMBER", home.pins)


@pytest.mark.parametrize(
    "change",
    [
        ("127.0.0.1:0", "127.0.0.1:99999"),
        ("127.0.0.1:0", "nonsense"),
        ('main_url = ""', 'main_url = "nonsense"'),
        ('main_url = ""', 'main_url = "postgresql://x"'),
    ],
)
def test_settings_that_cannot_work_are_refused_when_they_are_read(deployment, change):
    path = deployment.service / FILE_NAME
    path.write_text(path.read_text().replace(*change, 1))
    refused("BAD_CONFIG", lambda: ServiceDirectory(deployment.service))


def test_binary_in_the_place_of_text_is_told(deployment):
    (deployment.service / "offline-root" / "root.key").write_bytes(b"\xff\xfe")
    refused("NO_ROOT_KEY", deployment.directory.root_signer)
    (deployment.service / "kek").write_bytes(b"\xff\xfe")
    refused("NO_KEK", lambda: ServiceDirectory(deployment.service))
    (deployment.service / FILE_NAME).write_bytes(b"\xff\xfe")
    refused("BAD_CONFIG", lambda: ServiceDirectory(deployment.service))
