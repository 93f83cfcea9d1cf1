"""`credproof policy`: read, compare, explain and approve policies. `publish` is the server's."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from credproof import standard
from credproof.attestation.schema import Schema
from credproof.base.encoding import DAY_S
from credproof.base.errors import CredproofError, Malformed, Refused
from credproof.cli.metering import meter_json, print_meter
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    out,
    print_error,
    print_json,
    read_file,
    require_writable,
    tell,
    write_file,
)
from credproof.cli.parts import GROUPS
from credproof.home import Home
from credproof.verification.bundle import PolicyPin
from credproof.verification.diff import policy_diff
from credproof.verification.explain import demands, demands_text, policy_text, untouched
from credproof.verification.grammar import parse_policy
from credproof.verification.lint import Lint, lint
from credproof.verification.participant import NEVER
from credproof.verification.policy import Policy
from credproof.verification.proposal import Proposal, parse_proposal, require_timely

DAY, MOMENT = "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"
"""How a day and a time are written and read here: UTC."""
SchemasOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="CREDPROOF_HOME",
        help="Take the schemas in force from this home; the shipped ones if not given.",
    ),
]

app = typer.Typer(help=GROUPS["policy"], no_args_is_help=True)


@app.command("lint", epilog=EXIT_CODES)
def lint_command(
    file: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policies, as YAML.")],
    home: SchemasOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check policies, and show in bits what each reveals at most about a borrower.

    Then how exactly a claim can become known to whoever is answered under all of them: one lender,
    or several who put together what they know. Bands are the parts between neighbouring rungs, a
    cell is what no answer cuts. Refuses what cannot be proved: thresholds off the ladder
    (NOT_ON_LADDER, NO_LADDER), claims that may not be shown (UNPROVABLE), fields that no decision
    about credit may rest on (PROTECTED_FIELD), and a policy that asks more exactly than it
    promises under narrowest (BELOW_NARROWEST). Says what a policy demands of an answer itself: that
    nothing was left out (completeness), that witnesses cosigned (witness). Exit code 1 when one is
    refused. Needs no network.

    \b
    Examples:
      credproof policy lint my-policy.yaml
      credproof policy lint my-policy.yaml another.yaml
    """
    schemas = _schemas(home)
    policies = [_linted(path, schemas, as_json) for path in file]
    found = [(policy, lint(policy)) for policy in policies]
    if as_json:
        each = [_lint_json(policy, item) for policy, item in found]
        named = each[0] if len(each) == 1 else {"policies": each}
        print_json({"ok": True, **named, "meter": meter_json(policies)})
        return
    for policy, item in found:
        _print_lint(policy, item)
    print_meter(policies)


def _linted(path: Path, schemas: Mapping[str, Schema], as_json: bool) -> Policy:
    try:
        return parse_policy(read_file(path), schemas)
    except CredproofError as error:
        if as_json:
            told = {"reason": error.reason, "message": error.message}
            print_json({"ok": False, "file": str(path), **told})
        else:
            print_error(error, path)
        raise typer.Exit(FAILED) from None


def _print_lint(policy: Policy, found: Lint) -> None:
    _print_name(policy)
    for name, bits in found.questions.items():
        out.print(f"  question {name:<31} {bits:>6.2f} bits", markup=False)
    for item in found.claims:
        told = f"{item.parts} parts of at most {item.most}"
        out.print(f"  {item.schema}: {item.claim}: {item.bits:.2f} bits, {told}", markup=False)
    out.print(f"All questions:  {found.asked_bits:.2f} bits, if every verdict were told")
    out.print(
        f"One answer:     {found.told_bits:.2f} bits, by its outcome and what its proofs disclose"
    )
    for line in demands_text(policy, "en").splitlines():
        out.print(f"Demands:        {line}")


def _lint_json(policy: Policy, found: Lint) -> dict[str, object]:
    return {
        "policy": {"id": policy.id, "version": policy.version, "digest": policy.ref.digest.hex()},
        "questions": {name: round(bits, 3) for name, bits in found.questions.items()},
        "claims": [
            {
                "schema": item.schema,
                "claim": item.claim,
                "parts": item.parts,
                "most": item.most,
                "bits": round(item.bits, 3),
            }
            for item in found.claims
        ],
        "asked_bits": round(found.asked_bits, 3),
        "told_bits": round(found.told_bits, 3),
        "demands": list(demands(policy)),
    }


