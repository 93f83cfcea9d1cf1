"""The result of a verification as JSON, for machines."""

from __future__ import annotations

from typing import Any

from credproof.base.encoding import time_text
from credproof.log.witnessed import Witnessed
from credproof.verification.verify import VerifiedAnswer


def report(verified: VerifiedAnswer) -> dict[str, Any]:
    """The result as `credproof lender verify --json` prints it (schema: `verify-result.json`)."""
    answer = verified.answer
    return {
        "valid": True,
        "mode": verified.mode,
        "outcome": {
            "kind": answer.outcome.kind,
            "tier": answer.outcome.tier,
            "reasons": list(answer.outcome.reasons),
        },
        "offer": dict(answer.offer),
        "policy": {
            "id": answer.policy.id,
            "version": answer.policy.version,
            "digest": answer.policy.digest.hex(),
        },
        "lender": answer.lender,
        "service": answer.domain,
        "answered_at": answer.issued_at,
        "results": [
            {"question": result.question, "verdict": result.verdict, "as_of": result.as_of}
            for result in answer.results
        ],
        "sources": [
            {"provider": source.provider, "key": source.kid, "pinned": source.pinned}
            for source in verified.sources
        ],
        "log": {
            "origin": verified.checkpoint.origin,
            "tree_size": verified.checkpoint.tree_size,
            "root": verified.checkpoint.root_hash.hex(),
            "log_index": verified.log_index,
        },
        "witness": witness_report(verified.witnesses),
        "completeness": {
            "state": verified.completeness.state,
            "shown": verified.completeness.shown,
            "of": verified.completeness.of,
            "absent": list(verified.completeness.absent),
        },
        "not_shown": not_shown(verified),
    }


def witness_report(found: Witnessed) -> dict[str, Any]:
    """What witnesses say of a checkpoint as JSON; times are whole seconds."""
    told = {"state": found.state, "times": dict(found.times)}
    return {**told, "since": found.since, "reached_at": found.reached_at}


def witness_text(found: Witnessed) -> str:
    """Who cosigned, and when as many had as the quorum asks for."""
    names = ", ".join(found.times)
    if found.state != "reached" or found.reached_at is None:
        return f"{found.state} ({names or 'nobody'} cosigned)" if found.state != "none" else "none"
    at = time_text(found.reached_at)
    return f"{names}: quorum reached at {at}"


def not_shown(verified: VerifiedAnswer) -> list[str]:
    """What could not be checked, in words."""
    found = []
    if verified.completeness.state == "not shown":
        found.append("completeness: nothing is proved that it could be about")
    if verified.witnesses.state != "reached":
        found.append(f"witness: {verified.witnesses.state}")
    if verified.fair_use != "kept":
        found.append("fair use: the trust bundle at hand is newer than the answer")
    return found
