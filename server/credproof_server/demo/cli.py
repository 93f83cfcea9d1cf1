"""`credproof demo`."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Annotated

import typer
from credproof import standard
from credproof.cli.output import FAILED, JsonOption, err, out, print_json
from credproof.records.mapping import parse_mapping
from credproof.records.reader import count_rows

from credproof_server.demo import abuse
from credproof_server.demo import journey as steps
from credproof_server.demo.hiding import hide
from credproof_server.demo.journey import Journey, Plan
from credproof_server.demo.lies import (
    Lie,
    lie_about_answer,
    lie_about_entry,
    lie_about_row,
    lie_as_operator,
    served_copy,
)
from credproof_server.demo.report import Report, as_json, write_json
from credproof_server.demo.scenes import Scene, play
from credproof_server.demo.world import World

CLIENTS = 500


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="A file with the columns of the UCI data; the shipped one if not given."),
    ] = None,
    clients: Annotated[int, typer.Option(min=1, help="How many clients of the file.")] = CLIENTS,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Ask about the first so many; all if not given.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Where the demo's directories go; each run makes a new one.")
    ] = Path("credproof-demo"),
    json_only: JsonOption = False,
) -> None:
    """Show the whole journey on real data, and six lies that are caught.

    Starts a real service on the loopback interface, with a custodian, a provider, a lender and an
    auditor that have their own directories and keys. Real, de-identified credit card clients
    (Taiwan, 2005) are attested as of today, in a replay; borrowers consent; the lender asks and
    verifies; a lender turns abusive and is caught; the auditor verifies the log. Exit code 1 when
    an answer does not verify or a lie succeeds.
    """
    with importlib.resources.as_file(standard.path("uci-first-2000.csv.gz")) as shipped:
        plan = _plan(data or shipped, clients, questions, quiet=json_only)
        world = World(_fresh(directory))
        journey, scenes, lies = _run(world, plan)
        result = as_json(journey, scenes, lies)
        write_json(result, world.folder / "result.json")
        if json_only:
            print_json(result)
        else:
            _tell(Report(out, world, plan, journey), scenes, lies)
    held = all(scene.held for scene in scenes) and all(lie.caught for lie in lies)
    if journey.verified != len(journey.answers) or not held:
        raise typer.Exit(FAILED)


def _plan(data: Path, clients: int, questions: int | None, *, quiet: bool) -> Plan:
    if not data.is_file():
        raise typer.BadParameter(f"cannot read {data}")
    there = count_rows(data)
    if clients > there:
        raise typer.BadParameter(f"the file has {there} clients only: give more by --data")
    mapping = parse_mapping(standard.read("uci.mapping.yaml"))
    return Plan(data, mapping, clients, min(questions or clients, clients), quiet)


def _fresh(parent: Path) -> Path:
    """A new directory for this run: nothing of an earlier one is touched."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + sum(1 for _ in parent.glob("run-*"))
    folder = parent.resolve() / f"run-{number}"
    folder.mkdir(mode=0o700)
    return folder


def _run(world: World, plan: Plan) -> tuple[Journey, list[Scene], list[Lie]]:
    journey = Journey()
    _say(plan, "A replay of 2005 data (UCI, CC BY 4.0), attested as of today.")
    with journey.timed("setup"):
        world.make(custodian=True)
    with world.served():
        with journey.timed("admit"):
            world.populate()
        with journey.timed("attest"):
            steps.attest(world, plan, journey)
        with journey.timed("bind"):
            people = steps.bind(world, plan, journey)
        with journey.timed("ask"):
            steps.ask(world, plan, journey, people)
        with journey.timed("verify"):
            steps.verify(world, plan, journey)
        with journey.timed("scenes"):
            scenes = play(world, journey)
        with journey.timed("abuse"):
            abuse.count_alarms(world, journey)
            scenes.append(abuse.catch(world))
        with journey.timed("audit"):
            steps.audit(world, journey)
        _say(plan, "Now the lies.")
        with journey.timed("lies"):
            lies = [lie_about_answer(world, journey), lie_about_row(world, journey, people)]
            lies.append(lie_about_entry(world))
    with journey.timed("operator lies"), served_copy(world) as lying:
        lies += [*hide(lying), lie_as_operator(lying, journey, people)]
    return journey, scenes, lies


def _say(plan: Plan, text: str) -> None:
    if not plan.quiet:
        err.print(text)


def _tell(report: Report, scenes: list[Scene], lies: list[Lie]) -> None:
    report.learned(standard.schemas()["consumer-revolving/1"])
    report.scenes(scenes)
    report.lies(lies)
    report.summary()
    report.by_hand()
