"""Renewing participants: the key of a new enrolment takes the place of those that are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from credproof.base.errors import Conflict
from credproof.base.keys import DatedKey, PublicKey
from credproof.base.limits import CLOCK_SKEW_S
from credproof.enrolment import Enrolment, verify_enrolment
from credproof.home import Admission
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


def renew(folder: Path, enrolment: bytes, *, root_key: Path | None = None) -> Admission:
    """List the key of this enrolment for the participant of its id; the keys of before end now.

    They stay listed with their end: what they signed until then stays valid. All else that the
    registry says of the participant stays. For a key that is listed it makes another admission.

    Raises:
        Malformed, VerificationFailed: the enrolment is bad; `KEY_NOT_SIGNED` for a key that is not
            in the provider's own key set.
        Conflict: `NO_SUCH_PARTICIPANT`, `OTHER_ROLE`, `OPERATOR_STAYS`, `CUSTODIAN_STAYS`,
            `KEY_ENDED`.
        Unreachable: a service runs, but does not answer.
    """
    directory = ServiceDirectory(folder)
    applicant = verify_enrolment(enrolment, now=now())
    with trust_channel(directory) as channel:
        current = channel.current()
    if is_listed(_renewable(current, applicant), applicant):
        return admission_for(directory, applicant, current)

    def renewed(present: Trust) -> TrustBundle:
        known = _renewable(present, applicant)
        return with_participant(present, known.id, keys=_keys(known, applicant.key))

    return admission_for(directory, applicant, change_bundle(directory, renewed, root_key))


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
