"""What the page is made of: texts in both languages, a bounded body, options that keep it safe."""

from __future__ import annotations

import asyncio
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import typer
from credproof import web
from credproof.base.errors import Conflict, Unreachable
from credproof.page.app import refusal
from credproof.page.cli import consent_page
from credproof.web import bind
from credproof.witnessing import NobodyNamed
from starlette.requests import Request

from tests.cli.command import run
from tests.rpc.conftest import PROVIDER

STATIC = files("credproof.page") / "static"
TEXTS = json.loads((STATIC / "texts.json").read_text("utf-8"))
SCRIPTS = "".join(p.read_text("utf-8") for p in STATIC.iterdir() if p.name.endswith(".js"))


def test_both_languages_say_the_same_things():
    for part in ("page", "reasons"):
        assert TEXTS["en"][part].keys() == TEXTS["zh"][part].keys()
    for name, text in TEXTS["en"]["page"].items():
        assert set(re.findall(r"\$\w+", text)) == set(
            re.findall(r"\$\w+", TEXTS["zh"]["page"][name])
        )


def test_every_text_is_used_and_every_text_that_is_used_is_there():
    used = set(re.findall(r'data-text="(\w+)"', (STATIC / "index.html").read_text("utf-8")))
    used |= set(re.findall(r'\bsay\("(\w+)"', SCRIPTS))
    assert used == set(TEXTS["en"]["page"])


def test_what_the_browser_finds_wrong_has_a_text():
    assert set(re.findall(r'Problem\("(\w+)"\)', SCRIPTS)) <= TEXTS["en"]["reasons"].keys()


def test_scripts_never_make_markup_out_of_text():
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in SCRIPTS


def test_an_error_of_a_kind_of_its_own_is_told_as_what_it_is_one_of():
    """It ended in a fault of the page."""
    response = refusal(NobodyNamed())
    assert response.status_code == 422


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch):
    async def silent() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(web, "BODY_S", 0.05)
    with pytest.raises(Unreachable) as caught:
        asyncio.run(web.body_of(Request({"type": "http"}, silent), 100))
    assert caught.value.reason == "TOO_SLOW"


@pytest.mark.parametrize(
    "options",
    [
        {"listen": "0.0.0.0:0"},
        {"listen": "consent.example:0"},
        {"listen": "7480"},
        {"listen": "127.0.0.1:70000"},
        {"tls_cert": Path("chain.pem")},
        {"tls_cert": Path("no.pem"), "tls_key": Path("no.pem")},
        {"origin": "https://consent.example/page"},
        {"origin": "http://consent.example"},
    ],
    ids=str,
)
def test_a_page_that_would_not_be_safe_does_not_start(running, options):
    settings = {"listen": "127.0.0.1:0", "origin": "", "rp_id": "", "tls_cert": None}
    home = running.home(PROVIDER).folder
    with pytest.raises(typer.BadParameter):
        consent_page(home, **{**settings, "tls_key": None, **options})


def test_a_page_that_the_operator_has_not_named_does_not_start(running):
    home = running.home(PROVIDER).folder
    told = run("consent-page", "--home", home, "--listen", "127.0.0.1:0", code=1)
    assert "UNKNOWN_RELYING_PARTY" in told
    assert "credproof passkeys" in told


def test_an_address_that_is_taken_is_told(page):
    with pytest.raises(Conflict) as caught:
        bind("127.0.0.1", page.port)
    assert caught.value.reason == "NO_ADDRESS"
