"""`credproof root`: who signs trust bundles and their metadata, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from credproof.base.encoding import time_text
from credproof.base.errors import Conflict
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    JsonOption,
    out,
    print_json,
    read_file,
    require_writable,
    tell,
    write_file,
)
from credproof.home import read_public
from credproof.updating import metadata as tuf
from credproof.updating.metadata import ROOT, TARGETS
from tuf.api.metadata import Metadata, Root

from credproof_server import roots
from credproof_server.directory import now
from credproof_server.registry_cli import RootKeyOption, ServiceArgument, date_text
from credproof_server.service.distribution import Standing

app = typer.Typer(help="Change who signs the trust bundle, and renew it.", no_args_is_help=True)

DraftArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The next root, as root draft wrote it.")
]


def register(root: typer.Typer) -> None:
    """Add the commands to `credproof`."""
    root.add_typer(app, name="root")


@app.command("status", epilog=EXIT_CODES)
def status_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Show for each TUF role its version, when it expires, and who signs it.

    Exit code 1 when people must sign one anew within 30 days (SOON), or it counts no more
    (EXPIRED): root by root draft, targets by root extend, a provider's by credproof provider keys.
    The service signs snapshot and timestamp itself, and renews them while it runs. The service may
    run. Shows each provider that the root lets begin anew, too (ANEW). Writes nothing.

    \b
    Example:
      credproof root status service
    """
    found = roots.standings(folder)
    due = [item for item in found if item.ends_soon(now())]
    if as_json:
        print_json([_standing_json(item) for item in found])
    for item in () if as_json else found:
        word = "EXPIRED" if item.has_expired(now()) else "SOON" if item in due else ""
        who = f"{item.threshold} of {', '.join(item.keys)}"
        until = f"until {date_text(item.expires_at)}"
        out.print(f"{word:<7}  {item.role:<20}  version {item.version:<10}  {until}  {who}")
    for provider, since in () if as_json else roots.begun_anew(folder).items():
        out.print(f"ANEW     {provider:<20}  no key set until {time_text(since)} binds it")
    if due:
        raise typer.Exit(FAILED)


def _standing_json(item: Standing) -> dict[str, object]:
    """A role as JSON; times are whole seconds."""
    return {
        "role": item.role,
        "version": item.version,
        "expires": item.expires_at,
        "ends_soon": item.ends_soon(now()),
        "expired": item.has_expired(now()),
        "threshold": item.threshold,
        "keys": list(item.keys),
    }


@app.command("begin", epilog=EXIT_CODES)
def begin_command(
    folder: ServiceArgument, root_key: RootKeyOption = None, as_json: JsonOption = False
) -> None:
    """Give out the trust bundle by TUF: once, for a service that an older version made.

    Its participants need nothing new: the root that they have pinned signs the first one. The
    service must not run. Needs the root key, and the operator's home in DIR.

    \b
    Example:
      credproof root begin service
    """
    roots.begin(folder, root_key=root_key)
    told = f"Begun:      {folder} (credproof root status {folder} shows who signs what)"
    tell({"folder": str(folder)}, told, as_json=as_json)


@app.command("key", epilog=EXIT_CODES)
def key_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, which you keep.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key that may sign roots: FILE, which never leaves you, and FILE.pub to hand over.

    It counts once a root names it. Needs no service and no network.

    \b
    Example:
      credproof root key second.key
    """
    public = roots.new_key(file)
    tell(
        {"key": str(file), "public": f"{file}.pub", "fingerprint": public.kid},
        f"Key:          {file} (keep it offline)",
        f"Public:       {file}.pub (hand it to the operator)",
        f"Fingerprint:  {public.kid}",
        as_json=as_json,
    )


@app.command("draft", epilog=EXIT_CODES)
def draft_command(
    folder: ServiceArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The next root, a file to be passed on.")
    ],
    add: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.pub", help="A key that may sign roots from now on; repeat it."),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="FINGERPRINT", help="A key that may sign no more; repeat it."),
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="How many of the keys must sign a root.")
    ] = None,
    bundle_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pub", help="The key in place of the one that signs bundles."),
    ] = None,
    online_key: Annotated[
        bool, typer.Option("--online-key", help="Make the service a new key of its own.")
    ] = False,
    begin_anew: Annotated[
        list[str] | None,
        typer.Option(metavar="PROVIDER", help="A provider that lost all its keys; repeat it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the next root, good for a year, to be signed by as many people as must.

    Without options nothing changes but its end. Nothing counts until it is published: have it
    signed by root sign, one after the other, then root publish. As many keys of the root before
    must sign as of the new one. The service may run.

    Who has seen a provider's key set takes no other than one of its keys has signed. One that lost
    all of them, or whose thief signed one first, goes on by --begin-anew: what was signed until now
    binds nobody any more. Of a thief, suspend the provider before. Publish this root, list the
    provider's new key (credproof participant renew), and let it sign and publish its keys. The root
    says it for ever, to everybody; root sign shows it.

    \b
    Examples:
      credproof root draft service -o next.root.json
      credproof root draft service -o next.root.json --add third.key.pub --threshold 3
      credproof root draft service -o next.root.json --add third.key.pub --remove FINGERPRINT
      credproof root draft service -o next.root.json --bundle-key fresh.key.pub
      credproof root draft service -o next.root.json --begin-anew bank
    """
    if output.exists():
        message = "there is a file of this name, which others may have signed: name a new one"
        raise Conflict("NOT_EMPTY", message)
    require_writable(output)
    made = roots.draft(
        folder,
        add=[read_public(path) for path in add or ()],
        remove=remove or (),
        threshold=threshold,
        bundle_key=None if bundle_key is None else read_public(bundle_key),
        online_key=online_key,
        begin_anew=begin_anew or (),
    )
    write_file(output, tuf.to_bytes(made))
    then = f"Next:       credproof root sign {output} --key FILE, then root publish"
    lines = _root_lines(made, begun=begin_anew or ())
    tell(_root_json(made), *lines, then, as_json=as_json)


