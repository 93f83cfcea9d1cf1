"""A service that lies now and then: lender, provider, auditor and witnesses catch all they should.

An honest history raises nothing, and nobody is accused of what was not told. `LYING_EXAMPLES=2000`
and `-k any_history` look for longer.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.adversary.lying import answers, logs
from tests.adversary.lying.parties import Parties
from tests.adversary.lying.server import PROVIDERS, Server
from tests.adversary.lying.stage import LIES, Stage
from tests.adversary.lying.unseen import UNSEEN
from tests.world import FAIR, GOOD, POOR

EXAMPLES = int(os.environ.get("LYING_EXAMPLES", "12"))
STEPS = 24
assert answers
assert logs

people = st.integers(0, 1)
providers = st.sampled_from(PROVIDERS)


def staged(folder: Path) -> Stage:
    """A service that has begun, and everybody who looks at it."""
    server = Server()
    stage = Stage(server, Parties(server, folder))
    server.attest(stage.person)
    server.witness()
    return stage


def require_found(stage: Stage, *, last: bool = False) -> None:
    """Everybody does the usual checks, and finds what was told and nothing else."""
    parties = stage.parties
    assert parties.audit() == set()
    assert parties.findings == stage.broken
    found = parties.replay()
    assert found is None or found in stage.differs
    assert found or not (last and stage.differs)
    for provider in PROVIDERS:
        assert parties.self_check(provider) == set()
    assert parties.watch() == ({("provider", "STRANGE")} if stage.strange_keys else set())


def tell(stage: Stage, name: str) -> None:
    """Tell a lie: one of the alarms that the list names is raised, at once or by the next audit."""
    lie = LIES[name]
    broken, differs = dict(stage.broken), set(stage.differs)
    raised = lie.tell(stage)
    later = {rule for at, rule in stage.broken.items() if at not in broken}
    later |= {reason for _, reason in stage.differs - differs}
    due = raised | {("auditor", reason) for reason in later}
    assert due, "nobody caught it"
    assert due <= lie.by


@pytest.fixture
def stage(tmp_path) -> Stage:
    return staged(tmp_path)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_caught_by_whom_it_must_be(stage, name):
    tell(stage, name)
    stage.server.world.close_epoch()
    require_found(stage, last=True)


@pytest.mark.parametrize("name", UNSEEN)
def test_nobody_can_see(stage, name):
    assert UNSEEN[name](stage) == set()
    require_found(stage, last=True)


def test_the_threats_say_what_nobody_can_see():
    """The same list, in the same words."""
    text = Path("docs/THREATS.md").read_text("utf-8")
    listed = text.split("## What nobody can see")[1].split("\n## ")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*", listed, re.MULTILINE) == list(UNSEEN)


class History(RuleBasedStateMachine):
    """Honest steps and lies, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lying-"))
        self.stage = staged(self.folder)

    @property
    def server(self) -> Server:
        return self.stage.server

    @rule(who=people, provider=providers, figures=st.sampled_from([GOOD, FAIR, POOR]))
    def attest(self, who, provider, figures) -> None:
        self.server.attest(self.server.people[who], provider, figures)

    @rule(who=people, provider=providers)
    def withdraw(self, who, provider) -> None:
        self.server.withdraw(self.server.people[who], provider)

    @rule(who=people)
    def consent(self, who) -> None:
        self.server.grant(self.server.people[who])

    @rule(who=people)
    def revoke(self, who) -> None:
        self.server.revoke(self.server.people[who])

    @rule(who=people, strict=st.booleans())
    def ask(self, who, strict) -> None:
        policy = self.server.strict if strict else self.server.usual
        bundle = self.server.answer(self.server.people[who], policy)
        assert self.stage.parties.lender(bundle) == set()

    @rule(who=people)
    def ask_and_refresh(self, who) -> None:
        bundle = self.server.answer(self.server.people[who], self.server.witnessed)
        assert self.stage.parties.lender(bundle, may_wait=True) == set()
        self.server.witness()
        assert self.stage.parties.refresh(bundle) == set()

    @rule()
    def close_an_epoch(self) -> None:
        self.server.world.close_epoch()

    @rule()
    def change_the_registry(self) -> None:
        self.server.publish()

    @rule()
    def be_witnessed(self) -> None:
        assert self.stage.parties.cosign(self.server.log) == set()

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds) -> None:
        self.server.pass_time(seconds)

    @rule()
    def look(self) -> None:
        require_found(self.stage)

    @rule(names=st.lists(st.sampled_from(sorted(LIES)), min_size=1, max_size=3))
    def lie(self, names) -> None:
        for name in names:
            tell(self.stage, name)

    @rule(name=st.sampled_from(sorted(UNSEEN)))
    def lie_unseen(self, name) -> None:
        assert UNSEEN[name](self.stage) == set()

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.server.world.close_epoch()
            require_found(self.stage, last=True)
            shutil.rmtree(self.folder)


def test_any_history_of_honest_steps_and_lies():
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize="LYING_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
