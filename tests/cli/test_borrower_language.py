"""What a borrower reads is Chinese, or English where that is asked for: the same way everywhere."""

from __future__ import annotations

import re

import pytest
from credproof.cli.held import WORDS as HELD
from credproof.cli.parts import load
from credproof.cli.telling import WORDS

from tests.cli.command import run

COMMANDS = load("borrower")["borrower"].commands
HAN = re.compile("[\\u4e00-\\u9fff]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_language(name):
    (option,) = (p for p in COMMANDS[name].params if "--language" in p.opts)
    assert (option.default, option.envvar, option.opts[1]) == ("zh", "CREDPROOF_LANGUAGE", "-l")


@pytest.mark.parametrize("words", [WORDS, HELD])
def test_both_languages_say_the_same(words):
    names = re.compile(r"\{(\w+)\}")
    slots = [{k: sorted(names.findall(v)) for k, v in words[lang].items()} for lang in ("zh", "en")]
    assert slots[0] == slots[1]
    assert not any(HAN.search(text) for text in words["en"].values())
    spoken = [text for text in words["zh"].values() if re.sub(r"\{\w+\}|\W", "", text)]
    assert all(HAN.search(text) for text in spoken)


def test_an_unknown_language_is_refused_before_anything_is_done(tmp_path):
    told = run("borrower", "create", tmp_path / "me", "--language", "fr", code=2)
    assert "BAD_LANGUAGE" in told
    assert not (tmp_path / "me").exists()


def test_the_environment_chooses_too(tmp_path, monkeypatch):
    assert run("borrower", "create", tmp_path / "one").startswith("您的密钥：")
    monkeypatch.setenv("CREDPROOF_LANGUAGE", "en")
    assert run("borrower", "create", tmp_path / "two").startswith("Your key:")
    assert run("borrower", "create", tmp_path / "three", "-l", "zh").startswith("您的密钥：")
