"""The page about an answer: complete in itself, true when it fails, safe when it is hostile."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from credproof.auditing.package import page
from credproof.verification.verify import CHECKS

from tests.world import NOW, World, signer_of


@pytest.fixture
def world() -> World:
    return World()


def made(world: World, bundle, history=()) -> str:
    return page(bundle, world.trust(), history, now=NOW + 5 * 365 * 86_400).decode()


def results(text: str) -> dict[str, str]:
    return dict(re.findall(r"<th>\d\. ([a-z ]+)</th><td>([A-Za-z ]+)</td>", text))


def test_a_good_answer_is_shown_with_each_check_its_entries_and_their_proofs(world):
    bundle = world.finish(world.case())
    text = made(world, bundle)
    told = results(text)
    assert list(told) == list(CHECKS)
    assert set(list(told.values())[:-1]) == {"passed"}
    assert told["directory"] == "not shown"
    assert text.count("c2sp.org/tlog-proof@v1") == 1 + len(bundle.tokens) + len(bundle.bindings)
    assert bundle.answer in text
    assert "TIER A" in text


def test_an_answer_that_fails_is_shown_with_the_check_that_failed(world):
    bundle = world.finish(world.case(), signer=signer_of("somebody"))
    told = results(made(world, bundle))
    assert (told["trust bundle"], told["answer"], told["log"]) == (
        "passed",
        "FAILED",
        "not reached",
    )
    assert "NOT verified" in made(world, bundle)


def test_nothing_hostile_and_nothing_from_elsewhere_is_in_the_page(world):
    bundle = world.finish(world.case())
    script = "<script src=https://evil.example/x.js>alert(1)</script>"
    text = made(world, replace(bundle, consent=script))
    assert "<script" not in text
    assert "&lt;script" in text
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?http", made(world, bundle))


def test_keys_are_shown_since_the_version_that_listed_them_first(world):
    first, later = world.trust(version=1), world.trust(version=2)
    text = made(world, world.finish(world.case()), [first, later])
    assert f"{world.bank.public.kid}, since version 1" in text
    assert "Versions 1 to 2" in text
