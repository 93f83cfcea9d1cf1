"""The policy on real data: the tiers that plain arithmetic gives."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from importlib.resources import as_file
from pathlib import Path

import pytest
from credproof import standard
from credproof.records.mapping import parse_mapping
from credproof.records.reader import read_records

ALL = Path(__file__).parents[3] / "shared/data/uci-credit-default/clients-1-20000.csv.gz"
RULES = {
    name: [standard.policies()[0].questions[question] for question in tier.when]
    for tier in standard.policies()[0].tiers
    for name in [tier.name]
}


def tiers(path: Path) -> Counter[str]:
    """The tier of every client of a file, by the shipped mapping and policy."""
    mapping = parse_mapping(standard.read("uci.mapping.yaml"))
    facts = standard.schemas()["consumer-revolving/1"].facts
    counts: Counter[str] = Counter()
    for record in read_records(path, mapping, day_of_run=dt.date(2026, 1, 1)):
        for name, questions in RULES.items():
            verdicts = [
                q.condition.evaluate(record.values[q.condition.claim])
                if q.condition
                else facts[q.fact].evaluate(record.values)
                for q in questions
            ]
            if all(verdicts):
                counts[name] += 1
                break
        else:
            counts["REFER"] += 1
    return counts


def test_the_shipped_2000_clients():
    with as_file(standard.path("uci-first-2000.csv.gz")) as path:
        assert tiers(path) == {"A": 941, "B": 627, "REFER": 432}


@pytest.mark.skipif(not ALL.exists(), reason="the 20,000 rows are not shipped")
def test_all_20000_clients():
    assert tiers(ALL) == {"A": 8969, "B": 6577, "REFER": 4454}
