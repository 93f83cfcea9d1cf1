"""`credproof timestamps`: who stamps the log's checkpoints, and how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from credproof.base.encoding import time_text
from credproof.base.limits import TIMESTAMP_GAP_S
from credproof.cli.output import EXIT_CODES, JsonOption, out, print_json
from credproof.log.entry import parse_entry

from credproof_server.directory import ServiceDirectory, now
from credproof_server.storage import engine as engines
from credproof_server.storage import repository, stamps


@dataclass(frozen=True, slots=True)
class Shown:
    """How far one authority is: what it stamped last, which entries wait, since when (seconds)."""

    name: str
    url: str
    tree_size: int
    stamped_at: int | None
    waiting: int
    since: int | None


def shown(folder: Path) -> Sequence[Shown]:
    """How far each authority is that the settings name; reads the files, the service may run.

    Raises:
        Malformed: as `ServiceDirectory.timestamp_authorities`.
    """
    directory = ServiceDirectory(folder)
    asked = directory.timestamp_authorities()
    size, _ = directory.log_head()
    engine, found = directory.engine(engines.MAIN), []
    with engines.readable(), engine.connect() as connection:
        kept = stamps.newest(connection)
        for item in asked:
            name = item.authority.name
            stamped, at = kept.get(name, (0, None))
            line = repository.lines_at(connection, [stamped]).get(stamped)
            since = parse_entry(line).time if line is not None else None
            found.append(Shown(name, item.url, stamped, at, max(0, size - stamped), since))
    engine.dispose()
    return found


def timestamps_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The service's directory.")],
    as_json: JsonOption = False,
) -> None:
    """Show which timestamp authorities stamp the log's checkpoints, and how far they are.

    The settings name them: [timestamps] in DIR/credproof.toml, read at the start of the service.
    Warns where entries have waited for more than two hours. Why one fails stands in the service's
    own log. The service may run. Writes nothing.

    \b
    Example:
      credproof timestamps service
    """
    found = shown(folder)
    if as_json:
        print_json([_json(item) for item in found])
        return
    if not found:
        told = "Nobody is asked: name authorities under [timestamps] in credproof.toml"
        out.print(told, markup=False)
    for item in found:
        out.print(f"{item.name}: {_text(item)}", markup=False)


def _text(item: Shown) -> str:
    last = "nothing stamped yet"
    if item.stamped_at is not None:
        last = f"{item.tree_size} entries, stamped at {time_text(item.stamped_at)}"
    if item.since is None:
        return last
    told = f"{last}; {item.waiting} wait"
    late = now() - item.since > TIMESTAMP_GAP_S
    return f"{told}; NO TIMESTAMP SINCE {time_text(item.since)}" if late else told


def _json(item: Shown) -> dict[str, object]:
    """As JSON; times are whole seconds."""
    return {
        "name": item.name,
        "url": item.url,
        "size": item.tree_size,
        "time": item.stamped_at,
        "waiting": item.waiting,
        "since": item.since,
    }


def register(root: typer.Typer) -> None:
    """Add the command to `credproof`."""
    root.command("timestamps", epilog=EXIT_CODES)(timestamps_command)
