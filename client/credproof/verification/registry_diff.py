"""What changes from one version of the registry to the next, in words for auditors.

A trust bundle is read as statements, each of one place: what a place says can appear, change or go.
So nothing can change that is not told, but the dates of the bundle itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from credproof.attestation.oprf_key import OprfKey
from credproof.attestation.sealing import SealingPublicKey
from credproof.base.encoding import b64url, time_text
from credproof.base.jws import TRUST, parse
from credproof.base.keys import DatedKey
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.verification.acceptance import Acceptance
from credproof.verification.approval import parse_approval
from credproof.verification.bundle import PolicyPin
from credproof.verification.participant import NEVER, Licence, Participant
from credproof.verification.purpose import ANY, Template
from credproof.verification.trust import Trust


class Place(NamedTuple):
    """What a statement is about: of whom (empty for the service), what, and its name there."""

    participant: str
    what: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """What one place said and says; None where it said, or says, nothing."""

    place: Place
    was: str | None
    now: str | None

    @property
    def text(self) -> str:
        """The change in words, without the participant."""
        what, name = self.place.what, self.place.name
        named = f"{what} {name}".rstrip()
        if self.was is None:
            word = f"{named} listed" if name else what
            word = _NEW[what].format(name=name) if what in _NEW else word
            return f"{word}: {self.now}" if self.now else word
        if self.now is None:
            return f"{named} not listed any more" + (f" (was: {self.was})" if self.was else "")
        return f"{_word(self)}{named}: {self.was} -> {self.now}"


_NEW: Final = {
    "participant": "admitted",
    "acceptance": "accepts bindings by",
    "certified for": "certified for {name}",
    "may attest": "may attest {name}",
    "policy": "policy {name} put in force",
}
"""How a new statement begins where `listed` would not be the word."""
_STATUS: Final = {"suspended": "suspended; ", "active": "resumed; "}


def _word(change: Changed) -> str:
    """What becomes of a participant, first of all."""
    was, now = ((text or "").partition(" ")[0] for text in (change.was, change.now))
    return _STATUS.get(now, "") if change.place.what == "status" and was != now else ""


def registry_changes(before: Trust | None, now: Trust) -> list[Changed]:
    """One item per change; none when only the bundle's own dates and version are new.

    Raises:
        Malformed: as `parse_approval`; a bundle that was verified raises nothing.
    """
    old = {} if before is None else _statements(before)
    new = _statements(now)
    found = [
        Changed(place, old.get(place), new.get(place))
        for place in dict.fromkeys((*new, *old))
        if old.get(place) != new.get(place)
    ]
    return [change for change in found if not _goes_without_saying(change)]


def _goes_without_saying(change: Changed) -> bool:
    """Whoever is admitted is active."""
    is_new = change.place.what == "status" and change.was is None
    return is_new and (change.now or "").startswith("active ")


def _statements(trust: Trust) -> Mapping[Place, str]:
    """What a bundle says; two things of one place are said one after the other."""
    found: dict[Place, str] = {}
    for place, text in (*_participants(trust), *_service(trust), *_keys(trust)):
        found[place] = f"{found[place]}; {text}" if place in found else text
    return found


def _participants(trust: Trust) -> Iterator[tuple[Place, str]]:
    for one in trust.bundle.participants:
        yield Place(one.id, "participant"), f"{one.role}, {one.title}"
        yield Place(one.id, "status"), f"{one.status} since {time_text(one.since)}"
        for key in one.keys:
            yield Place(one.id, "key", key.public.kid), _dates(key.not_before, key.not_after)
        for digest in one.schemas:
            yield Place(one.id, "may attest", _schema(trust, digest)), ""
        yield from _licence(one.id, one.licence)
        for purpose, until in one.certified.items():
            yield Place(one.id, "certified for", purpose), f"until {_until(until)}"
        yield from _acceptances(trust, one)


def _acceptances(trust: Trust, one: Participant) -> Iterator[tuple[Place, str]]:
    if one.acceptance:
        yield Place(one.id, "acceptance"), _binders(trust.acceptances[one.id])
    for former, accepted in trust.former_acceptances.get(one.id, ()):
        dates = _dates(former.valid_from, former.valid_until)
        yield Place(one.id, "former acceptance", dates), _binders(accepted)


def _binders(accepted: Acceptance) -> str:
    named = ", ".join(accepted.binders) or "nobody else"
    return f"{named}, signed {time_text(accepted.issued_at)}"


def _licence(owner: str, licence: Licence | None) -> Iterator[tuple[Place, str]]:
    if licence is not None:
        yield (
            Place(owner, "licence", licence.number),
            _dates(licence.valid_from, licence.valid_until),
        )


def _service(trust: Trust) -> Iterator[tuple[Place, str]]:
    bundle = trust.bundle
    yield Place("", "domain"), bundle.domain
    yield from _licence("", bundle.bureau)
    for digest in bundle.schemas:
        yield Place("", "schema", _schema(trust, digest)), b64url(digest)
    for pin in bundle.policies:
        yield Place("", "policy", _policy(pin)), _in_force(pin)
    for digest, text in trust.texts.items():
        yield Place("", "text", f"{text.language} {text.version}, digest {b64url(digest)}"), ""
    for template in bundle.purposes:
        whose = "any lender" if template.lender == ANY else f"lender {template.lender}"
        yield Place("", "purpose", f"{template.purpose} of {whose}"), _fair(template)
    for party in bundle.relying_parties:
        name = f"{party.id} from {time_text(party.valid_from)}"
        pages = ", ".join(party.origins)
        yield Place("", "passkeys of", name), f"{pages}, until {_until(party.valid_until)}"
    yield Place("", "quorum"), _one_line(bundle.quorum) or "nobody"
    for former in bundle.former_quorums:
        yield (
            Place("", "former quorum", f"until {_until(former.valid_until)}"),
            _one_line(former.text),
        )


def _keys(trust: Trust) -> Iterator[tuple[Place, str]]:
    """The service's own keys; where there are several, the last one is the newest."""
    bundle, signer = trust.bundle, parse(trust.token, TRUST, limit=TRUST_BYTES_MAX).kid
    yield Place("", "root key"), signer
    yield Place("", "log key"), bundle.log_vkey
    for number, vkey in enumerate(bundle.old_logs, 1):
        yield Place("", "former log key", str(number)), vkey
    if bundle.log_cosigner:
        yield Place("", "log's ML-DSA-44 key"), bundle.log_cosigner
    yield Place("", "directory key"), b64url(bundle.directory_key)
    for number, key in enumerate(bundle.answer_keys, 1):
        yield Place("", "answer key", str(number)), _answer_key(key)
    for number, sealing in enumerate(bundle.sealing_keys, 1):
        yield Place("", "sealing key", str(number)), SealingPublicKey(sealing).kid
    for number, shared in enumerate(bundle.oprf_keys, 1):
        yield Place("", "pseudonym key", str(number)), _shares(shared)


