"""A real page in a process of its own, before a real service."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credproof.base.encoding import b64url, parse_b64url
from credproof.verification.bundle import RelyingParty
from credproof.verification.document import Kind
from credproof.verification.passkey import parse_assertion
from credproof_server import standing
from credproof_server.demo.authenticator import SoftwareAuthenticator
from credproof_server.demo.world import PROVIDER, World
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

RP_ID = "localhost"
PUBLIC = ("participant.json", "ca.crt", "trust.json")
START_S = 30.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return self.value["reason"]


@dataclass(frozen=True)
class ServedPage:
    """The page at `origin`; `log` is what it has written on stderr."""

    origin: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    def send(self, method: str, path: str, body: bytes = b"", **headers: str | None) -> Reply:
        """One HTTP call; a header that is None is left out."""
        said = {"Host": self.origin.partition("://")[2], "Content-Length": str(len(body))}
        if method == "POST":
            said |= {"Origin": self.origin, "Content-Type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in said.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        reply = Reply(response.status, found, response.read())
        connection.close()
        return reply

    def post(self, name: str, **value: Any) -> Reply:
        return self.send("POST", f"/api/{name}", json.dumps(value).encode())

    def signed(self, phone: SoftwareAuthenticator, kind: Kind, draft: Reply) -> dict[str, Any]:
        """What the browser sends once a passkey has signed a draft."""
        assert draft.status == 200, draft.body
        payload = parse_b64url(draft.value["document"])
        made = phone.assert_challenge(kind, payload, parse_b64url(draft.value["challenge"]))
        found = parse_assertion(made, kind.passkey_type)
        halves = (found.signature[:32], found.signature[32:])
        der = encode_dss_signature(*(int.from_bytes(half, "big") for half in halves))
        assertion = {
            "authenticator_data": b64url(found.authenticator_data),
            "client_data": b64url(found.client_data),
            "signature": b64url(der),
        }
        document = draft.value["document"]
        return {"document": document, "key": phone.public.jwk(), "assertion": assertion}


@contextmanager
def served_page(world: World) -> Iterator[ServedPage]:
    """The page runs as `credproof consent-page` runs it, on the public files of a home alone."""
    port = _free_port()
    origin = f"http://localhost:{port}"
    standing.set_page(world.service, RelyingParty(RP_ID, (origin,)))
    home = world.folder / f"page-{port}"
    home.mkdir()
    for name in PUBLIC:
        shutil.copy(world.home(PROVIDER) / name, home)
    command = [sys.executable, "-m", "credproof.cli.app", "consent-page", "--home", str(home)]
    log = home / "page.log"
    with log.open("wb") as stderr:
        command += ["--listen", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            assert origin.encode() in process.stdout.readline(), log.read_text()
            _await(port)
            yield ServedPage(origin, log)
        finally:
            process.terminate()
            code = process.wait(START_S)
    assert code == 0, log.read_text()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _await(port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the page does not listen")
