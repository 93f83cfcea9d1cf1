"""What the demo tells: tables for people, one object for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credproof import standard
from credproof.attestation.schema import Schema
from credproof.home import Home
from credproof.lender import OfflineVerifier
from credproof.records.mapping import Record
from credproof.records.reader import RejectedRow, read_rows
from credproof.verification.explain import question_text
from rich.console import Console
from rich.table import Table

from credproof_server.demo.journey import Journey, Plan
from credproof_server.demo.lies import Lie
from credproof_server.demo.scenes import Scene
from credproof_server.demo.world import AUDITOR, CUSTODIAN, LENDER, World

DEFAULTED = "default.payment.next.month"
"""The column that says what happened afterwards: never attested, read only to judge a policy."""
_ORDER = ("A", "B", "REFER", "INCOMPLETE")


def as_json(journey: Journey, scenes: Sequence[Scene], lies: Sequence[Lie]) -> dict[str, Any]:
    """The one JSON object of `credproof demo --json`."""
    assert journey.audit is not None, "the log was audited"
    counts = journey.counts()
    checkpoint = journey.audit.checkpoint
    return {
        "attestations": journey.attested,
        "answers": len(journey.answers),
        "verified": journey.verified,
        "outcomes": {name: counts[name] for name in _ORDER if counts[name] or name in _ORDER[:3]},
        "log": {
            "size": checkpoint.tree_size,
            "root": checkpoint.root_hash.hex(),
            "chain_ok": True,
            "tree_ok": True,
        },
        "false_alarms": journey.false_alarms,
        "scenes": {scene.name: scene.held for scene in scenes},
        "lies_caught": {lie.name: lie.caught for lie in lies},
        "seconds": journey.seconds,
    }


class Report:
    """Prints for people."""

    def __init__(self, console: Console, world: World, plan: Plan, journey: Journey) -> None:
        self._out = console
        self._world = world
        self._plan = plan
        self._journey = journey

    def learned(self, schema: Schema) -> None:
        """One answer beside the full statement that it replaces, then all answers."""
        if not self._journey.answers:
            return
        self._beside(schema)
        self._outcomes()

    def _beside(self, schema: Schema) -> None:
        outcomes = self._journey.outcomes
        granted = [name for name in self._journey.answers if outcomes[name].kind == "TIER"]
        subject = (granted or list(self._journey.answers))[0]
        path = self._journey.answers[subject]
        data = path.read_bytes()
        verified = OfflineVerifier(Home(self._world.home(LENDER))).verify(data)
        record = next(r for r in self._journey.records if r.subject == subject)
        said = [f"tier {verified.outcome.tier}" if verified.outcome.tier else verified.outcome.kind]
        said += [
            question_text(verified.policy.questions[result.question], standard.text("en"))
            for result in verified.answer.results
        ]
        table = Table(title=f"{subject}: what a full statement shows, and what the lender learned")
        table.add_column("full statement")
        table.add_column("answer")
        table.add_row("\n".join(_statement(record, schema)), "\n".join(said))
        self._out.print(table)
        figures = sum(value is not None for value in record.values.values())
        shown = f"{figures} figures; the source row has {self._columns()} columns"
        self._out.print(f"Statement: {shown}. Answer: one outcome, {len(said) - 1} proved facts,")
        self._out.print(f"no figure; {len(data):,} bytes with all proofs, one file.\n")

    def _columns(self) -> int:
        first = next(read_rows(self._plan.data))
        return 0 if isinstance(first, RejectedRow) else len(first[1])

    def _outcomes(self) -> None:
        defaulted = _defaulted(self._plan, self._journey.records)
        counts = self._journey.counts()
        bad: Counter[str] = Counter()
        for subject, outcome in self._journey.outcomes.items():
            bad[outcome.tier or outcome.kind] += defaulted.get(subject, 0)
        table = Table(title="What the answers still tell apart (Taiwan 2005 card data)")
        for name in ("outcome", "clients", "defaulted the month after"):
            table.add_column(name, justify="left" if name == "outcome" else "right")
        for name in _ORDER:
            if counts[name]:
                share = (
                    f"{100 * bad[name] / counts[name]:.1f} %" if defaulted else "not in the file"
                )
                table.add_row(name, f"{counts[name]:,}", share)
        self._out.print(table)
        self._out.print(
            "The default was never attested, asked or logged; it is only compared here.\n"
        )

    def lies(self, lies: Sequence[Lie]) -> None:
        """The lies, and who caught them."""
        table = Table(title="Six lies", show_lines=True)
        for name in ("lie", "what was done", "caught", "how"):
            table.add_column(name)
        for lie in lies:
            table.add_row(lie.name, lie.told, "yes" if lie.caught else "NO", lie.how)
        self._out.print(table)

    def scenes(self, scenes: Sequence[Scene]) -> None:
        """What was tried beside the journey."""
        table = Table(title="Beside the journey")
        for column in ("scene", "what happens", "held"):
            table.add_column(column)
        for scene in scenes:
            table.add_row(scene.name, scene.told, "yes" if scene.held else "NO")
        self._out.print(table)

    def summary(self) -> None:
        """Counts, log and times."""
        journey = self._journey
        assert journey.audit is not None, "the log was audited"
        checkpoint = journey.audit.checkpoint
        times = ", ".join(f"{name} {spent:.1f} s" for name, spent in journey.seconds.items())
        self._out.print(
            f"Attested {journey.attested:,} accounts, gave {len(journey.answers):,} answers,"
        )
        self._out.print(
            f"{journey.verified:,} verified offline. Log: {checkpoint.tree_size:,} entries,"
        )
        self._out.print(
            f"root {checkpoint.root_hash.hex()}, chain and tree verified by the auditor."
        )
        self._out.print(
            f"Each pseudonym needed the service and {CUSTODIAN}: neither can try out ids alone."
        )
        self._out.print(
            f"Misuse raised in all the honest work: {journey.false_alarms} false alarms."
        )
        self._out.print(f"{times}\n")

    def by_hand(self) -> None:
        """Three commands to try."""
        if not self._journey.answers:
            return
        path = next(iter(self._journey.answers.values()))
        lender, auditor = self._world.home(LENDER), self._world.home(AUDITOR)
        flipped = path.with_name("flipped.answer")
        flip = (
            "python3 -c \"import sys; d = bytearray(open(sys.argv[1], 'rb').read()); "
            "d[len(d) // 2] ^= 1; open(sys.argv[2], 'wb').write(d)\""
        )
        self._out.print("Try by hand (with .venv/bin on your PATH):", markup=False)
        self._print_command(f"credproof lender verify {path} --home {lender}")
        self._print_command(
            f"{flip} {path} {flipped}; credproof lender verify {flipped} --home {lender}"
        )
        self._print_command(
            f"credproof serve {self._world.service} 2>/dev/null & sleep 3; "
            f"credproof audit show --home {auditor} | jq -c '[.seq, .kind, .actor]' | tail; kill %1"
        )
        self._out.print(f"\nEverything lies in {self._world.folder} (one home per participant)")

    def _print_command(self, command: str) -> None:
        self._out.print(f"  {command}", markup=False, soft_wrap=True)


def _statement(record: Record, schema: Schema) -> list[str]:
    lines = []
    for name, value in record.values.items():
        claim = schema.claims[name]
        if isinstance(value, int) and claim.type == "money":
            lines.append(f"{claim.title['en']}: {record.currency} {value // 100:,}")
        elif isinstance(value, int) and claim.type == "basis-points":
            lines.append(f"{claim.title['en']}: {value / 100:.2f} %")
        else:
            lines.append(f"{claim.title['en']}: {value}")
    return lines


def _defaulted(plan: Plan, records: Sequence[Record]) -> Mapping[str, int]:
    """Subject -> 1 if the client defaulted the month after, where the file says so."""
    by_line = {record.line: record.subject for record in records}
    found = {}
    for item in read_rows(plan.data):
        if isinstance(item, RejectedRow) or item[0] not in by_line:
            continue
        if DEFAULTED in item[1]:
            found[by_line[item[0]]] = int(item[1][DEFAULTED] == "1")
        if len(found) == len(by_line):
            break
    return found


def write_json(value: dict[str, Any], path: Path) -> None:
    """Keep the result beside what it is about."""
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
