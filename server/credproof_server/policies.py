"""Putting policies in force: what two operators approved goes into a new trust bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from credproof.base.errors import Conflict
from credproof.base.limits import PROPOSAL_AGE_MAX_S
from credproof.verification.bundle import PolicyPin, TrustBundle
from credproof.verification.meter import meter
from credproof.verification.proposal import Proposal, parse_proposal
from credproof.verification.trust import Trust

from credproof_server.admission import change_bundle, trust_channel
from credproof_server.directory import ServiceDirectory, now


def publish(folder: Path, data: bytes, *, root_key: Path | None = None) -> Proposal:
    """Put a proposal in force from and until its dates; the service may run.

    Raises:
        Malformed, VerificationFailed: as `parse_proposal` and `verify_trust`.
        Conflict: as `with_pin`.
        Unreachable: a service runs, but does not answer.
    """
    directory = ServiceDirectory(folder)
    with trust_channel(directory) as channel:
        known = channel.current().schemas.values()
    proposal = parse_proposal(data, {schema.id: schema for schema in known})

    def extended(current: Trust) -> TrustBundle:
        policies = with_pin(current.bundle.policies, proposal.pin, now())
        return replace(current.bundle, policies=policies)

    change_bundle(directory, extended, root_key, (proposal.policy.document,))
    return proposal


def pins(folder: Path) -> tuple[PolicyPin, ...]:
    """All that was ever put in force, in that order."""
    with trust_channel(ServiceDirectory(folder)) as channel:
        return channel.current().bundle.policies


def single_bands(folder: Path, proposal: Proposal) -> list[str]:
    """The claims that a policy asks about, and that it and those in force cut into single bands.

    In force with it: when it begins, or now if it began before.
    """
    since = max(proposal.pin.valid_from, now())
    with trust_channel(ServiceDirectory(folder)) as channel:
        trust = channel.current()
    others = [trust.policies[p.ref] for p in trust.bundle.policies if p.is_in_force(since)]
    own, cells = meter([proposal.policy]), meter([*others, proposal.policy])
    return [f"{name[0]} {name[1]}" for name in own if cells[name].narrowest <= 1]


def with_pin(pins: tuple[PolicyPin, ...], pin: PolicyPin, time: int) -> tuple[PolicyPin, ...]:
    """The pins with one more, or with another end of one that has not ended.

    The past stays as it was, so that old answers verify: none is taken out, none begins long ago,
    none ends before now.

    Raises:
        Conflict: `VERSION_TAKEN`, `BACKDATED`, `POLICY_ENDED`, `NO_CHANGE`.
    """
    named = (pin.ref.id, pin.ref.version)
    if any((p.ref.id, p.ref.version) == named and p.ref != pin.ref for p in pins):
        raise Conflict("VERSION_TAKEN", "another policy of this id and version was published")
    old = next((p for p in pins if (p.ref, p.valid_from) == (pin.ref, pin.valid_from)), None)
    if pin.valid_until < time:
        raise Conflict("BACKDATED", "a policy ends now or later: what it answered before stands")
    if old is None:
        if pin.valid_from < time - PROPOSAL_AGE_MAX_S:
            raise Conflict("BACKDATED", "a policy begins at most seven days ago: sign it anew")
        return (*pins, pin)
    if old.valid_until < time:
        raise Conflict("POLICY_ENDED", "it has ended: publish it again from another time on")
    if old.valid_until == pin.valid_until:
        raise Conflict("NO_CHANGE", "it is in force with these dates already")
    return tuple(pin if p is old else p for p in pins)