def _answer_key(key: DatedKey) -> str:
    return f"{key.public.kid}, {_dates(key.not_before, key.not_after)}"


def _shares(key: OprfKey) -> str:
    holders = (f"{s.holder} {s.address}".rstrip() for s in key.shares)
    return f"{key.id}, held by {', '.join(holders)}"


def _schema(trust: Trust, digest: bytes) -> str:
    found = trust.schemas.get(digest)
    return found.id if found else b64url(digest)


def _policy(pin: PolicyPin) -> str:
    ref = pin.ref
    return f"{ref.id} {ref.version}, digest {b64url(ref.digest)}"


def _in_force(pin: PolicyPin) -> str:
    approvals = (parse_approval(text) for text in pin.approvals)
    who = ", ".join(f"{one.operator} {time_text(one.issued_at)}" for one in approvals)
    return f"{_dates(pin.valid_from, pin.valid_until)}, approved by {who}"


def _fair(template: Template) -> str:
    return (
        f"{template.answers_per_month} answers a month, kept for {template.data_life_days} days,"
        f" over {template.window_days} days, consent of {template.consent_days} days"
    )


def _one_line(text: str) -> str:
    return "; ".join(line for line in text.splitlines() if line.strip())


def _dates(start: int, end: int) -> str:
    return f"from {time_text(start)} until {_until(end)}"


def _until(time: int) -> str:
    return "it is ended" if time == NEVER else time_text(time)
