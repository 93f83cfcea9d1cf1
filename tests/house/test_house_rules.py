"""The house rules can fail: each finds what was made up for it."""

from __future__ import annotations

import pytest

from tools import house

# In two halves, so that this file keeps the rules that it tests.
WORDS = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
PATHS = ["/wo" + "rk/x", "/ro" + "ot/x", "/ho" + "me/x", "/fa" + "rm"]
LONG = "def f():\n" + "    pass\n" * house.FUNCTION_LINES_MAX


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("line", ["# {}: later", 'currency = "{}"', "'{}'", "{}"])
def test_a_word_of_unfinished_work_is_found_in_quotation_marks_too(word, line):
    assert house.wording("a.py", line.format(word)) == [f"a.py:1: {word}"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_one_machine_is_found(path):
    assert len(house.wording("a.md", f"see {path}")) == 1


@pytest.mark.parametrize("text", [LONG, "\n" * (house.FILE_LINES_MAX + 1)])
def test_a_function_or_file_that_is_too_long_is_found(text):
    assert len(house.problems("client/a.py", text)) == 1
    assert house.problems("client/credproof/v1/a.py", text) == []


def test_an_address_in_the_lock_is_found():
    assert len(house.problems(house.LOCK, "--index-url somewhere\nx==1\n")) == 1


def threats(*tests: str) -> list[str]:
    rows = [f"| forge it | operator | a signature | {test} |" for test in tests]
    return house.problems(house.THREATS, "\n".join([house.PROMISES, "|---|---|---|---|", *rows]))


HERE = "tests/house/test_house_rules.py"


def test_a_threat_whose_tests_exist_is_accepted():
    function = test_a_threat_whose_tests_exist_is_accepted.__name__
    assert threats(f"`{HERE}`", f"`{HERE}`, `{HERE}::{function}`") == []


@pytest.mark.parametrize(
    "named",
    [
        "",
        "none yet",
        "`tests/house/test_nothing.py`",
        "`tests/house/__init__.py`",
        "`tools/house.py`",
        "`tests/house`",
        f"`{HERE}`, `tests/house/test_nothing.py`",
        f"`{HERE}::`",
        f"`{HERE}::test_that_nobody_wrote`",
        f"`{HERE}::threats`",
    ],
)
def test_a_threat_without_a_test_that_exists_is_found(named):
    assert len(threats(f"`{HERE}`", named)) == 1


def test_a_document_of_threats_without_its_table_is_found():
    assert len(house.problems(house.THREATS, "# Threats")) == 1


def test_the_repository_keeps_the_rules():
    names = house.files()
    assert "tools/house.py" in names
    assert house.main() == 0
