"""Policies as the operators of a service on disk approve them."""

from __future__ import annotations

import time
from pathlib import Path

from credproof import standard
from credproof.base.encoding import canonical_json, parse_json
from credproof.home import Home
from credproof.verification.bundle import PolicyPin
from credproof.verification.grammar import parse_policy
from credproof.verification.participant import NEVER
from credproof.verification.policy import Policy
from credproof.verification.proposal import Proposal
from credproof_server.directory import OPERATORS

from tests.world import POLICY


def variant(name: str, **members: object) -> Policy:
    """The shipped policy under another name, with other members."""
    document = parse_json(POLICY.document) | {"policy": name} | members
    return parse_policy(canonical_json(document), standard.schemas())


def proposed(
    service: Path,
    policy: Policy,
    since: int | None = None,
    until: int = NEVER,
    *,
    by: tuple[str, ...] = OPERATORS,
) -> Proposal:
    """A proposal with the approvals of these operators, from now on if not said."""
    now = int(time.time())
    proposal = Proposal(policy, PolicyPin(policy.ref, now if since is None else since, until))
    for name in by:
        home = Home(service / name)
        domain = home.settings.domain
        proposal = proposal.signed(home.signer, operator=name, domain=domain, now=now)
    return proposal
