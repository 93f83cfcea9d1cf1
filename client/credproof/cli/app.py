"""`credproof`: the root of the command line."""

from __future__ import annotations

import sqlite3
import sys
from typing import Annotated, Any

import typer
from typer.main import get_command

from credproof import __version__
from credproof.base.errors import CredproofError, Malformed, Refused
from credproof.cli.output import EXIT_CODES, FAILED, USAGE, exit_code, print_error, system_error
from credproof.cli.parts import Root

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""
WRONG_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for whatever cannot be read from a command line; it has no public name."""
app = typer.Typer(
    name="credproof",
    cls=Root,
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
    says what to do. With --json it is one JSON object on stderr: reason, message, advice.
    """


def main() -> None:
    """The entry point of the `credproof` script."""
    as_json = "--json" in sys.argv[1:]
    try:
        sys.exit(get_command(app)(prog_name="credproof", standalone_mode=False))
    except CredproofError as error:
        print_error(error, as_json=as_json)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except typer.Abort:
        print_error(Refused("NOT_AGREED", "no answer was given"), as_json=as_json)
        sys.exit(FAILED)
    except (OSError, sqlite3.Error) as error:
        print_error(system_error(error), as_json=as_json)
        sys.exit(USAGE)
    except WRONG_USAGE as error:
        _print_usage(error, as_json=as_json)
        sys.exit(USAGE)


def _print_usage(error: Any, *, as_json: bool) -> None:
    """What typer says of wrong usage, in one line, and whose help says how it is done."""
    told = " ".join(error.format_message().replace("Value error, ", "").split())
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # it is the help itself
        return
    where = "credproof" if error.ctx is None else error.ctx.command_path
    found = Malformed("WRONG_USAGE", told.removesuffix("."))
    print_error(found, advice=f"{where} --help says how", as_json=as_json)


if __name__ == "__main__":
    main()
