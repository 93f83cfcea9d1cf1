"""Each numbered acceptance check refuses exactly what it is for, and loses nothing."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from credproof.attestation.package import parse_package
from credproof.base.encoding import canonical_json, date_of
from credproof.base.errors import CredproofError, DataLoss, Unreachable
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.verification.participant import NEVER
from credproof_server.service.ingest import AcceptBatch, Ingest, Receipt
from credproof_server.storage import repository
from credproof_server.storage.tables import attestations, conflicts, entries
from sqlalchemy import func, select

from tests.deployment import package, seal, statement
from tests.world import GOOD


@pytest.fixture
def bank(deployment) -> Ed25519Signer:
    return deployment.home("bank").signer


async def submit(core, *packages: bytes):
    return (await Ingest(core).submit("bank", seal(core.trust, list(packages)))).results


def count(core, table) -> int:
    with core.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


async def refused(core, data: bytes, *, step: int, reason: str) -> None:
    """One package is refused at this check, and leaves no trace."""
    before = count(core, entries)
    (result,) = await submit(core, data)
    assert (step, reason) == (result.step, result.reason)
    assert (before, 0) == (count(core, entries), count(core, attestations))


async def test_a_good_attestation_gets_a_receipt_and_is_in_the_log(core, bank):
    made = statement()
    (receipt,) = await submit(core, package(made, bank))

    assert isinstance(receipt, Receipt)
    assert made.sub == receipt.sub
    with core.engine.connect() as connection:
        line = repository.lines_at(connection, [receipt.log_index])[receipt.log_index]
    assert json.loads(line)["kind"] == "attestation.accepted"
    assert core.sequencer.head.tree_size > receipt.log_index


async def test_nothing_of_a_stored_attestation_is_readable(core, bank, deployment):
    data = package(statement({**GOOD, "credit_limit": 98_765_400}), bank)
    token = parse_package(data).token.jws.token.encode()
    await submit(core, data)
    core.sequencer.close()

    for name in ("log.db", "log.db-wal"):
        stored = (deployment.service / name).read_bytes()
        for secret in (b"account-1", b"98765400", token[100:200], data[-100:]):
            assert secret not in stored


# -- 0


async def test_0_a_suspended_provider_is_refused(core, bank, deployment):
    sealed = seal(core.trust, [package(statement(), bank)])
    core.sequencer.state.trust = _with_bank(core.trust, status="suspended")
    with pytest.raises(CredproofError) as caught:
        await Ingest(core).submit("bank", sealed)
    assert (caught.value.step, caught.value.reason) == (0, "NOT_PERMITTED")


async def test_0_a_schema_that_the_provider_may_not_attest_is_refused(core, bank):
    core.sequencer.state.trust = _with_bank(core.trust, schemas=())
    await refused(core, package(statement(), bank), step=0, reason="SCHEMA_NOT_ALLOWED")


def _with_bank(trust, **changes):
    participants = tuple(
        replace(p, **changes) if p.id == "bank" else p for p in trust.bundle.participants
    )
    return replace(trust, bundle=replace(trust.bundle, participants=participants))


# -- 1


@pytest.mark.parametrize("change", ["flip", "truncate", "other provider"])
async def test_1_a_batch_that_was_not_sealed_on_this_route_is_refused(core, bank, change):
    provider = "lend" if change == "other provider" else "bank"
    sealed = bytearray(seal(core.trust, [package(statement(), bank)], provider=provider))
    if change == "flip":
        sealed[-1] ^= 1
    if change == "truncate":
        del sealed[-1]
    with pytest.raises(CredproofError) as caught:
        await Ingest(core).submit("bank", bytes(sealed))
    assert (caught.value.step, caught.value.reason) == (1, "SEAL_NOT_OPENED")


# -- 2


async def test_2_a_package_in_a_second_spelling_is_refused(core, bank):
    data = package(statement(), bank).replace(b'"seq":', b'"seq": ')
    await refused(core, data, step=2, reason="NOT_CANONICAL")


async def test_2_a_package_with_an_unknown_member_is_refused(core, bank):
    members = json.loads(package(statement(), bank)) | {"more": 1}
    await refused(core, canonical_json(members), step=2, reason="BAD_MEMBER")


# -- 3


async def test_3_a_token_by_a_key_that_is_not_the_callers_is_refused(core):
    data = package(statement(), Ed25519Signer(bytes(32)))
    await refused(core, data, step=3, reason="UNKNOWN_KEY")


async def test_3_a_token_whose_signature_is_anothers_is_refused(core, bank):
    first, second = (json.loads(package(statement(), bank)) for _ in range(2))
    signature = second["token"].rpartition(".")[2]
    first["token"] = first["token"].rpartition(".")[0] + "." + signature
    await refused(core, canonical_json(first), step=3, reason="BAD_SIGNATURE")


async def test_3_a_key_that_is_no_longer_valid_is_refused(core, bank):
    keys = (DatedKey(bank.public, 0, int(time.time()) - 10),)
    core.sequencer.state.trust = _with_bank(core.trust, keys=keys)
    data = package(statement(issued_at=int(time.time()) - 60), bank)
    await refused(core, data, step=3, reason="KEY_NOT_VALID")


# -- 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"issuer": "other-bank"}, "WRONG_ISSUER"),
        ({"issued_at": -25 * 3600}, "TOO_OLD"),
        ({"issued_at": 1000}, "FROM_THE_FUTURE"),
        ({"expires_at": -1}, "BAD_DATES"),
        ({"issued_at": -100, "expires_at": -1}, "BAD_DATES"),
        ({"expires_at": 500 * 86_400}, "BAD_DATES"),
        ({"as_of": 2 * 86_400}, "BAD_DATES"),
    ],
)
async def test_4_wrong_issuers_and_dates_are_refused(core, bank, change, reason):
    now = int(time.time())
    core.sequencer.state.trust = _with_bank(core.trust, keys=(DatedKey(bank.public, 0, NEVER),))
    shifted = {k: now + v if isinstance(v, int) else v for k, v in change.items()}
    if "as_of" in shifted:
        shifted["as_of"] = date_of(shifted["as_of"])
    await refused(core, package(statement(**shifted), bank), step=4, reason=reason)


async def test_4_a_schema_that_is_not_in_force_is_refused(core, bank):
    bundle = replace(core.trust.bundle, schemas=core.trust.bundle.schemas[1:])
    core.sequencer.state.trust = replace(core.trust, bundle=bundle)
    await refused(core, package(statement(), bank), step=4, reason="UNKNOWN_SCHEMA")


# -- 5


async def test_5_values_out_of_bounds_are_refused(core, bank):
    data = package(statement({**GOOD, "overdue_months_6m": 7}), bank)
    await refused(core, data, step=5, reason="BAD_VALUE")


async def test_5_values_that_contradict_each_other_are_refused(core, bank):
    data = package(statement({**GOOD, "overdue_cycles": 1}), bank)
    await refused(core, data, step=5, reason="INCONSISTENT_VALUES")


async def test_5_a_first_token_that_names_one_before_is_refused(core, bank):
    data = package(statement(prev=b"\x01" * 32), bank)
    await refused(core, data, step=5, reason="BAD_VALUE")


# -- 6


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["values"].update(credit_limit=10_000_001),
        lambda m: m["hidden"].update(account="account-2"),
        lambda m: m.update(seed="A" * 43),
    ],
)
async def test_6_values_that_the_token_does_not_commit_to_are_refused(core, bank, change):
    members = json.loads(package(statement(), bank))
    change(members)
    await refused(core, canonical_json(members), step=6, reason="COMMITMENT_MISMATCH")


# -- 7


async def test_7_the_same_token_again_gets_the_same_receipt(core, bank):
    data = package(statement(), bank)
    (first,) = await submit(core, data)
    (again,) = await submit(core, data)
    twice = await submit(core, data, data)

    assert first == again
    assert (first, first) == twice
    assert count(core, attestations) == 1


async def test_7_an_accepted_token_gets_its_receipt_whatever_its_age(core, bank):
    data = package(statement(), bank)
    (first,) = await submit(core, data)
    late = replace(core, clock=lambda: int(time.time()) + 30 * 86_400)

    assert (first,) == await submit(late, data)


async def test_7_a_chain_goes_on_and_the_older_token_is_no_longer_current(core, bank):
    first = package(statement(), bank)
    before = parse_package(first).token.id
    second = package(statement(seq=2, prev=before), bank)

    assert all(isinstance(result, Receipt) for result in await submit(core, first, second))
    with core.engine.connect() as connection:
        current = repository.current_tokens(connection, [statement().sub])[statement().sub]
    assert [parse_package(second).token.id] == current


async def test_7_a_second_token_with_the_same_seq_is_refused_and_kept_as_evidence(core, bank):
    first, second = (package(statement(), bank) for _ in range(2))
    await submit(core, first)
    (result,) = await submit(core, second)
    await submit(core, second)

    assert (result.step, result.reason) == (7, "EQUIVOCATION")
    assert count(core, conflicts) == 1
    with core.engine.connect() as connection:
        kinds = [json.loads(line)["kind"] for line in repository.lines(connection, 0, 100)]
    assert kinds.count("attestation.conflict") == 1


async def test_7_an_equivocation_within_one_batch_is_found_too(core, bank):
    first, second = (package(statement(), bank) for _ in range(2))
    accepted, refusal = await submit(core, first, second)

    assert isinstance(accepted, Receipt)
    assert refusal.reason == "EQUIVOCATION"


@pytest.mark.parametrize(("seq", "prev"), [(2, b"\x02" * 32), (3, b"\x02" * 32)])
async def test_7_a_token_that_does_not_continue_the_chain_is_refused(core, bank, seq, prev):
    await refused(core, package(statement(seq=seq, prev=prev), bank), step=7, reason="CHAIN_BROKEN")


async def test_7_an_account_does_not_move_to_another_borrower(core, bank):
    first = package(statement(), bank)
    await submit(core, first)
    moved = statement(seq=2, prev=parse_package(first).token.id, sub=b"\x09" * 32)
    (result,) = await submit(core, package(moved, bank))

    assert (result.step, result.reason) == (7, "SUBJECT_CHANGED")


async def test_7_items_of_a_batch_fail_each_by_itself(core, bank):
    bad = package(statement({**GOOD, "overdue_months_6m": 7}), bank)
    good, other = package(statement(), bank), package(statement(account="account-2"), bank)
    results = await submit(core, good, bad, other)

    assert [isinstance(result, Receipt) for result in results] == [True, False, True]


async def test_3_a_key_that_is_withdrawn_while_the_batch_waits_is_refused_in_the_commit(core, bank):
    ingest = Ingest(core)
    prepared = ingest._prepare("bank", seal(core.trust, [package(statement(), bank)]))
    core.sequencer.state.trust = _with_bank(core.trust, keys=())

    (result,) = (await core.commit(AcceptBatch("bank", prepared, core.rules))).value
    assert (result.step, result.reason) == (3, "UNKNOWN_KEY")
    assert count(core, attestations) == 0


# -- 8


async def test_8_without_the_borrowers_data_key_nothing_is_written(core, bank, monkeypatch):
    def broken(_subs):
        raise DataLoss("KEY_NOT_OPENED", "a stored key does not open")

    monkeypatch.setattr(core.vault, "keys", broken)
    before = count(core, entries)
    with pytest.raises(CredproofError) as caught:
        await submit(core, package(statement(), bank))
    assert (caught.value.step, caught.value.reason) == (8, "KEY_NOT_OPENED")
    assert (before, 0) == (count(core, entries), count(core, attestations))


# -- 9 and 10


async def test_9_a_failed_write_leaves_no_row_and_no_entry(core, bank, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    data, before = package(statement(), bank), count(core, entries)
    with monkeypatch.context() as patch:
        patch.setattr(repository, "add_attestations", broken)
        with pytest.raises(Unreachable):
            await submit(core, data)
    assert (before, 0) == (count(core, entries), count(core, attestations))
    assert before == core.sequencer.state.tree.size

    (receipt,) = await submit(core, data)
    assert isinstance(receipt, Receipt), "the service goes on, and the rerun is accepted"


async def test_10_no_receipt_without_a_signed_checkpoint_and_a_rerun_gets_it(
    core, bank, deployment, monkeypatch
):
    """Durable but not yet signed: the caller must not be told, and must lose nothing."""
    data = package(statement(), bank)

    def broken(_note):
        raise OSError("disk full")

    monkeypatch.setattr(core.sequencer._high_water, "write", broken)
    with pytest.raises(Unreachable):
        await submit(core, data)
    with pytest.raises(Unreachable):
        await submit(core, data)
    core.close()

    again = deployment.directory.open_core()
    try:
        (receipt,) = await submit(again, data)
        assert receipt.log_index < again.sequencer.head.tree_size
        assert count(again, attestations) == 1
    finally:
        again.close()


async def test_10_after_a_lost_reply_the_same_token_gets_its_receipt(core, bank, deployment):
    data = package(statement(), bank)
    (receipt,) = await submit(core, data)
    core.close()

    again = deployment.directory.open_core()
    try:
        assert (receipt,) == await submit(again, data)
    finally:
        again.close()
