"""Replaying the directory from the log: any auditor finds a root that leaves something out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError
from credproof.log.directory import ABSENT, subtree
from credproof.log.entry import Entry
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.filing import (
    ACTOR,
    ENTRY_ROOT,
    ENTRY_WITHDRAWN,
    NOTHING,
    change_of,
)
from credproof.verification.replay import KINDS, Replay
from hypothesis import given, settings
from hypothesis import strategies as st

SALT = bytes(16)


class Script:
    """A log that is written entry by entry, and replayed as it grows."""

    def __init__(self) -> None:
        self.replay = Replay(4)
        self.size = 0

    def entry(self, kind, actor, digest, **fields) -> Entry:
        made = Entry(self.size, self.size, kind, actor, digest, SALT, fields, bytes(32))
        self.size += 1
        return made

    def accept(self, index, token, *, actor="bank", replaces=None) -> None:
        more = {"replaces": b64url(replaces)} if replaces else {}
        self.feed(self.entry(ENTRY_ATTESTATION, actor, token, index=b64url(index), **more))

    def withdraw(self, index, token, *, actor="bank") -> None:
        told = {"index": b64url(index), "reason": "error", "token": b64url(token)}
        self.feed(self.entry(ENTRY_WITHDRAWN, actor, bytes(32), **told))

    def feed(self, entry) -> None:
        self.replay.feed(entry)

    def root(self, root=None, *, covered=None) -> None:
        """Log a root: the honest one, unless told otherwise."""
        covered = self.size if covered is None else covered
        if root is None:
            root = honest_root(self.replay, covered)
        self.feed(self.entry(ENTRY_ROOT, ACTOR, root, covered=covered))


def honest_root(replay: Replay, covered: int) -> bytes:
    """What a replay would take as the root now."""
    filed = dict(replay.filed)
    for change in replay._pending:
        if change.log_index < covered:
            filed[change.index] = change.apply(filed.get(change.index, NOTHING))
    leaves = sorted(found.leaf(index) for index, found in filed.items() if found.members)
    return subtree(leaves).hash


def digest(number: int) -> bytes:
    return number.to_bytes(1, "big") * 32


def refused(reason: str, act) -> None:
    with pytest.raises(CredproofError) as caught:
        act()
    assert caught.value.reason == reason


def test_honest_roots_replay():
    script = Script()
    script.root()
    script.accept(digest(1), digest(10))
    script.accept(digest(200), digest(11))
    script.root()
    script.accept(digest(1), digest(12), replaces=digest(10))
    script.withdraw(digest(200), digest(11))
    script.root()

    assert script.replay.roots == 3
    assert [digest(12)] == [m for found in script.replay.filed.values() for m in found.members]


def test_an_empty_directory_has_no_leaf():
    script = Script()
    script.accept(digest(1), digest(10))
    script.withdraw(digest(1), digest(10))
    script.root(ABSENT)
    assert not script.replay.filed


def test_a_root_that_skips_an_entry_is_found():
    script = Script()
    script.accept(digest(1), digest(10))
    before = honest_root(script.replay, script.size)
    script.accept(digest(2), digest(11))

    refused("ROOT_DIFFERS", lambda: script.root(before))


def test_a_root_may_say_that_it_covers_less_and_is_held_to_it():
    script = Script()
    script.accept(digest(1), digest(10))
    script.accept(digest(2), digest(11))
    script.root(covered=1)
    assert script.replay.uncovered == 1
    script.root()

    refused("ROOT_DIFFERS", lambda: script.root(covered=1))


def test_a_superseded_attestation_that_stays_is_found():
    script = Script()
    script.accept(digest(1), digest(10))
    both = honest_root(script.replay, script.size)
    script.accept(digest(1), digest(12), replaces=digest(10))

    refused("ROOT_DIFFERS", lambda: script.root(both))


def test_nobody_takes_out_what_another_provider_put_in():
    script = Script()
    script.accept(digest(1), digest(10))
    refused("NOT_A_MEMBER", lambda: script.withdraw(digest(1), digest(10), actor="other"))

    script = Script()
    script.accept(digest(1), digest(10))
    refused(
        "NOT_A_MEMBER",
        lambda: script.accept(digest(1), digest(11), actor="other", replaces=digest(10)),
    )


def test_what_is_taken_out_stood_at_this_index():
    script = Script()
    script.accept(digest(1), digest(10))
    script.withdraw(digest(2), digest(10))
    refused("NOT_A_MEMBER", lambda: script.root(ABSENT))


def test_an_entry_without_a_place_is_refused():
    script = Script()
    refused("BAD_MEMBER", lambda: script.feed(script.entry(ENTRY_ATTESTATION, "bank", digest(1))))


def test_only_these_kinds_change_anything():
    script = Script()
    for kind in ("answer.given", "consent.granted", "registry.changed"):
        assert kind not in KINDS
        assert change_of(script.entry(kind, "bank", digest(1))) is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["accept", "supersede", "withdraw", "root"]), st.integers(0, 5)),
    max_size=30,
)


@settings(max_examples=60)
@given(OPERATIONS)
def test_any_honest_log_replays(operations):
    script, current, fresh = Script(), {}, iter(range(10, 255))
    for what, place in operations:
        index, known = digest(place), current.get(place)
        if what == "root":
            script.root()
        elif what == "withdraw" and known:
            script.withdraw(index, current.pop(place))
        elif what != "withdraw":
            current[place] = digest(next(fresh))
            script.accept(index, current[place], replaces=known)
    script.root()

    found = {index: filed.members for index, filed in script.replay.filed.items()}
    assert {digest(place): (token,) for place, token in current.items()} == found
    assert all(left.log_index < right.log_index for left, right in pairwise(script.replay._pending))
