"""A request as a file, a link and a QR code; and the consent, fetched by the lender."""

from __future__ import annotations

import json
import struct

import pytest
import typer
from credproof.base.errors import LimitExceeded
from credproof.borrower import Borrower
from credproof.cli.app import app
from credproof.cli.requesting import _draw, _require_drawable
from credproof.verification.consent import parse_request
from credproof.verification.link import request_of
from typer.testing import CliRunner

from tests.cli.command import run
from tests.rpc.conftest import LENDER
from tests.world import World

WORLD = World()
USAGE = "WRONG_USAGE"
POLICY = "revolving-standing"
PAGE = "https://consent.example"


@pytest.fixture
def person(running):
    """A borrower's id and home."""
    subject_id, _ = running.person()
    return subject_id, running.world.home(f"person-{running.count}")


def asked(running, person, file, *more: object, code: int = 0) -> str:
    start = ("lender", "request", "--subject", person[0], "--policy", POLICY, "-o", file)
    return run(*start, *more, home=running.home(LENDER).folder, code=code)


def test_who_does_not_agree_is_told_that_nothing_was_signed(running, person, tmp_path):
    file, output = tmp_path / "a.request", tmp_path / "a.consent"
    asked(running, person, file)
    command = ["borrower", "consent", str(file), "-o", str(output), "--home", str(person[1])]
    done = CliRunner().invoke(app, command, input="n\n")
    assert done.exit_code == 1
    assert "nothing was signed" in done.output
    assert "NOT_AGREED" in done.output
    assert not output.exists()


def test_only_keys_of_providers_are_pinned(running):
    lend = running.home(LENDER)
    for nobody in ("nobody", LENDER):
        told = run("lender", "pin", nobody, "0" * 32, home=lend.folder, code=2)
        assert "NO_SUCH_PARTICIPANT" in told
    assert "nobody" not in lend.pins()


def test_a_request_travels_as_a_link_and_its_consent_comes_back_by_waiting(
    running, person, tmp_path
):
    lend, file, consent = running.home(LENDER).folder, tmp_path / "a.request", tmp_path / "consent"
    told = asked(running, person, file, "--link", PAGE, "--return-to", "https://shop.example/7")
    (link,) = (line.split()[1] for line in told.splitlines() if line.startswith("Link:"))
    assert request_of(link) == file.read_text()
    assert parse_request(file.read_text()).return_to == "https://shop.example/7"

    waiting = ("lender", "wait", file, "-o", consent)
    assert "NO_CONSENT_YET" in run(*waiting, "--timeout", "0", home=lend, code=3)
    assert not consent.exists()
    run("borrower", "consent", link, "--yes", "-o", tmp_path / "mine", home=person[1])
    assert json.loads(run(*waiting, "--json", home=lend)) == {"consent": str(consent)}
    assert consent.read_text() == (tmp_path / "mine").read_text()


def test_a_second_consent_to_a_request_says_what_to_do(running, person, lender, tmp_path):
    file = tmp_path / "a.request"
    file.write_text(lender.request(lender.subject(person[0]), policy_id=POLICY))
    borrower = Borrower.open(person[1])
    borrower.consent(borrower.check(file.read_text()), language="en")
    told = run("borrower", "consent", file, "--yes", "-o", tmp_path / "b", home=person[1], code=2)
    assert "REQUEST_USED" in told
    assert "next:" in told


def test_a_qr_code_is_a_picture_of_the_link(tmp_path, capsys):
    link = f"{PAGE}#request={WORLD.request()}"
    for name in ("a.svg", "a.png"):
        _draw(link, str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    png = (tmp_path / "a.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert width == height
    capsys.readouterr()
    _draw(link, "-")
    assert len(capsys.readouterr().out.splitlines()) > 40


@pytest.mark.parametrize(("qr", "link"), [("a.svg", ""), ("a.jpeg", PAGE), ("-", "")])
def test_what_cannot_be_drawn_is_refused_before_anything_is_done(qr, link):
    with pytest.raises(typer.BadParameter):
        _require_drawable(qr, link)


def test_a_machine_gets_the_link_and_no_drawing(running, person, tmp_path):
    file, options = tmp_path / "r", ("--link", PAGE, "--json", "--qr")
    told = json.loads(asked(running, person, file, *options, tmp_path / "a.svg"))
    assert (told["request"], told["qr"]) == (str(file), str(tmp_path / "a.svg"))
    assert request_of(told["link"]) == file.read_text()
    assert json.loads(asked(running, person, file, *options, "-", code=2))["reason"] == USAGE


def test_a_link_to_a_page_that_could_hide_where_it_is_is_refused(running, person, tmp_path):
    told = asked(running, person, tmp_path / "r", "--link", "http://consent.example", code=2)
    assert "BAD_URL" in told
    assert not (tmp_path / "r").exists()


def test_a_link_that_is_too_long_for_a_qr_code_says_so():
    with pytest.raises(LimitExceeded) as caught:
        _draw("https://consent.example#request=" + "x" * 3000, "-")
    assert caught.value.reason == "LINK_TOO_LONG"


def test_a_link_that_was_cut_says_what_to_do(person):
    told = run("borrower", "show", PAGE, home=person[1], code=2)
    assert "NOT_A_LINK" in told
    assert "next:" in told
