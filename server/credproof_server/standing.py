"""Changing what the registry allows: licences, certified purposes, templates, the bureau.

Each change puts a new trust bundle in force at once, also of a running service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from credproof.base.errors import Conflict
from credproof.base.limits import CERTIFICATION_MAX_S
from credproof.verification.acceptance import Acceptance, parse_acceptance
from credproof.verification.bundle import RelyingParty, TrustBundle
from credproof.verification.participant import Licence, Participant
from credproof.verification.purpose import ANY, Template, parse_template
from credproof.verification.trust import Trust

from credproof_server.admission import change_bundle, trust_channel, with_participant
from credproof_server.directory import ServiceDirectory, now


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

    Raises:
        Conflict: `NO_SUCH_PARTICIPANT`.
        CredproofError: it is not that provider's own word, or names a binder who is unknown.
    """
    acceptance = parse_acceptance(text)

    def changed(current: Trust) -> TrustBundle:
        if acceptance.provider not in current.participants:
            raise _unknown()
        return with_participant(current, acceptance.provider, acceptance=text)

    change_bundle(ServiceDirectory(folder), changed, root_key)
    return acceptance


def set_page(folder: Path, party: RelyingParty, *, root_key: Path | None = None) -> None:
    """Let passkeys of this party count, on these pages only; in place of what was said before."""

    def changed(current: Trust) -> TrustBundle:
        others = tuple(p for p in current.bundle.relying_parties if p.id != party.id)
        return replace(current.bundle, relying_parties=(*others, party))

    change_bundle(ServiceDirectory(folder), changed, root_key)


def set_bureau(folder: Path, licence: Licence, *, root_key: Path | None = None) -> None:
    """Enter the operator's own licence as a credit bureau, in place of the one before."""
    directory = ServiceDirectory(folder)
    change_bundle(directory, lambda current: replace(current.bundle, bureau=licence), root_key)
