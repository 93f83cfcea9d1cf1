"""Giving answers: what depends on state is decided here, in the commit that logs and keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import canonical_json, frame, tagged_hash
from credproof.base.errors import Conflict, CredproofError, Refused, Unreachable
from credproof.base.jws import token_id
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.answer import ENTRY_ANSWER, AnswerBundle, answer_commitment
from credproof.verification.answer_entry import (
    AFTER_CONSENT,
    ENTRY_REFUSED,
    Asked,
    GivenEntry,
    RefusedEntry,
)
from credproof.verification.evaluation import Evaluation
from credproof.verification.policy import Policy, PolicyRef
from credproof.wire import answer as wire

from credproof_server.conduct.rules import Rules
from credproof_server.log.state import Transaction
from credproof_server.service.consents import consent_expired, consent_paused, consent_revoked
from credproof_server.service.core import fresh_salt
from credproof_server.service.fair_use import require_room
from credproof_server.service.metering import require_wide
from credproof_server.service.monitoring import Watch
from credproof_server.service.uses import Uses
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ROW = "answer"
VERDICTS_ROW = "verdicts"


@dataclass(frozen=True, slots=True)
class Ask:
    """A lender's question. Digests and ids have 32 bytes, `request_id` 16."""

    lender: str
    request_id: bytes
    nonce: bytes
    sub: bytes
    policy: PolicyRef
    consent_id: bytes
    case_digest: bytes
    staff_digest: bytes

    @property
    def name(self) -> tuple[str, bytes]:
        """What identifies the request: each lender chooses its own ids."""
        return self.lender, self.request_id

    @property
    def digest(self) -> bytes:
        """What must be the same when the same request id comes again."""
        policy = (self.policy.id.encode(), str(self.policy.version).encode(), self.policy.digest)
        parts = (self.nonce, self.sub, *policy, self.consent_id)
        return tagged_hash("ask", *parts, self.case_digest, self.staff_digest)


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it is logged: signed, but without its places in the log."""

    ask: Ask
    issued_at: int
    trust_version: int
    answer: str
    bundle: AnswerBundle
    policy: Policy
    once: bool
    expires_at: int
    evaluation: Evaluation
    token_ids: tuple[bytes, ...]
    key: DataKey


Settled = int | None | CredproofError
"""What the commit made of it: a draft became the log index of its answer, or None when the
request has an answer already."""


def answer_name(lender: str, request_id: bytes) -> bytes:
    """The name that a stored answer is sealed under."""
    return frame((lender.encode(), request_id))


class Settle:
    """Gives the answers of some drafts, each by itself and in order, and logs the refusals.

    Takes what was drafted or refused, each with its question; gives what became of each.
    """

    def __init__(self, rules: Rules, undecided: Sequence[tuple[Ask, Draft | Refused]]) -> None:
        self._rules = rules
        self._undecided = undecided

    def apply(self, tx: Transaction) -> tuple[Settled, ...]:
        state = Settlement(tx, [item for _, item in self._undecided if isinstance(item, Draft)])
        watch = Watch(tx, self._rules, [ask for ask, _ in self._undecided])
        settled = tuple(_settle(state, watch, ask, item) for ask, item in self._undecided)
        repository.add_answers(tx.connection, list(state.given.values()))
        watch.flush()
        return settled


def _settle(state: Settlement, watch: Watch, ask: Ask, item: Draft | Refused) -> Settled:
    found = watch.throttle(ask.lender) or item
    result = _give(state, found) if isinstance(found, Draft) else found
    if isinstance(found, Draft) and isinstance(result, int):
        watch.answered(ask, found.key, result)
    if isinstance(result, Refused):
        watch.refused(ask, result.reason, _log_refusal(state.tx, ask, result))
    return result


def _give(state: Settlement, draft: Draft) -> Settled:
    try:
        return state.give(draft)
    except CredproofError as error:
        return error  # it is raised before anything is written: nothing has to be taken back


def _log_refusal(tx: Transaction, ask: Ask, error: Refused) -> int:
    """Who asked under what, and a digest of the question; gives the log index."""
    salt = fresh_salt()
    digest = tagged_hash("refusal", salt, ask.digest)
    consent = ask.consent_id if error.reason in AFTER_CONSENT else None
    entry = RefusedEntry(_asked(tx, ask), consent, error.reason)
    return tx.append(ENTRY_REFUSED, ask.lender, digest, salt=salt, fields=entry.fields())


def _asked(tx: Transaction, ask: Ask) -> Asked:
    """What the log may say of a question; of a policy that nobody pinned, nothing."""
    assert tx.trust is not None
    policy = tx.trust.policies.get(ask.policy)
    if policy is None:
        return Asked(None, None, ask.case_digest, ask.staff_digest)
    return Asked(policy.ref, policy.purpose, ask.case_digest, ask.staff_digest)


class Settlement:
    """What decides about some drafts, each kind looked up once in their commit.

    `given` are the rows of the answers that were given so far, by the names of their requests.
    """

    def __init__(self, tx: Transaction, drafts: Sequence[Draft]) -> None:
        asks = [draft.ask for draft in drafts]
        subs = {ask.sub for ask in asks}
        self.tx = tx
        self.given: dict[tuple[str, bytes], dict[str, object]] = {}
        self._answered = repository.answers_to(tx.connection, [ask.name for ask in asks])
        self._consents = repository.consents_by_id(tx.connection, [a.consent_id for a in asks])
        self._paused = repository.paused(tx.connection, [a.consent_id for a in asks])
        self._current = repository.current_tokens(tx.connection, subs)
        self._uses = Uses(tx, [(draft.ask, draft.policy.cap) for draft in drafts])

    def give(self, draft: Draft) -> int | None:
        """Log the answer: its log index; None when the request has an answer already.

        Raises:
            Refused, Conflict, Unreachable: nothing is written.
        """
        ask = draft.ask
        if ask.name in self._answered or ask.name in self.given:
            return None
        self._require_consent(draft)
        self._require_same_world(draft)
        index = _log(self.tx, draft)
        self.given[ask.name] = _row(self.tx, draft, index)
        self._uses.add(ask)
        return index

    def _require_consent(self, draft: Draft) -> None:
        ask = draft.ask
        row = self._consents.get(ask.consent_id)
        if self.tx.time > draft.expires_at:
            raise consent_expired()
        if row is None or row.revoked_index is not None:
            raise consent_revoked()
        if ask.consent_id in self._paused:
            raise consent_paused()
        if draft.once and self._uses.any_under(ask.consent_id):
            raise Refused("CONSENT_USED_UP", "this consent was for one answer, which was given")
        if self._uses.of(ask, draft.policy.cap) >= draft.policy.cap.count:
            raise Refused("CAP_REACHED", "the policy allows no more answers in this period")
        assert self.tx.trust is not None
        require_room(self.tx.trust, self._uses, ask, draft.policy, self.tx.time)
        require_wide(self.tx.trust, self._uses, ask, draft.policy)

    def _require_same_world(self, draft: Draft) -> None:
        """What the draft rests on must still be so."""
        if abs(self.tx.time - draft.issued_at) > CLOCK_SKEW_S:
            # No verifier would take it, and the consent would be used up.
            raise Unreachable("CLOCK_BEHIND_LOG", "the service's clock is wrong: ask again later")
        assert self.tx.trust is not None
        if self.tx.trust.bundle.version != draft.trust_version:
            # Somebody may be suspended by it: who may ask, and whose word counts, is seen anew.
            raise Conflict("SNAPSHOT_CHANGED", "the registry changed meanwhile: ask again")
        if tuple(self._current[draft.ask.sub]) != draft.token_ids:
            raise Conflict("SNAPSHOT_CHANGED", "attestations changed meanwhile: ask again")


def _log(tx: Transaction, draft: Draft) -> int:
    salt = fresh_salt()
    ask = draft.ask
    entry = GivenEntry(
        asked=Asked(ask.policy, draft.policy.purpose, ask.case_digest, ask.staff_digest),
        consent=ask.consent_id,
        outcome=draft.evaluation.outcome.kind,
        tag=draft.key.tag(salt),
        verdicts=answer_commitment(draft.key.verdicts_salt(salt), draft.evaluation.verdicts),
    )
    answer_id = token_id(draft.answer)
    return tx.append(ENTRY_ANSWER, ask.lender, answer_id, salt=salt, fields=entry.fields())


def _row(tx: Transaction, draft: Draft, index: int) -> dict[str, object]:
    ask, name = draft.ask, answer_name(*draft.ask.name)
    verdicts = canonical_json(dict(draft.evaluation.verdicts))
    return {
        "lender": ask.lender,
        "request_id": ask.request_id,
        "request_digest": ask.digest,
        "consent_id": ask.consent_id,
        "policy_digest": ask.policy.digest,
        "sub": ask.sub,
        "time": tx.time,
        "log_index": index,
        "sealed": draft.key.seal(ROW, name, wire.to_bytes(draft.bundle)),
        "verdicts": draft.key.seal(VERDICTS_ROW, name, verdicts),
    }
