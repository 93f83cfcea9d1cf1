"""`credproof`: the root of the command line."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Annotated

import typer
from typer.main import get_command

from credproof import __version__
from credproof.base.errors import CredproofError
from credproof.cli import audit, borrower, lender, participant, policy, provider
from credproof.cli.output import EXIT_CODES, USAGE, err, exit_code, print_error

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""
SERVER_COMMANDS = {
    "init": "Make a new service in an empty directory.",
    "serve": "Run a service until SIGTERM.",
    "custodian": "Hold a share of the pseudonym key, beside the service.",
    "participant": "Admit providers, lenders and auditors.",
    "purpose": "Say what is fair for a purpose: caps for every lender.",
    "bureau": "Enter your own licence as a credit bureau.",
    "passkeys": "Let borrowers sign by passkeys of a domain, on its pages.",
    "quorum": "Say which witnesses count for the log.",
    "rules": "What counts as misuse, and what follows.",
    "check": "Check that everything stored is what was logged.",
    "upgrade": "Bring a service's databases to this version.",
    "backup": "Copy a service, in two parts that are kept apart.",
    "export": "Write what was logged from an entry on.",
    "restore": "Restore a service from a backup, an export, or both.",
    "witness": "Cosign other logs.",
    "demo": "Show the whole journey on real data, and six lies that are caught.",
}
PAGE_COMMANDS = {
    "consent-page": "Serve the page where borrowers consent by a passkey.",
}
PLUGINS = {"server": SERVER_COMMANDS, "page": PAGE_COMMANDS}
"""What plugs in by entry point: by the extra that it needs, which has the entry point's name."""

app = typer.Typer(
    name="credproof",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"credproof {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def root(
    _version_: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask about a borrower's credit and get a proof, not a file.

    Each user has a group of commands and a home, a directory with keys of one's own: make it with
    enrol and join, and name it with --home or CREDPROOF_HOME. Borrowers use borrower create. The
    operator's commands take the service's directory.

    An error is one line with its reason in capital letters; where it helps, a second line, next:,
    says what to do.
    """


participant.register(app)
app.add_typer(provider.app, name="provider")
app.add_typer(lender.app, name="lender")
app.add_typer(borrower.app, name="borrower")
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")


def _missing(name: str, extra: str) -> Callable[[], None]:
    def command() -> None:
        message = f"credproof {name} needs the {extra} parts: pip install 'credproof[{extra}]'"
        typer.echo(message, err=True)
        raise typer.Exit(USAGE)

    return command


def _plug_in(extra: str, commands: Mapping[str, str]) -> None:
    """Add the commands of an extra; without its parts each says what to install."""
    for point in entry_points(group="credproof.commands", name=extra):
        try:
            register = point.load()
        except ImportError:
            break
        register(app)
        return
    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    for name, text in commands.items():
        app.command(name, help=text, context_settings=settings)(_missing(name, extra))


for _extra, _commands in PLUGINS.items():
    _plug_in(_extra, _commands)


def main() -> None:
    """The entry point of the `credproof` script."""
    try:
        get_command(app)(standalone_mode=True)
    except CredproofError as error:
        print_error(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (OSError, sqlite3.Error) as error:
        err.print(f"error: {_told(error)}", markup=False)
        sys.exit(USAGE)


def _told(error: OSError | sqlite3.Error) -> str:
    """What the operating system or SQLite says, and about which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}: name another path, or make it usable"
    return f"{error}: check that the disk has room and that the files can be written"


if __name__ == "__main__":
    main()