@app.command("diff", epilog=EXIT_CODES)
def diff_command(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A policy.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another version of it.")],
    home: SchemasOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in words what changes between two versions of a policy. Needs no network.

    \b
    Example:
      credproof policy diff standing-1.yaml standing-2.yaml
    """
    schemas = _schemas(home)
    before, after = (parse_policy(read_file(path), schemas) for path in (old, new))
    changes = policy_diff(before, after, standard.text("en"))
    if as_json:
        print_json({"from": before.version, "to": after.version, "changes": changes})
        return
    for line in changes or ["nothing changes but the version"]:
        out.print(line, markup=False)


@app.command("explain", epilog=EXIT_CODES)
def explain_command(
    policy: Annotated[
        str, typer.Argument(metavar="POLICY", help="A policy's file, or its id with --home.")
    ],
    home: SchemasOption = None,
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
) -> None:
    """Tell in plain words what a policy proves, and what it does not touch.

    The same words stand in the notice that a borrower reads. What it demands of an answer itself
    (that nothing was left out, that witnesses cosigned) follows; no notice has that. Needs no
    network.

    \b
    Example:
      credproof policy explain revolving-standing --language en --home lend
    """
    if language not in ("en", "zh"):
        raise Malformed("BAD_LANGUAGE", "there is no explanation in this language: take zh or en")
    found, text = _named(policy, home), standard.text(language)
    typer.echo(policy_text(found, text))
    rest = text.words["separator"].join(untouched([found], language)) or text.words["nothing"]
    typer.echo(text.say("known"))
    typer.echo(text.say("rest", untouched=rest))
    if told := demands_text(found, language):
        typer.echo(told)


def _end(text: str) -> int:
    """The last second of a day, or the one that is named; Unix time."""
    for form, rest in ((DAY, DAY_S - 1), (MOMENT, 0)):
        with suppress(ValueError):
            return int(dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC).timestamp()) + rest
    raise typer.BadParameter("write a day like 2026-12-31, or a time like 2026-12-31T12:00:00Z")


@app.command("sign", epilog=EXIT_CODES)
def sign_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A policy, or a proposal to approve of too.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The proposal to be written.")],
    home: HomeOption = Path(),
    begin: Annotated[
        dt.datetime | None,
        typer.Option(
            "--from",
            formats=[DAY, MOMENT],
            help="In force from (UTC), at most seven days ago; now if not given.",
        ),
    ] = None,
    end: Annotated[
        int | None,
        typer.Option(
            "--until",
            parser=_end,
            metavar="[%Y-%m-%d|%Y-%m-%dT%H:%M:%SZ]",
            help="Its last day, to the end of it, or last second (UTC); without end if not given.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Approve of a policy and its dates, as an operator; two operators must.

    The first names the dates and sends the proposal to the second, who signs it in turn: read it
    with explain and lint before. Dates stand in what is signed; those that can never count are
    refused (BAD_DATES, BACKDATED), as is a home that is no operator's (NOT_AN_OPERATOR). Needs no
    network.

    \b
    Example:
      credproof policy sign my-policy.yaml -o my-policy.proposal --home service/operator
      credproof policy sign my-policy.proposal -o my-policy.proposal --home operator-2
    """
    operator, now = _operator(home), int(time.time())
    data, schemas = read_file(file), _schemas(home)
    if _is_proposal(data):
        if begin or end is not None:
            raise typer.BadParameter("the proposal has its dates: sign it as it is, or begin anew")
        proposal = parse_proposal(data, schemas)
    else:
        policy = parse_policy(data, schemas)
        since, until = _seconds(begin, now), NEVER if end is None else end
        proposal = Proposal(policy, PolicyPin(policy.ref, since, until))
    require_timely(proposal.pin, operator.trust(at=0).bundle.policies, now)
    require_writable(output)
    settings = operator.settings
    signed = proposal.signed(operator.signer, operator=settings.id, domain=settings.domain, now=now)
    write_file(output, signed.to_bytes())
    approvals = len(signed.pin.approvals)
    tell(
        {**pin_json(signed.pin), "approvals": approvals, "file": str(output)},
        *pin_lines(signed.pin),
        f"Approvals:  {approvals} of 2, in {output}",
        as_json=as_json,
    )


def _operator(folder: Path) -> Home:
    """The home of an operator; refuses that of anybody else, whose approval counts nowhere."""
    home = Home(folder)
    if home.settings.role != "operator":
        message = "only operators approve of policies: name an operator's home with --home"
        raise Refused("NOT_AN_OPERATOR", message)
    return home


def moment(seconds: int) -> str:
    """A time in UTC, or `-` for an open end."""
    if seconds == NEVER:
        return "-"
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime(MOMENT)


def pin_lines(pin: PolicyPin) -> tuple[str, ...]:
    """A policy and its dates, for people."""
    return (
        f"Policy:     {pin.ref.id} version {pin.ref.version}",
        f"Digest:     {pin.ref.digest.hex()}",
        f"In force:   {moment(pin.valid_from)} until {moment(pin.valid_until)}",
    )


def pin_json(pin: PolicyPin) -> dict[str, object]:
    """The same as JSON; times are whole seconds."""
    named = {"id": pin.ref.id, "version": pin.ref.version, "digest": pin.ref.digest.hex()}
    return {**named, "from": pin.valid_from, "until": pin.valid_until}


def _print_name(policy: Policy) -> None:
    out.print(f"Policy:     {policy.id} version {policy.version}")
    out.print(f"Digest:     {policy.ref.digest.hex()}")


def _schemas(home: Path | None) -> Mapping[str, Schema]:
    if home is None:
        return standard.schemas()
    return {schema.id: schema for schema in Home(home).trust(at=0).schemas.values()}


def _named(name: str, home: Path | None) -> Policy:
    path = Path(name)
    if path.is_file():
        data, schemas = path.read_bytes(), _schemas(home)
        return (
            parse_proposal(data, schemas).policy
            if _is_proposal(data)
            else parse_policy(data, schemas)
        )
    if home is None:
        raise typer.BadParameter(f"no file {name}: name a file, or an id together with --home")
    return Home(home).trust(at=0).newest_policy(name, int(time.time()))


def _is_proposal(data: bytes) -> bool:
    return data.startswith(b'{"approvals":')


def _seconds(named: dt.datetime | None, default: int) -> int:
    return default if named is None else int(named.replace(tzinfo=dt.UTC).timestamp())
