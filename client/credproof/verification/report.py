"""The result of a verification as JSON, for machines."""

from __future__ import annotations

from typing import Any

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
        "completeness": {
            "state": verified.completeness.state,
            "shown": verified.completeness.shown,
            "of": verified.completeness.of,
        },
        "not_shown": not_shown(verified),
    }


def not_shown(verified: VerifiedAnswer) -> list[str]:
    """What could not be checked, in words."""
    found = ["witnesses: none"]
    if verified.completeness.state == "not shown":
        found.insert(0, "completeness: nothing is proved that it could be about")
    if verified.fair_use != "kept":
        found.append("fair use: the trust bundle at hand is newer than the answer")
    return found
