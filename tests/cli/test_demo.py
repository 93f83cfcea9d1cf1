"""The demo does what it says, on the shipped data."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from decimal import Decimal

from credproof import standard

from tests.cli.test_commands import run

CLIENTS, QUESTIONS = 60, 40


def expected() -> Counter[str]:
    """The tiers of the first clients by plain arithmetic on the file."""
    rows = csv.DictReader(
        gzip.decompress(standard.read("uci-first-2000.csv.gz")).decode().splitlines()
    )
    counts: Counter[str] = Counter()
    for _, row in zip(range(QUESTIONS), rows, strict=False):
        pays = [int(row[f"PAY_{month}"]) for month in (0, 2, 3, 4, 5, 6)]
        limit = int(Decimal(row["LIMIT_BAL"]))
        used = max(0, int(Decimal(row["BILL_AMT1"])))
        utilisation = 10_000 * used // limit
        overdue, months = max(0, pays[0]), sum(pay >= 1 for pay in pays)
        if overdue == 0 and max(pays) < 1 and utilisation < 8000 and limit >= 50_000:
            counts["A"] += 1
        elif overdue < 2 and months < 3 and utilisation < 10_000:
            counts["B"] += 1
        else:
            counts["REFER"] += 1
    return counts


OF_SCENES = 1 + 3 + 3 + 8
"""Entries of the page, of a passkey and a newcomer (binding, consent, answer each), and of a lost
phone (bindings, consent, withdrawal, ended key, refusal, signature, answer)."""


def test_the_demo_answers_as_plain_arithmetic_does_and_catches_four_lies(tmp_path):
    told = run(
        "demo", "--clients", str(CLIENTS), "--questions", str(QUESTIONS), "--json",
        "--directory", tmp_path / "demo",
    )  # fmt: skip
    result = json.loads(told)

    assert (
        result["attestations"],
        result["answers"],
        result["verified"],
    ) == (CLIENTS, QUESTIONS, QUESTIONS)
    assert dict(expected()) == {name: n for name, n in result["outcomes"].items() if n}
    assert result["log"]["chain_ok"]
    assert result["log"]["tree_ok"]
    # registry changes: the first bundle with both operators, custodian, provider, lender, auditor
    assert result["log"]["size"] == 5 + CLIENTS + 3 * QUESTIONS + OF_SCENES
    assert dict.fromkeys(("passkey", "thin file", "lost phone"), True) == result["scenes"]
    assert dict.fromkeys(("answer", "row", "entry", "operator"), True) == result["lies_caught"]


def test_more_clients_than_the_file_has_are_refused(tmp_path):
    told = run("demo", "--clients", "2001", "--directory", tmp_path / "demo", code=2)
    assert "2000 clients only" in told
