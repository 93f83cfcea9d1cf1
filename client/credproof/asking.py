"""A question on its way: what a lender keeps of it, and the request that puts it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.attestation.pseudonym import Transcript
from credproof.base.errors import VerificationFailed
from credproof.records.asks import Ask
from credproof.v1 import verification_service_pb2 as pb
from credproof.verification.answer import NONCE_BYTES, REQUEST_ID_BYTES, SALT_BYTES, Kept, Reference
from credproof.verification.bundle import RelyingParty
from credproof.verification.consent import VerifiedConsent, verify_consent
from credproof.verification.policy import PolicyRef
from credproof.wire import ask as ask_wire


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is put: with its nonce, request id and transcript.

    `again`: it may have been answered before, so its answer is judged as of the time it was given.
    """

    ask: Ask
    kept: Kept
    again: bool = False


def new_kept(transcript: Transcript, case: str, staff: str) -> Kept:
    """A new question's own values; `case` and `staff` are salted."""
    return Kept(
        nonce=secrets.token_bytes(NONCE_BYTES),
        request_id=secrets.token_bytes(REQUEST_ID_BYTES),
        case=Reference(case, secrets.token_bytes(SALT_BYTES)),
        staff=Reference(staff, secrets.token_bytes(SALT_BYTES)),
        transcript=transcript,
    )


def ask_request(asked: Asked, parties: Sequence[RelyingParty] = ()) -> pb.AskRequest:
    """The message that puts a question.

    Raises:
        CredproofError: as `verify_consent`, `policy_ref`.
    """
    consent = verify_consent(asked.ask.consent, parties)
    return ask_wire.request(
        asked.kept, consent.terms.sub, policy_ref(consent, asked.ask.policy_id), consent.id
    )


def policy_ref(consent: VerifiedConsent, policy_id: str) -> PolicyRef:
    """The policy of this id that the consent names, by exactly its digest.

    Raises:
        VerificationFailed: `CONSENT_OTHER_POLICY`.
    """
    for ref in consent.terms.policies:
        if ref.id == policy_id:
            return ref
    raise VerificationFailed("CONSENT_OTHER_POLICY", "the consent does not name this policy")
