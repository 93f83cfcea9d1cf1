"""Pseudonyms are metered: each evaluation is a guess at an identity number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import Conflict, Refused
from credproof.base.group import hash_to_group
from credproof.wire.errors import code_of
from credproof_server.config import Quotas
from credproof_server.service.pseudonyms import CountEvaluations, Pseudonyms
from credproof_server.storage.tables import evaluations
from sqlalchemy import select, update


@pytest.fixture
def metered(core):
    """A service that gives a lender 3 evaluations a day, and a provider 5."""
    quotas = Quotas(provider_evaluations_per_day=5, lender_evaluations_per_day=3)
    return replace(core, quotas=quotas)


def guesses(count: int) -> list[bytes]:
    return [hash_to_group(bytes([i]), b"a test") for i in range(count)]


async def evaluate(core, count: int, *, name: str = "lend", role: str = "lender"):
    return await Pseudonyms(core).evaluate(name, role, core.trust.oprf_key.id, guesses(count))


async def refused(core, count: int, **caller) -> None:
    with pytest.raises(Refused) as caught:
        await evaluate(core, count, **caller)
    assert caught.value.reason == "QUOTA_REACHED"
    assert code_of(caught.value).name == "RESOURCE_EXHAUSTED"


def counted(core) -> dict[str, int]:
    query = select(evaluations.c.participant, evaluations.c.count)
    with core.engine.connect() as connection:
        return dict(map(tuple, connection.execute(query)))


async def test_the_days_quota_can_be_used_up_but_not_passed(metered):
    await evaluate(metered, 2)
    await evaluate(metered, 1)
    await refused(metered, 1)


async def test_a_batch_that_passes_the_quota_gives_nothing_and_costs_nothing(metered):
    await evaluate(metered, 2)
    await refused(metered, 2)
    assert counted(metered) == {"lend": 2}
    assert len((await evaluate(metered, 1)).elements) == 1


async def test_the_quota_of_one_participant_is_not_used_by_another(metered):
    await evaluate(metered, 3)
    await evaluate(metered, 3, name="other-lender")
    await evaluate(metered, 5, name="bank", role="provider")
    await refused(metered, 1, name="bank", role="provider")


async def test_an_auditor_has_no_more_guesses_than_a_lender(metered):
    await refused(metered, 4, name="office", role="auditor")


async def test_the_quota_comes_back_the_next_day(metered):
    await evaluate(metered, 3)
    with metered.engine.begin() as connection:
        connection.execute(update(evaluations).values(day="2020-01-01"))
    assert await evaluate(metered, 3)


async def test_the_count_outlives_a_restart(metered, deployment):
    await evaluate(metered, 3)
    metered.close()
    again = replace(deployment.directory.open_core(), quotas=metered.quotas)
    try:
        await refused(again, 1)
    finally:
        again.close()


async def test_callers_that_race_do_not_pass_the_quota_together(metered):
    key_id = metered.trust.oprf_key.id
    futures = [metered.sequencer.submit(CountEvaluations("lend", key_id, 2, 3)) for _ in range(4)]
    outcomes = [future.exception() for future in futures]
    assert [getattr(error, "reason", None) for error in outcomes] == [
        None,
        "QUOTA_REACHED",
        "QUOTA_REACHED",
        "QUOTA_REACHED",
    ]


async def test_an_evaluation_under_a_key_that_the_caller_does_not_expect_is_refused(metered):
    with pytest.raises(Conflict) as caught:
        await Pseudonyms(metered).evaluate("lend", "lender", "00" * 16, guesses(1))
    assert caught.value.reason == "OTHER_OPRF_KEY"
    assert counted(metered) == {}
