"""The rules between entries, one function per kind: what it says must fit what was said before.

Format: `docs/PROTOCOL.md`, "Rules between entries".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from credproof.attestation.withdrawal import KEY_LOST, parse_withdrawal
from credproof.base.encoding import b64url, date_of
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, FINDING_ENTRIES_MAX
from credproof.base.members import Members
from credproof.log.continued import ENTRY_CONTINUED, parse_continued
from credproof.log.entry import Entry
from credproof.verification import unseal_rules
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED, parse_anomaly
from credproof.verification.answer import ENTRY_ANSWER, ENTRY_ATTESTATION
from credproof.verification.answer_entry import (
    ENTRY_REFUSED,
    GivenEntry,
    parse_given,
    parse_refused,
)
from credproof.verification.details import ENTRY_GRANTED
from credproof.verification.filing import ENTRY_ROOT, ENTRY_WITHDRAWN
from credproof.verification.participant import BORROWER, SERVICE
from credproof.verification.policy import Cap, Policy
from credproof.verification.registry import ENTRY_CHANGED, parse_changed
from credproof.verification.root_rules import change, require_root, root
from credproof.verification.rule_state import BrokenRule, State, Thing, named, throttle_of
from credproof.verification.unsealing import (
    ENTRY_APPROVED,
    ENTRY_ASKED,
    ENTRY_DECLINED,
    ENTRY_UNSEALED,
)

ENTRY_CONFLICT: Final = "attestation.conflict"
ENTRY_KEY_ENDED: Final = "key.ended"
ENTRY_SIGNED: Final = "consent.signed"
ENTRY_REVOKED: Final = "consent.revoked"
ENTRY_PAUSED: Final = "consent.paused"
ENTRY_RESUMED: Final = "consent.resumed"
ENTRY_SEARCHED: Final = "audit.searched"


# -- attestations -------------------------------------------------------------


def _accepted(state: State, entry: Entry) -> None:
    change(state, entry)
    name = named("attestation", entry.object)
    known = state.get(name)
    if known is not None:
        raise BrokenRule("ACCEPTED_TWICE", "an attestation is accepted again", known["at"])
    state.learn(name, at=entry.seq, by=entry.actor)
    state.require_actor(entry, "provider")


def _conflict(state: State, entry: Entry) -> None:
    members = Members(entry.fields, entry.kind)
    accepted = members.bytes("accepted", 32)
    members.finish()
    known = state.get(named("attestation", accepted))
    if known is None:
        raise BrokenRule("CONFLICT_UNKNOWN", "a conflict with what was never accepted")
    if known["by"] != entry.actor:
        raise BrokenRule("WRONG_ACTOR", "a conflict with another's attestation", known["at"])


def _withdrawn(state: State, entry: Entry) -> None:
    members = Members(entry.fields, entry.kind)
    reason, signed = members.take("reason", str), members.take("signed", str)
    members.bytes("index", 32)
    token = members.bytes("token", 32)
    members.finish()
    change(state, entry)
    name = named("attestation", token)
    known = state.get(name)
    if known is None:
        raise BrokenRule("WITHDRAWN_UNKNOWN", "what is withdrawn was never accepted")
    if "withdrawn" in known:
        places = known["at"], known["withdrawn"]
        raise BrokenRule("WITHDRAWN_TWICE", "an attestation is withdrawn again", *places)
    state.learn(name, withdrawn=entry.seq)
    if known["by"] != entry.actor:
        raise BrokenRule("WRONG_ACTOR", "another's attestation is withdrawn", known["at"])
    if not _is_signed(state, entry, signed, (token, reason)):
        message = "an attestation is withdrawn that its provider did not sign off"
        raise BrokenRule("WITHDRAWN_UNSIGNED", message, known["at"])


def _is_signed(state: State, entry: Entry, signed: str, said: tuple[bytes, str]) -> bool:
    """Whether this is the withdrawal that the entry names, by a key of the provider then."""
    provider = state.trust.participants.get(entry.actor)
    try:
        found = parse_withdrawal(signed)
        key = provider.key(found.jws.kid) if provider else None
        if key is None or (found.jws.id, found.token, found.reason) != (entry.object, *said):
            return False
        found.verify(key, caller=entry.actor, service=state.trust.bundle.domain, now=entry.time)
    except (Malformed, VerificationFailed):
        return False
    return True


def _key_ended(state: State, entry: Entry) -> None:
    Members(entry.fields, entry.kind).finish()
    last = state.last
    if not last.get("lost") or last.get("actor") != entry.actor:
        raise BrokenRule("KEY_ENDED_ALONE", "a key ended though nobody withdrew it as lost")


def ends_a_key(entry: Entry) -> bool:
    """Whether the next entry must say that a key ended."""
    return entry.kind == ENTRY_WITHDRAWN and entry.fields.get("reason") == KEY_LOST


# -- consents -----------------------------------------------------------------


def _granted(state: State, entry: Entry) -> None:
    _read_consent(entry)
    name = named("consent", entry.object)
    known = state.get(name)
    if known is not None:
        raise BrokenRule("GRANTED_TWICE", "a consent is granted again", known["at"])
    state.learn(name, at=entry.seq)


def _signed(state: State, entry: Entry) -> None:
    _read_consent(entry)
    _known_consent(state, entry)


def _revoked(state: State, entry: Entry) -> None:
    _read_consent(entry)
    known = _known_consent(state, entry)
    if "revoked" in known:
        places = known["at"], known["revoked"]
        raise BrokenRule("REVOKED_TWICE", "a consent is revoked again", *places)
    state.learn(named("consent", entry.object), revoked=entry.seq)


def _paused(state: State, entry: Entry) -> None:
    _pause(state, entry, entry.seq)


def _resumed(state: State, entry: Entry) -> None:
    _pause(state, entry, None)


def _pause(state: State, entry: Entry, paused: int | None) -> None:
    _read_consent(entry, "document")
    known = _known_consent(state, entry)
    if "revoked" in known:
        places = known["at"], known["revoked"]
        raise BrokenRule("CHANGED_AFTER_REVOCATION", "a revoked consent is changed", *places)
    state.learn(named("consent", entry.object), paused=paused)


def _read_consent(entry: Entry, *digests: str) -> None:
    members = Members(entry.fields, entry.kind)
    for name in ("tag", *digests):
        members.bytes(name, 32)
    members.finish()
    if entry.actor != BORROWER:
        raise BrokenRule("WRONG_ACTOR", f"{entry.kind} by another than a borrower")


def _known_consent(state: State, entry: Entry) -> Thing:
    known = state.get(named("consent", entry.object))
    if known is None:
        raise BrokenRule("CONSENT_UNKNOWN", f"{entry.kind} of a consent that was never granted")
    return known


# -- answers ------------------------------------------------------------------


def _given(state: State, entry: Entry) -> None:
    given = parse_given(entry)
    name = named("consent", given.consent)
    known = state.get(name)
    if known is None:
        raise BrokenRule("ANSWER_WITHOUT_CONSENT", "an answer under a consent never granted")
    count, places = _count(state, name, given, entry)
    if "revoked" in known:
        raise BrokenRule(
            "ANSWER_AFTER_REVOCATION",
            "an answer under a revoked consent",
            known["at"],
            known["revoked"],
        )
    if known.get("paused") is not None:
        message = "an answer under a paused consent"
        raise BrokenRule("ANSWER_WHILE_PAUSED", message, known["at"], known["paused"])
    if known.get("lender", entry.actor) != entry.actor:
        others = known["at"], *places
        raise BrokenRule("ANSWER_OTHER_LENDER", "two lenders under one consent", *others)
    _require_policy(state, entry, given, (known["at"], *places), count)
    _require_free(state, entry)
    require_root(state, entry, given)


def _count(state: State, name: str, given: GivenEntry, entry: Entry) -> tuple[int, list[int]]:
    """How many answers under a policy the consent has in the period, this one too, and where."""
    known = state.get(name) or {}
    policy = state.trust.policies.get(given.policy)
    period = "" if policy is None else _period(policy.cap, entry.time)
    uses, key = dict(known.get("uses", {})), b64url(given.policy.digest)
    before: Thing = uses.get(key, {})
    is_same = before.get("period") == period
    count: int = before["count"] if is_same else 0
    places: list[int] = before["at"] if is_same else []
    kept = [*places, entry.seq][-FINDING_ENTRIES_MAX:]
    uses[key] = {"at": kept, "count": count + 1, "period": period}
    state.learn(name, uses=uses, lender=known.get("lender", entry.actor))
    return count + 1, places


def _period(cap: Cap, time: int) -> str:
    """What a cap counts in: one consent, or a calendar day or month (UTC)."""
    day = date_of(time).isoformat()
    return {"consent": "", "day": day, "month": day[:7]}[cap.per]


def _require_policy(
    state: State, entry: Entry, given: GivenEntry, places: tuple[int, ...], count: int
) -> None:
    policy = _policy_then(state, given, entry.time)
    if policy.purpose != given.asked.purpose:
        raise BrokenRule("ANSWER_PURPOSE", "an answer for another purpose than its policy's")
    state.require_actor(entry, "lender")
    if count > policy.cap.count:
        message = f"answer {count} of {policy.cap.count} per {policy.cap.per} under one consent"
        raise BrokenRule("ANSWER_BEYOND_CAP", message, *places)


def _policy_then(state: State, given: GivenEntry, time: int) -> Policy:
    """The policy, in force at the entry's time, or when the answer was prepared."""
    try:
        return state.trust.policy_in_force(given.policy, time)
    except VerificationFailed:
        pass
    try:
        return state.trust.policy_in_force(given.policy, time - CLOCK_SKEW_S)
    except VerificationFailed as error:
        raise BrokenRule("ANSWER_POLICY", f"an answer though {error.message}") from error


