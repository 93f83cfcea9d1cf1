"""An answer as a regulator reads it years later: one HTML page, complete in itself.

It needs nothing from elsewhere: no script, no style sheet, no picture. Whatever came from somebody
is escaped, so an answer puts nothing into the page but its text.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.auditing.stamping import StampProof
from credproof.base.errors import CredproofError
from credproof.log.proof import TlogProof, format_proof
from credproof.verification.answer import AnswerBundle, Logged, parse_answer
from credproof.verification.trust import Trust
from credproof.verification.verify import CHECKS, Expectations, VerifiedAnswer, verify_answer


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of the numbered checks: the answer, or the error of the first that failed."""

    verified: VerifiedAnswer | None
    error: CredproofError | None

    def result(self, number: int) -> str:
        """What came of a check, in words."""
        if self.verified is not None:
            return "not shown" if number == len(CHECKS) - 1 else "passed"
        failed = self.error.step if self.error is not None else None
        if failed is None or number > failed:
            return "not reached"
        return "passed" if number < failed else "FAILED"


def judge(bundle: AnswerBundle, trust: Trust, lender: str, now: int) -> Judged:
    """All checks, as of the answer's time, without pins."""
    expected = Expectations(lender=lender, now=now, mode="as-of-answer", pins={})
    try:
        return Judged(verify_answer(bundle, trust, expected), None)
    except CredproofError as error:
        return Judged(None, error)


def page(
    bundle: AnswerBundle,
    trust: Trust,
    history: Sequence[Trust],
    *,
    now: int,
    stamp: StampProof | None = None,
) -> bytes:
    """The page about an answer, under the newest trust bundle, with the registry's history.

    `stamp` is a timestamp that covers the answer's entry, verified, if one is kept.

    Raises:
        Malformed: as `parse_answer`: what is no answer has no page.
    """
    _, answer = parse_answer(bundle.answer)
    judged = judge(bundle, trust, answer.lender, now)
    parts = (
        _summary(bundle, judged, now),
        _checks(judged),
        _keys(bundle, trust, history),
        _entries(bundle),
        _stamp(stamp),
        _documents(bundle),
        _HOW,
    )
    return (_HEAD + "\n".join(parts) + "</body></html>\n").encode()


def _summary(bundle: AnswerBundle, judged: Judged, now: int) -> str:
    _, answer = parse_answer(bundle.answer)
    outcome = answer.outcome
    came = " ".join(filter(None, (outcome.kind, outcome.tier, ", ".join(outcome.reasons))))
    rows = [
        ("Result", "every check that can be done passed" if judged.verified else "NOT verified"),
        ("Why not", "" if judged.error is None else f"{judged.error} ({judged.error.reason})"),
        ("Service", answer.domain),
        ("Lender", answer.lender),
        ("Given", _time(answer.issued_at)),
        ("Policy", f"{answer.policy.id} {answer.policy.version}, {answer.policy.digest.hex()}"),
        ("Consent", answer.consent.hex()),
        ("Pseudonym", answer.sub.hex()),
        ("Outcome", came),
        *((f"Question {r.question}", f"{r.verdict}, data of {r.as_of}") for r in answer.results),
        ("This page", f"made on {_time(now)}"),
    ]
    return "<h1>Evidence of an answer</h1>" + _table(row for row in rows if row[1])


def _checks(judged: Judged) -> str:
    rows = [(f"{i}. {name}", judged.result(i)) for i, name in enumerate(CHECKS)]
    note = "<p>Checks as of the answer's time; completeness and witnesses are not shown.</p>"
    return "<h2>Numbered checks</h2>" + _table(rows) + note


def _keys(bundle: AnswerBundle, trust: Trust, history: Sequence[Trust]) -> str:
    """Every key of the log, the service, the lender and the providers, since which version."""
    _, answer = parse_answer(bundle.answer)
    versions = history or [trust]
    since: dict[tuple[str, str], int] = {}
    for item in versions:
        for named in _listed(item, answer.lender):
            since.setdefault(named, item.bundle.version)
    rows = [(whose, f"{key}, since version {at}") for (whose, key), at in since.items()]
    told = f"Versions {versions[0].bundle.version} to {versions[-1].bundle.version} of the registry"
    algorithms = (
        "Signatures: Ed25519 or ECDSA P-256 (JWS, RFC 7515). Digests and chains: SHA-256. Tree: RFC"
        " 9162. Attestations: SD-JWT (RFC 9901). Pseudonym: RFC 9497, ristretto255."
    )
    return f"<h2>Algorithms and keys</h2><p>{algorithms}</p><p>{told}.</p>" + _table(rows)


