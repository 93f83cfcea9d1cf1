"""A real timestamp authority: `openssl ts` behind HTTP on loopback, certificates made here."""

from __future__ import annotations

import datetime as dt
import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from credproof.log.timestamp import TimestampAuthority, parse_certificates, stamped_text
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

POLICY = "1.2.3.4"
_FILLING = x509.ObjectIdentifier("1.2.3.4.5")
_CONFIG = """[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = {policy}
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""

if shutil.which("openssl") is None:
    pytest.skip("openssl is not installed", allow_module_level=True)


def openssl(*words: str | Path) -> str:
    """Run `openssl`; gives what it printed."""
    command = ["openssl", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Certificates:
    """A root, an issuer below it, and a signing certificate, in a folder."""

    def __init__(self, folder: Path, *, days: tuple[int, int] = (-1, 30)) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
        root = _certificate("Root", keys[0], "Root", keys[0], (-400, 400))
        issuer = _certificate("Issuer", keys[1], "Root", keys[0], (-400, 400))
        self.signing = signing = self._signing(days)
        self.file = folder / "trusted.pem"
        self.file.write_bytes(_pem(root) + _pem(issuer))
        (folder / "tsa.pem").write_bytes(_pem(signing))
        (folder / "tsa.key").write_bytes(
            keys[2].private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (folder / "serial").write_text("01\n")
        self.set_policy(POLICY)

    def _signing(self, days=(-1, 30), **how) -> x509.Certificate:
        _, issuer_key, key = self._keys
        return _certificate("Stamps", key, "Issuer", issuer_key, days, is_signing=True, **how)

    def twin(self) -> x509.Certificate:
        """The signing certificate once more, as long as it is, but for signing OCSP too."""
        how = {"serial": self.signing.serial_number, "more": [ExtendedKeyUsageOID.OCSP_SIGNING]}
        while True:
            found = self._signing(**how)
            if len(_der(found)) == len(_der(self.signing)):
                return found

    def set_policy(self, policy: str) -> None:
        config = _CONFIG.format(folder=self.folder, policy=policy)
        (self.folder / "tsa.cnf").write_text(config)

    def trusted(self, policy: str = "") -> TimestampAuthority:
        return TimestampAuthority("one", parse_certificates(self.file.read_bytes()), policy)

    def stamp(self, query: bytes) -> bytes:
        """The response to a query, by `openssl ts -reply`."""
        asked, given = self.folder / "query", self.folder / "response"
        asked.write_bytes(query)
        words = ("-config", self.folder / "tsa.cnf", "-queryfile", asked, "-out", given)
        openssl("ts", "-reply", *words)
        return given.read_bytes()

    def stamp_note(self, note: bytes, *options: str) -> bytes:
        """A timestamp of a note, asked for by `openssl ts -query`."""
        text, query = self.folder / "text", self.folder / "asked"
        text.write_bytes(stamped_text(note))
        openssl("ts", "-query", "-data", text, "-sha256", "-cert", *options, "-out", query)
        return self.stamp(query.read_bytes())


def _certificate(name, key, issuer, issuer_key, days, *, is_signing=False, serial=0, more=()):
    now = dt.datetime.now(dt.UTC)
    usage = (True, True) if is_signing else (False, False)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(not is_signing, None), critical=True)
        .add_extension(
            x509.KeyUsage(*usage, False, False, False, not is_signing, False, False, False), True
        )
    )
    if is_signing:
        purposes = [ExtendedKeyUsageOID.TIME_STAMPING, *more]
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
        filling = bytes(10 - 10 * len(more))  # so that one more purpose makes it no longer
        made = made.add_extension(x509.UnrecognizedExtension(_FILLING, filling), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def swapped(response: bytes, old: x509.Certificate, new: x509.Certificate) -> bytes:
    """A response with another certificate in the place of the one that signed it."""
    assert _der(old) in response
    return response.replace(_der(old), _der(new))


Answer = Callable[[bytes], tuple[int, bytes]]


class Served:
    """An authority over HTTP; `answer` takes a query, and may be replaced by a lie."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.answer: Answer = self.honestly
        self.queries: list[bytes] = []
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                query = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/timestamp-query"
                served.queries.append(query)
                status, body = served.answer(query)
                self.send_response(status)
                self.send_header("content-type", "application/timestamp-reply")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def honestly(self, query: bytes) -> tuple[int, bytes]:
        return 200, self.certificates.stamp(query)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/stamp?here"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
