"""The service's certificate authority: server and participants' certificates, SPIFFE ids."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from credproof.verification.participant import custodian_host
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 825
PARTICIPANT_DAYS: Final = 397
"""Validity of certificates, in days."""


def new_key() -> bytes:
    """A new P-256 private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@dataclass(frozen=True)
class Authority:
    """Key and certificate of the authority, as PEM."""

    key: bytes
    certificate: bytes

    @classmethod
    def create(cls, domain: str, now: int) -> Authority:
        """A new authority of a trust domain."""
        pem = new_key()
        key = _load(pem)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{domain} authority")])
        builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_usage(certify=True), critical=True)
        return cls(pem, _pem(builder.sign(key, hashes.SHA256())))

    def server(self, key: bytes, names: Sequence[str], now: int) -> bytes:
        """The server's certificate for these host names and addresses."""
        alternatives = [_host(name) for name in names]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        return self._leaf(_load(key).public_key(), "server", alternatives, usages, now, SERVER_DAYS)

    def participant(
        self,
        key: ec.EllipticCurvePublicKey,
        *,
        domain: str,
        role: str,
        name: str,
        kid: str,
        now: int,
    ) -> bytes:
        """A participant's certificate: its SPIFFE id, and no other name.

        Its common name is the fingerprint of the signing key with which it ends.

        A custodian is connected to as well: it has a host name that only custodians get.
        """
        uri = f"spiffe://{domain}/{role}/{name}"
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if role == "custodian":
            alternatives.append(x509.DNSName(custodian_host(name, domain)))
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        return self._leaf(key, kid, alternatives, usages, now, PARTICIPANT_DAYS)

    def _leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        alternatives: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        now: int,
        days: int,
    ) -> bytes:
        issuer = x509.load_pem_x509_certificate(self.certificate).subject
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, issuer, key, now, days)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(certify=False), critical=True)
        return _pem(builder.sign(_load(self.key), hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: int, days: int
) -> x509.CertificateBuilder:
    start = dt.datetime.fromtimestamp(now, dt.UTC) - dt.timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certify,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "we make no other keys"
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