def _listed(trust: Trust, lender: str) -> Iterable[tuple[str, str]]:
    yield "log", trust.bundle.log_vkey
    for dated in trust.bundle.answer_keys:
        yield "answers", f"{dated.public.kid} ({_time(dated.not_before)} on)"
    for participant in trust.bundle.participants:
        if participant.role == "provider" or participant.id == lender:
            for dated in participant.keys:
                yield f"{participant.role} {participant.id}", dated.public.kid


def _entries(bundle: AnswerBundle) -> str:
    places = [("The answer", bundle.logged)]
    places += [(f"Token {i}", item.logged) for i, item in enumerate(bundle.tokens, 1)]
    places += [(f"Key binding {i}", item.logged) for i, item in enumerate(bundle.bindings, 1)]
    parts = [_entry(title, place, bundle.checkpoint) for title, place in places]
    return "<h2>Log entries and their proofs</h2>" + "".join(parts)


def _entry(title: str, place: Logged, checkpoint: bytes) -> str:
    proof = format_proof(TlogProof(place.log_index, place.hashes, checkpoint))
    shown = _block(place.line) + "<p>tlog-proof:</p>" + _block(proof)
    return f"<h3>{_text(title)}: entry {place.log_index}</h3>{shown}"


def _stamp(found: StampProof | None) -> str:
    """By when the answer's entry was logged, by somebody else's clock."""
    title = "<h2>Timestamp</h2>"
    if found is None:
        return f"{title}<p>Not shown: no trusted timestamp that covers the answer is kept.</p>"
    stamped = found.stamped
    told = _text(f"Logged before {_time(stamped.time)}, by the clock of {stamped.authority}.")
    what = (
        "The proof has the stamped checkpoint; what was stamped is the SHA-256 of its text, up to"
        " the blank line. The timestamp (RFC 3161) is shown in base64."
    )
    proof, response = format_proof(found.proof), base64.encodebytes(found.kept.response)
    shown = f"<p>tlog-proof:</p>{_block(proof)}<p>Timestamp:</p>{_block(response)}"
    return f"{title}<p>{told} {what}</p>{shown}"


def _documents(bundle: AnswerBundle) -> str:
    named = [("Answer (JWS)", bundle.answer), ("Consent", bundle.consent)]
    named += [(f"Token {i}", item.token) for i, item in enumerate(bundle.tokens, 1)]
    named += [(f"Key binding {i}", item.token) for i, item in enumerate(bundle.bindings, 1)]
    shown = "".join(f"<h3>{title}</h3>{_block(text.encode())}" for title, text in named)
    return "<h2>Signed documents</h2>" + shown


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _block(data: bytes) -> str:
    return f"<pre>{_text(data.decode('utf-8', 'replace'))}</pre>"


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _time(time: int) -> str:
    if not 0 <= time < 253_402_300_800:
        return f"{time} s"
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evidence of an answer</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{font:16px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
th{text-align:left;vertical-align:top;padding-right:1em}td{overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#eee;padding:.5em}</style></head><body>
"""
_HOW: Final = """<h2>How to check it with other tools</h2>
<p>Every block above is verbatim. An entry is one line, without a newline at its end; its leaf hash
is SHA-256 of a zero byte and the line. A tlog-proof (C2SP) ends with the checkpoint, a signed note
(C2SP) by the log's key; golang.org/x/mod/sumdb/note and tlog verify both. A timestamp, out of
base64, is checked by openssl ts -verify, with the text of its checkpoint as the data and the
authority's certificates, which come from elsewhere. The answer, the
consent and the tokens are compact JWS: any JOSE library verifies them, under the keys of the
trust bundle or, for a consent, under the one that it carries. An entry's object is SHA-256 of
a token's header and payload, joined by a dot. The trust bundle is signed by the operator's
offline root, whose fingerprint comes from elsewhere. The *.answer file itself verifies with
credproof lender verify.</p>
"""
