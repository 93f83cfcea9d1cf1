"""Changing what the registry allows: licences, certified purposes, templates, the bureau.

Each change puts a new trust bundle in force at once, also of a running service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from credproof.base.errors import Conflict, Malformed
from credproof.base.limits import CERTIFICATION_MAX_S
from credproof.base.url import origin_of
from credproof.verification.acceptance import Acceptance, parse_acceptance
from credproof.verification.bundle import RelyingParty, TrustBundle, is_domain
from credproof.verification.participant import FormerAcceptance, Licence, Participant
from credproof.verification.purpose import ANY, Template, parse_template
from credproof.verification.trust import Trust

from credproof_server.admission import change_bundle, trust_channel, with_participant
from credproof_server.directory import ServiceDirectory, now

LOCALHOST: Final = "localhost"
"""Browsers let passkeys be used there, by plain http too."""


def set_licence(
    folder: Path, lender: str, licence: Licence | None, *, root_key: Path | None = None
) -> None:
    """Enter a lender's licence, in place of the one before; None takes it away.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`, `NOT_A_LENDER`.
    """

    def changed(current: Trust) -> TrustBundle:
        _lender(current, lender)
        return with_participant(current, lender, licence=licence)

    change_bundle(ServiceDirectory(folder), changed, root_key)


def certify(
    folder: Path, lender: str, until: Mapping[str, int], *, root_key: Path | None = None
) -> None:
    """Enter until when, in whole seconds, a lender has certified purposes; others stay.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`, `NOT_A_LENDER`, `CERTIFIED_TOO_FAR`.
    """
    if any(time > now() + CERTIFICATION_MAX_S for time in until.values()):
        raise Conflict("CERTIFIED_TOO_FAR", "a purpose is certified for at most 366 days")

    def changed(current: Trust) -> TrustBundle:
        certified = {**_lender(current, lender).certified, **until}
        return with_participant(current, lender, certified=certified)

    change_bundle(ServiceDirectory(folder), changed, root_key)


def _lender(current: Trust, participant_id: str) -> Participant:
    found = current.participants.get(participant_id)
    if found is None:
        raise _unknown()
    if found.role != "lender":
        raise Conflict("NOT_A_LENDER", "only lenders carry a licence and certify purposes")
    return found


def _unknown() -> Conflict:
    return Conflict(
        "NO_SUCH_PARTICIPANT", "nobody of this id was admitted: see credproof participant list"
    )


def templates(folder: Path) -> tuple[Template, ...]:
    """What is fair for each purpose: per purpose the one for any lender, then those of lenders."""
    with trust_channel(ServiceDirectory(folder)) as channel:
        found = channel.current().bundle.purposes
    return tuple(sorted(found, key=lambda item: (item.purpose, item.lender != ANY, item.lender)))


def set_template(folder: Path, template: Template, *, root_key: Path | None = None) -> None:
    """Put a template in force, in place of the one for the same lender and purpose.

    Raises:
        Malformed: `BAD_TRUST` for an unknown purpose, or one that allows nothing.
        Conflict: `NO_SUCH_PARTICIPANT`, `NOT_A_LENDER`.
    """
    parse_template(template.to_json())

    def changed(current: Trust) -> TrustBundle:
        if template.lender != ANY:
            _lender(current, template.lender)
        others = _others(current.bundle.purposes, template.lender, template.purpose)
        return replace(current.bundle, purposes=(*others, template))

    change_bundle(ServiceDirectory(folder), changed, root_key)


def remove_template(
    folder: Path, lender: str, purpose: str, *, root_key: Path | None = None
) -> None:
    """Take a template away: without one, the purpose is refused.

    Raises:
        Conflict: `NO_SUCH_TEMPLATE`.
    """

    def changed(current: Trust) -> TrustBundle:
        others = _others(current.bundle.purposes, lender, purpose)
        if len(others) == len(current.bundle.purposes):
            raise Conflict("NO_SUCH_TEMPLATE", "no such template: see credproof purpose list")
        return replace(current.bundle, purposes=others)

    change_bundle(ServiceDirectory(folder), changed, root_key)


def _others(found: Sequence[Template], lender: str, purpose: str) -> tuple[Template, ...]:
    return tuple(item for item in found if (item.lender, item.purpose) != (lender, purpose))


def set_acceptance(folder: Path, text: str, *, root_key: Path | None = None) -> Acceptance:
    """Enter a provider's own word about whose key bindings count for it; gives what it says.

    What it said before ends, and stays listed: answers of then rest on it.

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`.
        CredproofError: it is not that provider's own word, or names a binder who is unknown.
    """
    acceptance = parse_acceptance(text)

    def changed(current: Trust) -> TrustBundle:
        if acceptance.provider not in current.participants:
            raise _unknown()
        former = _former(current, acceptance.provider, text, now())
        changes = {"acceptance": text, "former_acceptances": former}
        return with_participant(current, acceptance.provider, **changes)

    change_bundle(ServiceDirectory(folder), changed, root_key)
    return acceptance


def _former(current: Trust, provider: str, text: str, at: int) -> tuple[FormerAcceptance, ...]:
    """What a provider accepted before this time, the present word too if another follows it."""
    listed = current.participants[provider]
    former, ending = listed.former_acceptances, current.acceptances.get(provider)
    if ending is None or not ending.binders or listed.acceptance == text:
        return former
    begun = max(ending.issued_at, *(item.valid_until for item in former), 0)
    since = min(begun, at)
    return (*former, FormerAcceptance(listed.acceptance, since, max(since, at - 1)))


def set_page(folder: Path, party: RelyingParty, *, root_key: Path | None = None) -> None:
    """Let passkeys of this party count from now on, on these pages only.

    What was said before ends: what was signed then stays valid.

    Raises:
        Malformed: `BAD_PAGE`.
    """
    _require_pages(party)

    def changed(current: Trust) -> TrustBundle:
        time = now()
        ended = _ended(current.bundle.relying_parties, party.id, time)
        found = (*ended, replace(party, valid_from=time))
        return replace(current.bundle, relying_parties=found)

    change_bundle(ServiceDirectory(folder), changed, root_key)


def end_page(folder: Path, rp_id: str, *, root_key: Path | None = None) -> None:
    """Let nothing new be signed by passkeys of this party; what was signed stays valid.

    Raises:
        Conflict: `NO_SUCH_PAGE`.
    """

    def changed(current: Trust) -> TrustBundle:
        before = current.bundle.relying_parties
        ended = _ended(before, rp_id, now())
        if ended == before:
            raise Conflict("NO_SUCH_PAGE", "no passkeys of it count: see credproof passkeys DIR")
        return replace(current.bundle, relying_parties=ended)

    change_bundle(ServiceDirectory(folder), changed, root_key)


def pages(folder: Path) -> tuple[RelyingParty, ...]:
    """Where passkeys count and counted: by RP id, the oldest first."""
    with trust_channel(ServiceDirectory(folder)) as channel:
        found = channel.current().bundle.relying_parties
    return tuple(sorted(found, key=lambda party: (party.id, party.valid_from, party.valid_until)))


def _ended(found: Sequence[RelyingParty], rp_id: str, at: int) -> tuple[RelyingParty, ...]:
    """The same parties, of which the one of this id is in force no more at this time.

    One that began in this very second lasts for it: it may have been used.
    """
    return tuple(
        replace(party, valid_until=max(party.valid_from, at - 1))
        if party.id == rp_id and party.valid_until >= at
        else party
        for party in found
    )


def _require_pages(party: RelyingParty) -> None:
    """What a browser would refuse too (WebAuthn level 2, sections 5.1.3 and 7.2)."""
    labels = party.id.split(".")
    if not is_domain(party.id) or labels[-1].isdecimal():
        raise Malformed("BAD_PAGE", "DOMAIN is a domain name, in lower case, and no address")
    if len(labels) == 1 and party.id != LOCALHOST:
        raise Malformed("BAD_PAGE", "DOMAIN has a dot in it, or is localhost")
    if not party.origins:
        raise Malformed("BAD_PAGE", "name at least one page, like https://consent.example")
    for origin in party.origins:
        _require_origin(origin, party.id)


def _require_origin(text: str, rp_id: str) -> None:
    try:
        found = origin_of(text)
    except Malformed as error:
        message = "a page is https://host or https://host:port; http on localhost only"
        raise Malformed("BAD_PAGE", message) from error
    if found != text:
        raise Malformed("BAD_PAGE", "a page is scheme, host and port only, no path")
    host = text.partition("://")[2].partition(":")[0]
    if host != rp_id and not host.endswith(f".{rp_id}"):
        raise Malformed("BAD_PAGE", "a page is on DOMAIN itself or on a host below it")


def set_bureau(folder: Path, licence: Licence, *, root_key: Path | None = None) -> None:
    """Enter the operator's own licence as a credit bureau, in place of the one before."""
    directory = ServiceDirectory(folder)
    change_bundle(directory, lambda current: replace(current.bundle, bureau=licence), root_key)
