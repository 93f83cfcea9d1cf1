"""Renewing participants: the key of a new enrolment takes the place of those that are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from credproof.base.errors import Conflict
from credproof.base.keys import DatedKey, PublicKey
from credproof.base.limits import CLOCK_SKEW_S
from credproof.enrolment import Enrolment, verify_enrolment
from credproof.home import Admission
from credproof.updating.metadata import provider_role
from credproof.verification.bundle import TrustBundle
from credproof.verification.participant import NEVER, Participant
from credproof.verification.trust import Trust

from credproof_server.admission import (
    admission_for,
    change_bundle,
    is_listed,
    require_changeable,
    trust_channel,
    with_participant,
)
from credproof_server.directory import ServiceDirectory, now


class Renewed(NamedTuple):
    """The admission of a participant that was renewed.

    `is_changed` says whether this listed its key, `is_suspended` whether it is so all the same.
    """

    admission: Admission
    is_changed: bool
    is_suspended: bool


def renew(
    folder: Path, enrolment: bytes, *, root_key: Path | None = None, key_set: bytes = b""
) -> Renewed:
    """List the key of this enrolment for the participant of its id; the keys of before end now.

    They stay listed with their end: what they signed until then stays valid. All else that the
    registry says of the participant stays. For a key that is listed it makes another admission.
    `key_set` is a provider's own, signed: it comes into force with the key, in one commit. So a
    provider that is suspended is renewed without letting in whoever stole its home.

    Raises:
        Malformed, VerificationFailed: the enrolment is bad; `KEY_NOT_SIGNED` for a key that is not
            in the provider's own key set; as `Distribution.accept`.
        Conflict: `NO_SUCH_PARTICIPANT`, `OTHER_ROLE`, `OPERATOR_STAYS`, `CUSTODIAN_STAYS`,
            `KEY_ENDED`; `TUF_VERSION` for a key set that another one has overtaken.
        Unreachable: a service runs, but does not answer.
    """
    directory = ServiceDirectory(folder)
    applicant = verify_enrolment(enrolment, now=now())
    with trust_channel(directory) as channel:
        current = channel.current()
    if is_listed(_renewable(current, applicant), applicant):
        return _admitted(directory, applicant, current, is_changed=False)

    def renewed(present: Trust) -> TrustBundle:
        known = _renewable(present, applicant)
        return with_participant(present, known.id, keys=_keys(known, applicant.key))

    sets = {provider_role(applicant.id): key_set} if key_set else {}
    trust = change_bundle(directory, renewed, root_key, key_sets=sets)
    return _admitted(directory, applicant, trust, is_changed=True)


def _admitted(
    directory: ServiceDirectory, applicant: Enrolment, trust: Trust, *, is_changed: bool
) -> Renewed:
    is_suspended = trust.participants[applicant.id].status != "active"
    return Renewed(admission_for(directory, applicant, trust), is_changed, is_suspended)


def _renewable(current: Trust, applicant: Enrolment) -> Participant:
    known = require_changeable(current.participants.get(applicant.id))
    if known.role != applicant.role:
        message = f"a participant of this id is a {known.role}: enrol for that role"
        raise Conflict("OTHER_ROLE", message)
    if known.key(applicant.key.kid) and not is_listed(known, applicant):
        raise Conflict("KEY_ENDED", "this key has ended: enrol in a new home, with new keys")
    return known


def _keys(known: Participant, fresh: PublicKey) -> tuple[DatedKey, ...]:
    time = now()
    ended = (replace(key, not_after=min(key.not_after, time)) for key in known.keys)
    return (*ended, DatedKey(fresh, time - CLOCK_SKEW_S, NEVER))
