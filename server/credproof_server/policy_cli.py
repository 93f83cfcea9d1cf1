"""`credproof policy publish` and `list`, for the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from credproof.cli.output import EXIT_CODES, JsonOption, out, print_json, read_file, tell
from credproof.cli.policy import app, moment, pin_json, pin_lines
from credproof.verification.bundle import PolicyPin

from credproof_server import policies
from credproof_server.directory import now

ServiceArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The service's directory.")]


def register() -> None:
    """Add the commands to `credproof policy`."""
    app.command("publish", epilog=EXIT_CODES)(publish_command)
    app.command("list", epilog=EXIT_CODES)(list_command)


def publish_command(
    folder: ServiceArgument,
    proposal: Annotated[
        Path, typer.Argument(help="A proposal that two operators signed (policy sign).")
    ],
    root_key: Annotated[
        Path | None,
        typer.Option(help="The root's private key; DIR/offline-root/root.key if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put a policy in force from and until its dates: a new trust bundle by the root.

    Of several versions in force the one that began last is asked under. An older one comes back
    by being signed and published again; one ends by being signed with the same --from and another
    --until. Answers given before stay valid. Tells of which claims single bands can become known,
    together with the policies in force. The service may run.

    \b
    Example:
      credproof policy publish service my-policy.proposal
    """
    done = policies.publish(folder, read_file(proposal), root_key=root_key)
    bands = list(policies.single_bands(folder, done))
    name, *rest = pin_lines(done.pin)
    told = "with the policies in force, single bands can become known"
    tell(
        {**pin_json(done.pin), "single_bands": bands},
        name.replace("Policy:   ", "Published:"),
        *rest,
        *(f"Meter:      {claim}: {told}" for claim in bands),
        as_json=as_json,
    )


def list_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Show every policy that ever was in force, its dates and digest. Writes nothing."""
    found, time = policies.pins(folder), now()
    if as_json:
        print_json([_pin_json(pin, time) for pin in found])
        return
    for pin in found:
        dates = f"{moment(pin.valid_from)}  {moment(pin.valid_until):<20}"
        state = "in force" if pin.is_in_force(time) else "not now"
        name = f"{pin.ref.id} {pin.ref.version}"
        out.print(f"{name:<40}  {dates}  {state:<8}  {pin.ref.digest.hex()}")


def _pin_json(pin: PolicyPin, time: int) -> dict[str, object]:
    return {**pin_json(pin), "in_force": pin.is_in_force(time)}
