"""The demo does what it says, on the shipped data, and what it writes for others tells nothing."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from credproof import standard
from credproof.borrower import parse_pass
from credproof_server.custodian.directory import CustodianDirectory
from credproof_server.demo.scenes import NEWCOMER
from credproof_server.demo.world import ABUSER, AUDITOR, CUSTODIAN, LENDER, PROVIDER, World

from tests.adversary.leaks import (
    FIGURE_DIGITS,
    TOKEN,
    home_keys,
    leaked,
    packages,
    service_keys,
    shown,
    spellings,
)
from tests.cli.command import run

CLIENTS = 500


def expected() -> Counter[str]:
    """The tiers of the first clients by plain arithmetic on the file."""
    rows = csv.DictReader(
        gzip.decompress(standard.read("uci-first-2000.csv.gz")).decode().splitlines()
    )
    counts: Counter[str] = Counter()
    for _, row in zip(range(CLIENTS), rows, strict=False):
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


OF_SCENES = 1 + 3 + 3 + 8 + 48
"""Entries of the page, of a passkey and a newcomer (binding, consent, answer each), of a lost phone
(bindings, consent, withdrawal, ended key, refusal, signature, answer), and of an abusive lender
(admission, binding, consent, answer, 3 + 40 refusals, anomaly)."""


LOGS = ("service", "custodian", "lies")


class Demo:
    """One run of the whole demo, its result, and what it wrote where others may read it."""

    def __init__(self, folder: Path) -> None:
        run_out = started(folder)
        self.world = World(folder / "run-1")
        self.result = json.loads(run_out.stdout)
        self.packages = packages(self.world.home(PROVIDER))
        self.borrowers = sorted((self.world.folder / "borrowers").iterdir())
        self.logs = [(self.world.folder / f"{name}.log").read_text() for name in LOGS]
        told = run_out.stdout + run_out.stderr + (self.world.folder / "result.json").read_text()
        self.texts = [*self.logs, told, self.error()]

    def error(self) -> str:
        """What the command line says of an answer with a flipped bit."""
        path = next((self.world.home(LENDER) / "answers").iterdir())
        flipped = bytearray(path.read_bytes())
        flipped[len(flipped) // 2] ^= 1
        (self.world.folder / "flipped").write_bytes(flipped)
        lender = self.world.home(LENDER)
        return run("lender", "verify", self.world.folder / "flipped", home=lender, code=1)

    def entries(self) -> str:
        with closing(sqlite3.connect(self.world.service / "log.db")) as database:
            return "".join(
                line.decode() for (line,) in database.execute("SELECT line FROM entries")
            )

    def names(self) -> set[str]:
        """Ids as the provider has them, accounts, and pseudonyms in every spelling."""
        subs = [parse_pass((home / "pass.json").read_bytes()).sub for home in self.borrowers]
        accounts = {item["hidden"]["account"] for item in self.packages}
        ids = {home.name for home in self.borrowers} | {NEWCOMER}
        return (accounts | ids).union(*map(spellings, subs))

    def keys(self) -> set[str]:
        homes = [self.world.home(name) for name in (PROVIDER, LENDER, AUDITOR, ABUSER, CUSTODIAN)]
        share = spellings(CustodianDirectory(self.world.home(CUSTODIAN)).share())
        return service_keys(self.world.service) | home_keys([*homes, *self.borrowers]) | share

    def figures(self) -> set[int]:
        """Amounts in minor and in major units, where they are long enough to stand out."""
        values = [v for item in self.packages for v in item["values"].values()]
        amounts = {v for v in values if isinstance(v, int)}
        return {n for v in amounts for n in (v, v // 100) if len(str(n)) >= FIGURE_DIGITS}


def started(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "credproof.cli.app", "demo", "--json", "--directory", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done


def test_the_demo_does_what_it_says_catches_its_lies_and_leaks_nothing(tmp_path, subtests):
    """One test, since a run takes long: each claim about it is told by itself."""
    demo = Demo(tmp_path / "demo")
    for claim in (
        answers_as_plain_arithmetic_does,
        catches_its_lies,
        the_search_finds_what_it_looks_for,
        no_log_output_or_error_holds_a_name_a_key_a_seed_or_a_token,
        no_log_output_or_error_holds_a_figure,
        the_logs_name_no_participant,
        the_audit_log_holds_no_name_and_no_figure,
    ):
        with subtests.test(claim.__name__):
            claim(demo)


def answers_as_plain_arithmetic_does(demo: Demo) -> None:
    result = demo.result
    assert (result["attestations"], result["answers"], result["verified"]) == (CLIENTS,) * 3
    assert dict(expected()) == {name: n for name, n in result["outcomes"].items() if n}


def catches_its_lies(demo: Demo) -> None:
    result = demo.result
    assert result["log"]["chain_ok"]
    assert result["log"]["tree_ok"]
    # registry changes: the first bundle with both operators, custodian, provider, lender, auditor
    without_roots = 5 + CLIENTS + 3 * CLIENTS + OF_SCENES
    assert without_roots < result["log"]["size"] < 2 * without_roots, "and roots of the directory"
    scenes = ("passkey", "thin file", "lost phone", "abusive lender")
    assert dict.fromkeys(scenes, True) == result["scenes"]
    assert result["false_alarms"] == 0
    lies = ("answer", "row", "entry", "hidden", "hidden well", "operator")
    assert dict.fromkeys(lies, True) == result["lies_caught"]


def the_search_finds_what_it_looks_for(demo: Demo) -> None:
    assert len(demo.packages) > 2 * CLIENTS
    assert len(demo.figures()) > CLIENTS
    limit = next(item["values"]["credit_limit"] for item in demo.packages)
    assert shown(demo.figures(), f'{{"limit":{limit}}}') == {limit}
    assert leaked(demo.names(), "who: uci-17")
    assert leaked(demo.keys(), (demo.borrowers[0] / "signing.key").read_text())
    assert all("milliseconds" in log for log in demo.logs)
    assert "ROW_NOT_OPENED" in demo.logs[0], "the lies are in it"


def no_log_output_or_error_holds_a_name_a_key_a_seed_or_a_token(demo: Demo) -> None:
    seeds = {item["seed"] for item in demo.packages}
    for text in demo.texts:
        assert leaked(demo.names() | demo.keys() | seeds, text) == set()
        assert not TOKEN.search(text)


def no_log_output_or_error_holds_a_figure(demo: Demo) -> None:
    for text in demo.texts:
        assert shown(demo.figures(), text) == set()


def the_logs_name_no_participant(demo: Demo) -> None:
    for log in demo.logs:
        assert leaked({PROVIDER, LENDER, AUDITOR, ABUSER, CUSTODIAN}, log) == set()


def the_audit_log_holds_no_name_and_no_figure(demo: Demo) -> None:
    assert leaked(demo.names() | demo.keys(), demo.entries()) == set()
    assert shown(demo.figures(), demo.entries()) == set()


def test_more_clients_than_the_file_has_are_refused(tmp_path):
    told = run("demo", "--clients", "2001", "--directory", tmp_path / "demo", code=2)
    assert "2000 clients only" in told
