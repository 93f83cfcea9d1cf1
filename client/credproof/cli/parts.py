"""The parts of `credproof`: what each command says of itself, and where it is.

A part is loaded when one of its commands is called: to load them all takes a second.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from credproof.base.errors import Conflict
from credproof.base.limits import INTEGER_MAX

ENROLMENT: Final = {
    "enrol": "Make your keys, and the enrolment for the operator.",
    "join": "Put the operator's admission to use.",
}
GROUPS: Final = {
    "provider": "For data providers: submit and withdraw records, bind borrowers' keys.",
    "lender": "For lenders: request consent, ask, verify.",
    "borrower": "For borrowers: see who asks, consent, pause, revoke. 借款人：查看、授权、撤回。",
    "audit": "For compliance officers: verify the log, read it.",
    "policy": "Lint, compare, explain, approve and publish policies.",
}
SERVER_COMMANDS: Final = {
    "init": "Make a new service in an empty directory.",
    "serve": "Run a service until SIGTERM.",
    "custodian": "Hold a share of the pseudonym key, beside the service.",
    "participant": "Admit providers, lenders and auditors.",
    "purpose": "Say what is fair for a purpose: caps for every lender.",
    "bureau": "Enter your own licence as a credit bureau.",
    "passkeys": "Let borrowers sign by passkeys of a domain, on its pages.",
    "quorum": "Say which witnesses count for the log.",
    "root": "Change who signs the trust bundle, and renew it.",
    "rules": "What counts as misuse, and what follows.",
    "timestamps": "Show who stamps the log's checkpoints, and how far they are.",
    "check": "Check that everything stored is what was logged.",
    "upgrade": "Bring a service's databases to this version.",
    "backup": "Copy a service, in two parts that are kept apart.",
    "export": "Write what was logged from an entry on.",
    "restore": "Restore a service from a backup, an export, or both.",
    "witness": "Cosign other logs.",
    "demo": "Show the whole journey on real data, and six lies that are caught.",
}
PAGE_COMMANDS: Final = {
    "consent-page": "Serve the page where borrowers consent by a passkey.",
}
PLUGINS: Final[Mapping[str, Mapping[str, str]]] = {"server": SERVER_COMMANDS, "page": PAGE_COMMANDS}
"""What plugs in by entry point: by the extra that it needs, which has the entry point's name."""
TEXTS: Final = {**ENROLMENT, **GROUPS, **SERVER_COMMANDS, **PAGE_COMMANDS}


class Root(TyperGroup):
    """The root of the command line; a command stands for itself by its text until it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=text) for name, text in TEXTS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is called."""
        if args[0] in TEXTS:
            with _ended_by_ctrl_c():
                self.commands.update(load(args[0]))
        return super().resolve_command(ctx, args)


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once: while modules load it would be a traceback anywhere."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def load(name: str) -> Mapping[str, Any]:
    """The part that has a command: its commands by name."""
    commands = _load(name)
    for command in commands.values():
        _bound(command)
    return commands


def _bound(command: Any) -> None:
    """Numbers that no database or message holds are wrong usage, in whatever command.

    So is an empty path, which would be the current directory.
    """
    for inner in getattr(command, "commands", {}).values():
        _bound(inner)
    for option in command.params:
        if option.callback is None:
            option.callback = _not_too_large
        if option.type_descriptor.annotation in (Path, list[Path]):
            option.process_value = partial(_path, option)


def _path(option: Any, ctx: Any, value: Any) -> Any:
    """Read a path as it was typed: once it is one, an empty one cannot be told any more."""
    if value == "" or (isinstance(value, (list, tuple)) and "" in value):
        raise typer.BadParameter("the path is empty: is a variable of your shell not set?")
    return type(option).process_value(option, ctx, value)


def _not_too_large(_ctx: Any, _option: Any, value: Any) -> Any:
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise typer.BadParameter("the number is too large")
    return value


def _load(name: str) -> Mapping[str, Any]:
    if name in ENROLMENT:
        return _registered(import_module("credproof.cli.participant").register)
    if name in GROUPS:
        if name == "policy":
            _plug_in("server")  # it has the operator's commands on policies
        part: typer.Typer = import_module(f"credproof.cli.{name}").app
        return {name: _group(part)}
    (extra,) = (extra for extra, commands in PLUGINS.items() if name in commands)
    return _plug_in(extra)


def _registered(register: Callable[[typer.Typer], None]) -> Mapping[str, Any]:
    part = typer.Typer()
    part.callback()(lambda: None)
    register(part)
    return _group(part).commands


def _group(part: typer.Typer) -> TyperGroup:
    part.rich_markup_mode = None  # else help has boxes
    return get_group(part)


@cache
def _plug_in(extra: str) -> Mapping[str, Any]:
    """The commands of an extra; without its parts each says what to install."""
    for point in entry_points(group="credproof.commands", name=extra):
        try:
            return _registered(point.load())
        except ImportError:
            break
    return _registered(lambda part: _add_missing(part, extra))


def _add_missing(part: typer.Typer, extra: str) -> None:
    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    for name, text in PLUGINS[extra].items():
        part.command(name, help=text, context_settings=settings)(_missing(name, extra))


def _missing(name: str, extra: str) -> Callable[[], None]:
    def command() -> None:
        message = f"credproof {name} needs the {extra} parts: pip install 'credproof[{extra}]'"
        raise Conflict("PARTS_MISSING", message)

    return command