@app.command("sign", epilog=EXIT_CODES)
def sign_command(
    file: DraftArgument,
    key: Annotated[
        Path,
        typer.Option(help="Your private key: root.key, signing.key of an operator, or root key's."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Add your signature to the next root, and show what you sign.

    Compare the keys with what you were told: whoever may sign roots decides who is trusted. A time
    at which a provider begins anew (Anew) that root status does not show is new. Signs nothing that
    was changed after another of these keys signed it. Writes FILE. Needs no service and no network.

    \b
    Example:
      credproof root sign next.root.json --key operator-2/signing.key
    """
    made = roots.sign(read_file(file), roots.read_key(key))
    write_file(file, tuf.to_bytes(made))
    tell(_root_json(made), *_root_lines(made), as_json=as_json)


@app.command("publish", epilog=EXIT_CODES)
def publish_command(
    folder: ServiceArgument,
    file: DraftArgument,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the next root in force: clients follow it by themselves.

    Needs the root key only when another key signs trust bundles from now on: then --root-key is
    the new one, and tell its fingerprint to whoever joins. The service may run.

    \b
    Example:
      credproof root publish service next.root.json
    """
    root = roots.publish(folder, read_file(file), root_key=root_key)
    kid = tuf.keys_of(root, TARGETS)[0].kid
    tell(
        {"version": root.version, "root": kid},
        f"Published:  root version {root.version}",
        f"Root:       {kid} (tell it to whoever joins)",
        as_json=as_json,
    )


@app.command("extend", epilog=EXIT_CODES)
def extend_command(
    folder: ServiceArgument, root_key: RootKeyOption = None, as_json: JsonOption = False
) -> None:
    """Sign the trust bundle and its targets anew, unchanged, for another year.

    Each change of a participant or policy does that too. Needs the root key. The service may run.

    \b
    Example:
      credproof root extend service --root-key safe/root.key
    """
    trust = roots.extend(folder, root_key=root_key)
    until = trust.bundle.expires_at
    tell({"until": until}, f"Extended:   until {date_text(until)}", as_json=as_json)


def _root_lines(made: Metadata[Root], *, begun: Sequence[str] = ()) -> Iterator[str]:
    """What a root says, and who has signed it; `begun` are providers that the draft lets begin."""
    told, root = _root_json(made), made.signed
    yield f"Root:       version {root.version}, until {date_text(tuf.seconds(root.expires))}"
    yield f"Must sign:  {told['threshold']} of these, and of those of the root before"
    for kid in (key.kid for key in tuf.keys_of(root, ROOT)):
        yield f"            {kid}  {'signed' if kid in told['signed_by'] else ''}".rstrip()
    for kid in told["not_named"]:
        yield f"Signed by:  {kid}, which this root does not name: counts if the one before does"
    for provider, since in told["providers_anew"].items():
        new = ", new in this root" * (provider in begun)
        yield f"Anew:       {provider}: no key set of it until {time_text(since)} binds it{new}"
    yield f"Bundles:    signed by {told['bundle_key']}"
    yield f"Online:     {told['online_key']}"


def _root_json(made: Metadata[Root]) -> dict[str, Any]:
    """The same as JSON; times are whole seconds. Signatures of keys not named are not verified."""
    root, signed = made.signed, tuf.signers(made)
    return {
        "version": root.version,
        "expires": tuf.seconds(root.expires),
        "threshold": root.roles[ROOT].threshold,
        "keys": [key.kid for key in tuf.keys_of(root, ROOT)],
        "signed_by": sorted(signed),
        "not_named": sorted(set(made.signatures) - signed),
        "bundle_key": tuf.keys_of(root, TARGETS)[0].kid,
        "online_key": tuf.keys_of(root, tuf.TIMESTAMP)[0].kid,
        "providers_anew": dict(tuf.providers_anew(root)),
    }
