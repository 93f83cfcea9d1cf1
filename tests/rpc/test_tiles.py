"""The log over HTTP as static files: hashes for everybody, entries for auditors."""

from __future__ import annotations

import http.client
import json
import time

import pytest
from credproof.auditor import audit_token
from credproof.base.errors import Refused
from credproof.base.limits import AUDIT_TOKEN_LIFE_MAX_S, CLOCK_SKEW_S
from credproof.home import Home
from credproof.log.tiles import tiles
from credproof.verification.audit_token import sign_audit_token
from credproof_server.config import FILE_NAME
from credproof_server.demo.world import AUDITOR, DOMAIN, LENDER, World


class Served:
    """A world whose log is read over HTTP."""

    def __init__(self, world: World) -> None:
        self.world = world
        running = json.loads((world.service / "running.json").read_text())
        self.address = running["tiles"]

    def get(self, path: str, token: str | None = None, method: str = "GET"):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        found = reply.status, dict(reply.getheaders()), reply.read()
        connection.close()
        return found

    def home(self, name: str) -> Home:
        return Home(self.world.home(name))

    def token(self, name: str = AUDITOR, **changes) -> str:
        given = {"auditor": name, "domain": DOMAIN, "now": int(time.time()), "life_s": 3600}
        return sign_audit_token(self.home(name).signer, **{**given, **changes})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("tiles"))
    world.make()
    settings = world.service / FILE_NAME
    settings.write_text(
        settings.read_text().replace('tiles_listen = ""', 'tiles_listen = "127.0.0.1:0"')
    )
    with world.served():
        world.populate()
        yield Served(world)


def test_the_files_are_those_of_the_copy_byte_for_byte(served, tmp_path):
    with served.world.auditor() as auditor:
        mirror = auditor.export(tmp_path)
    status, headers, note = served.get("/checkpoint")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert note == (tmp_path / "checkpoint").read_bytes()
    for tile in tiles(mirror.size):
        token = audit_token(served.home(AUDITOR), hours=1) if tile.level is None else None
        status, headers, data = served.get(f"/{tile.path}", token)
        assert (status, headers["content-type"]) == (200, "application/octet-stream")
        assert data == (tmp_path / tile.path).read_bytes()
        assert ("immutable" in headers["cache-control"]) is (tile.level is not None)
        assert ("no-store" in headers["cache-control"]) is (tile.level is None)


def test_a_token_that_no_service_takes_is_not_made(served):
    with pytest.raises(Refused) as caught:
        audit_token(served.home(LENDER), hours=1)
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_narrower_tile_of_an_earlier_size_is_still_given(served):
    _, _, whole = served.get("/tile/0/000.p/3")
    assert len(whole) == 96
    assert served.get("/tile/0/000.p/2")[2] == whole[:64]


@pytest.mark.parametrize("path", ["/", "/entries", "/tile", "/checkpoint/", "/%2e%2e", "//"])
def test_a_path_that_leads_nowhere_is_told_by_a_reason(served, path):
    status, headers, told = served.get(path, served.token())
    assert (status, told) == (404, b"NO_SUCH_PATH\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/000",
        "/tile/0/001",
        "/tile/1/000.p/1",
        "/tile/0/0",
        "/tile/0/000.p/0",
        "/tile/0/000.p/255",
        "/tile/entries/001",
        "/tile/../checkpoint",
    ],
)
def test_what_the_log_does_not_have_is_not_found(served, path):
    status, headers, told = served.get(path, served.token())
    assert (status, told) == (404, b"NO_SUCH_TILE\n")
    assert headers["cache-control"] == "no-store", "it may be there soon"


@pytest.mark.parametrize(
    "spelled", ["/tile/0/%30%30%30.p/2", "/tile/0/000.p/2?x=1", "/checkpoint?x"]
)
def test_a_file_has_one_path_so_that_nobody_fills_a_cache_with_it(served, spelled):
    assert served.get("/tile/0/000.p/2")[0] == 200
    assert served.get(spelled)[0] == 404


def test_entries_are_for_auditors_who_show_a_token_of_their_own(served):
    path = "/tile/entries/000.p/3"
    assert served.get(path, served.token())[0] == 200
    now = int(time.time())
    bad = {
        "none": None,
        "empty": "",
        "garbage": "x.y.z",
        "a lender's": served.token(LENDER),
        "a lender's in the auditor's name": served.token(LENDER, auditor=AUDITOR),
        "of another service": served.token(domain="other.example"),
        "over": served.token(now=now - 7200),
        "from the future": served.token(now=now + CLOCK_SKEW_S + 60),
        "for too long": served.token(life_s=AUDIT_TOKEN_LIFE_MAX_S + 1),
        "for no time": served.token(life_s=0),
        "cut": served.token()[:-2],
    }
    for name, token in bad.items():
        status, headers, told = served.get(path, token)
        assert (name, status, told) == (name, 401, b"NOT_AUTHENTICATED\n")
        assert headers["www-authenticate"] == "Bearer"


def test_nothing_can_be_written_and_the_log_tells_no_path(served):
    for method in ("POST", "PUT", "DELETE"):
        status, headers, told = served.get("/checkpoint", method=method)
        assert (status, told) == (405, b"METHOD_NOT_ALLOWED\n")
        assert set(headers["allow"].split(", ")) == {"GET", "HEAD"}
    served.get("/secret-path")
    served.get("/tile/0/000.p/1", "secret-token")
    logged = (served.world.folder / "service.log").read_text()
    assert '{"status": 200, "reason": null}' in logged
    assert '{"status": 404, "reason": "NO_SUCH_PATH"}' in logged
    assert "tile" not in logged
    assert "secret-path" not in logged
    assert "secret-token" not in logged
