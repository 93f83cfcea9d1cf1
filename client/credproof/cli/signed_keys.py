"""`credproof provider keys`: the provider's own signed word, which keys are its."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from credproof.cli.output import EXIT_CODES, HomeOption, JsonOption, read_file, tell, write_file
from credproof.home import Home, read_public
from credproof.provider import publish_keys
from credproof.updating.own_keys import keys_in, sign_keys

app = typer.Typer(
    help="Say by your own signature which keys are yours.",
    no_args_is_help=True,
)


@app.command(epilog=EXIT_CODES)
def sign(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Your signed key set, a file to be written.")
    ],
    known: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Fingerprint of a key that is yours too; repeat it."),
    ] = None,
    add: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.pub", help="A key that is to be listed for you; repeat it."),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Fingerprint of a key that is yours no more; repeat it."),
    ] = None,
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Sign which keys are yours: your own, those that it signed before, and those that you name.

    Once it is published, nobody who has seen it takes a trust bundle that lists another key in your
    name, nor a key set that no key of this one has signed: keep the private keys of all of them. A
    new key is signed first (--add), listed by the operator then, who gets this file with your new
    enrolment (credproof participant renew --key-set): the one of a home that you enrolled anew is
    its signing.key.pub. One that was lost before it was listed is taken out (--remove); as long as
    it is listed, it must stay.

    A key in your name that your own key has not signed is refused (KEY_NOT_KNOWN) unless you name
    it (--known): see by credproof provider watch when it was listed. Needs no network; goes on from
    the key set that your home accepted last. Prints every key that it signs.

    \b
    Example:
      credproof provider keys sign -o bank.keys.json --home bank
    """
    keys = [read_public(path) for path in add or ()]
    found = Home(home)
    data = sign_keys(found, keys, known or (), remove or (), now=int(time.time()))
    write_file(output, data)
    listed, own = keys_in(data, found.settings.id), found.signer.public.kid
    lines = [f"Key:        {kid}{' (your home signs with it)' * (kid == own)}" for kid in listed]
    told = f"Signed:     {output} (publish it: credproof provider keys publish {output})"
    tell({"file": str(output), "key_set": list(listed)}, *lines, told, as_json=as_json)


@app.command(epilog=EXIT_CODES)
def publish(
    file: Annotated[Path, typer.Argument(help="Your signed key set, as keys sign wrote it.")],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Put your signed key set in force, in place of the one before.

    It must hold every key that the trust bundle lists for you, and be signed by a key of the one in
    force; if all of those are lost, two people let you begin anew (credproof root draft
    --begin-anew). When the service was restored, and
    participants are told that your metadata is left out, publish the file once more. Needs the
    service.

    \b
    Example:
      credproof provider keys publish bank.keys.json --home bank
    """
    found, data = Home(home), read_file(file)
    publish_keys(found, data)
    listed = keys_in(data, found.settings.id)
    told = "Published:  your key set (credproof provider watch shows it)"
    tell({"key_set": list(listed)}, told, as_json=as_json)
