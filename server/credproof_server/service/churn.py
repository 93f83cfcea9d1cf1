"""Watching providers: one that attests an account again and again may be trying out figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from credproof.log.entry import parse_entry

from credproof_server.conduct.detector import Finding
from credproof_server.conduct.rules import Rule, Rules
from credproof_server.log.state import Transaction
from credproof_server.service.raising import Raised
from credproof_server.storage import observations


def watch_churn(tx: Transaction, rules: Rules, provider: str, newest: Mapping[bytes, int]) -> None:
    """Raise when an account was attested too often lately; `newest` is the `seq` of each chain.

    Costs nothing where a chain is shorter than the rule's number.
    """
    rule = rules.get("churn")
    if rule is None:
        return
    before = {chain: seq - rule["attestations"] for chain, seq in newest.items()}
    chains = _broken(tx, rule, {chain: seq for chain, seq in before.items() if seq >= 0})
    raised = Raised(tx, rules, {provider}) if chains else None
    if raised is None or raised.is_quiet(rule, provider):
        return
    evidence = observations.chain_indexes(tx.connection, chains[0], before[chains[0]])
    counts = {"attestations": len(evidence), "accounts": len(chains)}
    raised.add(Finding.of(rule, evidence, **counts), [provider])


def _broken(tx: Transaction, rule: Rule, before: Mapping[bytes, int]) -> Sequence[bytes]:
    """The chains whose attestations since that `seq` are all of the rule's window."""
    if not before:
        return []
    first = [(chain, seq + 1) for chain, seq in before.items()]
    lines = observations.chain_lines(tx.connection, first)
    times = {chain: parse_entry(line).time for chain, line in lines.items()}
    # What has no entry yet is of this very commit.
    return [c for c in before if times.get(c, tx.time) >= tx.time - rule.window_s]
