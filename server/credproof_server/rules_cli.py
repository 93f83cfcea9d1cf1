"""The operator's commands about the rules of misuse: look at them, check others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from credproof.cli.output import EXIT_CODES, JsonOption, out, print_json, read_file

from credproof_server.conduct.rules import Rule, Rules, parse_rules
from credproof_server.directory import ServiceDirectory, shipped_rules

rules = typer.Typer(help="What counts as misuse, and what follows.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands to `credproof`."""
    root.add_typer(rules, name="rules")


@rules.command("show", epilog=EXIT_CODES)
def show_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The service's directory.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the rules of misuse in force for a service, or those that ship.

    To change them: copy the shipped file, give it the next version, name it under [misuse] in
    DIR/credproof.toml, and restart. What is raised names version and digest. The service may run.
    Writes nothing.

    \b
    Example:
      credproof rules show service
    """
    _print(shipped_rules() if folder is None else ServiceDirectory(folder).rules(), as_json=as_json)


@rules.command("lint", epilog=EXIT_CODES)
def lint_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document of rules, YAML.")],
    as_json: JsonOption = False,
) -> None:
    """Check a document of rules as the service does at its start, and show what it says.

    Needs no service. Writes nothing. Exit code 2 when the service would not start with it.

    \b
    Example:
      credproof rules lint service/rules.yaml
    """
    _print(parse_rules(read_file(file)), as_json=as_json)


def _print(found: Rules, *, as_json: bool) -> None:
    if as_json:
        print_json(_json(found))
        return
    out.print(f"Rules:   {found.name} {found.version}, digest {found.digest.hex()}")
    for rule in found.rules.values():
        counts = ", ".join(f"{name} {value}" for name, value in rule.thresholds.items())
        out.print(f"{rule.name:<17}  {rule.window_s:>8} s  {_follows(rule):<42}  {counts}")
        for lender, count in rule.own.items():
            out.print(f"{'':<17}  {lender}: {count} of its own", markup=False)


def _follows(rule: Rule) -> str:
    if not rule.throttle_s:
        return "told"
    also = " and evaluations" if rule.evaluations else ""
    return f"questions{also} refused {rule.throttle_s} s"


def _json(found: Rules) -> dict[str, Any]:
    """The rules as JSON; times are in seconds."""
    return {
        "name": found.name,
        "version": found.version,
        "digest": found.digest.hex(),
        "look_every": found.look_every_s,
        "rules": {
            rule.name: {
                "window": rule.window_s,
                "throttle": rule.throttle_s,
                "evaluations": rule.evaluations,
                "thresholds": dict(rule.thresholds),
                "own": dict(rule.own),
            }
            for rule in found.rules.values()
        },
    }
