"""`credproof audit registry`: who was admitted, which key was listed, what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.registry import Version
from credproof.auditing.registry import registry as versions_of
from credproof.auditing.trusted import open_index
from credproof.base.encoding import time_text
from credproof.cli.output import HomeOption, JsonOption, out, plain, print_json
from credproof.home import Home
from credproof.verification.registry_diff import Changed


def registry(
    home: HomeOption = Path(),
    participant: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what is about this participant.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed in the registry, version by version: one line a change.

    A line has the log entry, the version of the trust bundle, the time, and what changed: who was
    admitted, suspended or resumed, which key was listed for whom, which policy was put in force
    and by whom it was approved, caps of purposes, witnesses, keys of the service. Look for keys
    that a participant does not know of: ask it by another way. Reads audit.db and registry/ in
    your home, as audit verify or audit follow verified them: each version is the one that its
    entry names. Who signs roots is not in the log: root_history/ under tuf/ in your home.
    Needs no service. Writes nothing.

    \b
    Example:
      credproof audit registry --participant bank --home audit
    """
    with open_index(home) as index:
        found = versions_of(Home(home), index)
        if as_json:
            print_json([_json(version, participant) for version in found])
            return
        for version in found:
            for line in _lines(version, participant):
                out.print(line, markup=False)


def _about(version: Version, participant: str | None) -> list[Changed]:
    return [c for c in version.changes if participant in (None, c.place.participant)]


def _lines(version: Version, participant: str | None) -> Iterator[str]:
    place = f"{version.log_index:>7}  version {version.version:<5}  {time_text(version.time)}"
    changes = _about(version, participant)
    for change in changes:
        yield f"{place}  {change.place.participant or 'service'}: {plain(change.text)}"
    if not changes and participant is None:
        until = time_text(version.expires_at)
        yield f"{place}  service: nothing but its dates: good until {until}"


def _json(version: Version, participant: str | None) -> dict[str, object]:
    """A version as JSON; times are whole seconds."""
    changes = [
        {
            "participant": change.place.participant or None,
            "what": change.place.what,
            "name": change.place.name,
            "was": change.was,
            "now": change.now,
            "text": change.text,
        }
        for change in _about(version, participant)
    ]
    return {
        "version": version.version,
        "log_index": version.log_index,
        "time": version.time,
        "expires": version.expires_at,
        "changes": changes,
    }