def _require_free(state: State, entry: Entry) -> None:
    throttle = state.get(throttle_of(entry.actor))
    if throttle is not None and throttle["until"] > entry.time:
        raise BrokenRule(
            "ANSWER_WHILE_THROTTLED", "an answer to a throttled lender", throttle["at"]
        )


def _refused(state: State, entry: Entry) -> None:
    refused = parse_refused(entry)
    state.require_actor(entry, "lender")
    if refused.consent is not None and state.get(named("consent", refused.consent)) is None:
        raise BrokenRule("CONSENT_UNKNOWN", "a refusal under a consent that was never granted")


# -- registry, conduct, origin ------------------------------------------------


def _changed(state: State, entry: Entry) -> None:
    version = parse_changed(entry)
    before = 0 if state.in_force is None else state.in_force.bundle.version
    state.in_force = state.registry(entry)
    if version != before + 1:
        raise BrokenRule("REGISTRY_VERSION", f"version {version} follows version {before}")
    state.require_actor(entry, "operator")


def _raised(state: State, entry: Entry) -> None:
    anomaly = parse_anomaly(entry)
    if entry.actor != SERVICE:
        raise BrokenRule("WRONG_ACTOR", "an anomaly raised by another than the service")
    if len(anomaly.participants) == 1 and anomaly.throttle_s:
        name = throttle_of(anomaly.participants[0])
        before = (state.get(name) or {}).get("until", 0)
        state.learn(name, at=entry.seq, until=max(before, entry.time + anomaly.throttle_s))


def _lifted(state: State, entry: Entry) -> None:
    members = Members(entry.fields, entry.kind)
    name = throttle_of(members.take("participant", str))
    members.finish()
    state.require_actor(entry, "operator")
    if (state.get(name) or {}).get("until", 0) <= entry.time:
        raise BrokenRule("LIFTED_UNRAISED", "a throttle is lifted that nothing raised")
    state.learn(name, until=entry.time)


def _searched(state: State, entry: Entry) -> None:
    members = Members(entry.fields, entry.kind)
    members.bytes("reason", 32)
    if members.nullable("tag", str) is not None:
        Members(entry.fields, entry.kind).bytes("tag", 32)
    members.finish()
    state.require_actor(entry, "auditor")


def _continued(state: State, entry: Entry) -> None:
    found = parse_continued(entry.to_line())
    state.require_actor(entry, "operator")
    if found.tree_size <= entry.seq:
        raise BrokenRule("NOTHING_WAS_LOST", "a new origin though nothing of the old was lost")


Rule = Callable[[State, Entry], None]
RULES: Final[Mapping[str, Rule]] = {
    ENTRY_ATTESTATION: _accepted,
    ENTRY_CONFLICT: _conflict,
    ENTRY_WITHDRAWN: _withdrawn,
    ENTRY_KEY_ENDED: _key_ended,
    ENTRY_ROOT: root,
    ENTRY_GRANTED: _granted,
    ENTRY_SIGNED: _signed,
    ENTRY_REVOKED: _revoked,
    ENTRY_PAUSED: _paused,
    ENTRY_RESUMED: _resumed,
    ENTRY_ANSWER: _given,
    ENTRY_REFUSED: _refused,
    ENTRY_CHANGED: _changed,
    ENTRY_RAISED: _raised,
    ENTRY_LIFTED: _lifted,
    ENTRY_CONTINUED: _continued,
    ENTRY_SEARCHED: _searched,
    ENTRY_ASKED: unseal_rules.asked,
    ENTRY_APPROVED: unseal_rules.decided,
    ENTRY_DECLINED: unseal_rules.decided,
    ENTRY_UNSEALED: unseal_rules.unsealed,
}
"""The rule of each kind of entry; a kind that is not here is reported as unknown."""
