"""The directory of a service: epochs, what answers show of it, and what a restart finds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, DataLoss, Refused
from credproof.base.keys import Ed25519Signer
from credproof.log.directory import verify_lookup
from credproof.log.entry import parse_entry
from credproof.verification.answer import ENTRY_ATTESTATION, parse_answer
from credproof.verification.filing import ENTRY_ROOT, index_of, verify_element
from credproof.verification.replay import Replay
from credproof_server import app
from credproof_server.admission import participant_of, signed_bundle
from credproof_server.checking import check
from credproof_server.directory import DIRECTORY_KEY
from credproof_server.log import epochs
from credproof_server.log.epochs import CloseEpoch
from credproof_server.service.epochs import Epochs
from credproof_server.service.filing import Filing
from credproof_server.service.ingest import Ingest
from credproof_server.service.registry import PublishTrust
from credproof_server.service.withdrawals import Withdrawals
from credproof_server.storage import leaves, repository
from grpc_health.v1 import health, health_pb2

from tests.deployment import DOMAIN, package, seal, statement
from tests.service.asking import Asking
from tests.world import GOOD, KEY_BINDING, POLICY, REVOLVING


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


async def answered(asking: Asking, policy=POLICY):
    consent_id = await asking.consent(policy)
    return await asking.ask(asking.question(policy, consent_id))


def lines(core) -> list[bytes]:
    with core.engine.connect() as connection:
        return list(repository.all_lines(connection))


def roots(core) -> list[int]:
    """How much each root covers that is in the log."""
    entries = [parse_entry(line) for line in lines(core)]
    return [entry.fields["covered"] for entry in entries if entry.kind == ENTRY_ROOT]


def replayed(core) -> Replay:
    replay = Replay()
    for line in lines(core):
        replay.feed_line(line)
    return replay


def tell_apart(core, sub: bytes) -> tuple[bytes, ...]:
    """The members that the directory holds for a borrower's figures."""
    index = core.keys.directory.index(sub, REVOLVING.digest)
    with core.engine.connect() as connection:
        bucket = core.sequencer.state.directory.top.bucket(index)
        rows = leaves.in_buckets(connection, [bucket])
    return next((leaves.members_of(row.members) for row in rows if row.place == index), ())


async def test_a_question_closes_the_epoch_at_once(core, asking):
    assert roots(core) == []

    bundle = await answered(asking)

    (covered,) = roots(core)
    assert covered > max(item.logged.log_index for item in bundle.tokens)
    assert bundle.directory.root.log_index < bundle.logged.log_index


async def test_an_answer_shows_the_borrowers_place_and_all_that_is_there(core, asking):
    bundle = await answered(asking)

    evidence, (lookup,) = bundle.directory, bundle.directory.lookups
    verify_element(core.trust.bundle.directory_key, asking.sub, evidence.output)
    entry = parse_entry(bundle.tokens[0].logged.line)
    index = index_of(evidence.output.element, REVOLVING.digest)
    assert (entry.kind, entry.fields["index"]) == (ENTRY_ATTESTATION, b64url(index))
    assert [asking.newest] == list(lookup.members)
    assert lookup.schema == REVOLVING.digest


async def test_a_second_question_needs_no_second_root(core, asking):
    await answered(asking)
    await answered(asking)

    assert len(roots(core)) == 1


async def test_an_old_root_is_not_good_for_an_answer(core, asking, monkeypatch):
    await answered(asking)
    monkeypatch.setattr(epochs, "REFRESH_S", 0)
    monkeypatch.setattr("credproof_server.service.lookups.REFRESH_S", -1)
    with pytest.raises(Conflict) as caught:
        await answered(asking)

    assert caught.value.reason == "SNAPSHOT_CHANGED"
    assert len(roots(core)) > 1


async def test_the_next_attestation_takes_the_place_of_the_one_before(core, asking):
    first = asking.newest
    await asking.attest(seq=2)
    await core.commit(CloseEpoch())

    assert (asking.newest,) == tell_apart(core, asking.sub)
    replaced = [parse_entry(line).fields.get("replaces") for line in lines(core)]
    assert b64url(first) in replaced


async def test_a_withdrawal_takes_the_attestation_out_and_the_next_one_replaces_nothing(
    core, asking
):
    await withdraw(core, asking)
    await core.commit(CloseEpoch())
    assert tell_apart(core, asking.sub) == ()

    await asking.attest(seq=2)
    await core.commit(CloseEpoch())
    assert (asking.newest,) == tell_apart(core, asking.sub)
    assert "replaces" not in parse_entry(lines(core)[-2]).fields
    assert replayed(core).root == core.sequencer.state.directory.top.root


async def withdraw(core, asking) -> None:
    told = {"issuer": "bank", "service": DOMAIN, "reason": "error", "now": core.clock()}
    signed = sign_withdrawal(asking.bank, token=asking.newest, **told)
    await Withdrawals(core).withdraw("bank", [signed])


async def test_another_providers_account_makes_an_answer_partial_or_incomplete(
    deployment, core, asking
):
    signer = admit_another(deployment, core)
    strict = asking.policy("1 per month", completeness="required")
    assert len((await answered(asking, strict)).tokens) == 1
    await attest_elsewhere(core, signer)

    bundle = await answered(asking)

    assert (len(bundle.tokens), len(bundle.directory.lookups[0].members)) == (1, 2)
    other = asking.policy("2 per month", completeness="required")
    refused = await answered(asking, other)
    assert (refused.tokens, refused.directory) == ((), None)


async def test_absence_is_told_only_where_completeness_is_required(deployment, core):
    """Elsewhere nobody is told apart from somebody whom the consent does not open."""
    asking, signer = Asking(deployment, core), admit_another(deployment, core)
    await asking.bind()
    names = ("1 per month", "2 per month")
    strict = [asking.policy(name, completeness="required") for name in names]
    lax = [asking.policy(f"{name} lax", caps={"answers": name}) for name in names]
    shown, silent = [await answered(asking, policy) for policy in (strict[0], lax[0])]
    (lookup,) = shown.directory.lookups
    assert (lookup.schema, lookup.members, lookup.salt) == (REVOLVING.digest, (), b"")
    index = core.keys.directory.index(asking.sub, REVOLVING.digest)
    root = parse_entry(shown.directory.root.line).object
    assert verify_lookup(index, lookup.proof, root) is None

    await attest_elsewhere(core, signer)
    told, still = [await answered(asking, policy) for policy in (strict[1], lax[1])]

    outcomes = [parse_answer(item.answer)[1].outcome.reasons for item in (shown, told)]
    assert (outcomes, told.directory) == ([("ABSENT",), ("NOT_COMPLETE",)], None)
    lines = [parse_answer(item.answer)[1].outcome.reasons for item in (silent, still)]
    assert lines == [("ABSENT",)] * 2
    assert (silent.directory, silent.tokens) == (still.directory, still.tokens) == (None, ())


async def attest_elsewhere(core, signer: Ed25519Signer) -> None:
    made = package(statement(GOOD, issuer="other", account="elsewhere"), signer)
    sealed = seal(core.trust, [made], provider="other")
    (result,) = (await Ingest(core).submit("other", sealed)).results
    assert not isinstance(result, Exception), result


def admit_another(deployment, core) -> Ed25519Signer:
    """Admit a provider to a service whose core is open; gives its signer."""
    made = enrolments.enrol(
        deployment.folder / "other", role="provider", participant_id="other", title="Other"
    )
    applicant = enrolments.verify_enrolment(made, now=core.clock())
    bundle = core.trust.bundle
    fresh = participant_of(applicant, bundle.schemas)
    people = (*bundle.participants, fresh)
    changed = replace(bundle, participants=people, version=bundle.version + 1)
    trust = signed_bundle(deployment.directory.root_signer(), changed, core.trust.documents)
    core.sequencer.submit(PublishTrust("operator", trust, lambda: None)).result()
    return homes.signing_key(deployment.folder / "other")


async def test_epochs_and_changes_in_one_commit_are_all_covered(core, asking):
    futures = [core.sequencer.submit(CloseEpoch())]
    for i in range(3):
        await asking.submit([package(statement(account=f"more-{i}"), asking.bank)])
        futures.append(core.sequencer.submit(CloseEpoch()))
    for future in futures:
        future.result()

    assert not core.sequencer.state.directory.pending
    assert len(tell_apart(core, asking.sub)) == 4
    assert replayed(core).roots == len(roots(core))


async def test_a_restart_goes_on_where_the_directory_stood(deployment, core, asking):
    await core.commit(CloseEpoch())
    await asking.attest(seq=2)
    top, pending = core.sequencer.state.directory.top.root, core.sequencer.state.directory.pending
    assert len(pending) == 1
    core.close()

    again = deployment.directory.open_core()
    try:
        state = again.sequencer.state.directory
        assert (state.top.root, state.pending) == (top, pending)
        await again.commit(CloseEpoch())
        assert replayed(again).root == again.sequencer.state.directory.top.root
        assert (asking.newest,) == tell_apart(again, asking.sub)
    finally:
        again.close()


def behind_the_back(deployment, change: str) -> None:
    with closing(sqlite3.connect(deployment.service / "log.db")) as database, database:
        database.execute(change)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM directory_roots",
        "UPDATE directory_roots SET root = zeroblob(32)",
        "UPDATE directory_roots SET covered = 1",
        "UPDATE directory_buckets SET hash = zeroblob(32)",
        "DELETE FROM directory_buckets",
    ],
)
async def test_nothing_is_served_on_a_damaged_directory(deployment, core, asking, change):
    await core.commit(CloseEpoch())
    core.close()
    behind_the_back(deployment, change)

    with pytest.raises(DataLoss) as caught:
        deployment.directory.open_core()
    assert caught.value.reason == "LOG_DAMAGED"
    assert check(deployment.directory).damage


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE directory_leaves SET members = zeroblob(32)",
        "UPDATE directory_leaves SET value = zeroblob(32)",
        "UPDATE directory_leaves SET salt = zeroblob(16)",
        "UPDATE directory_leaves SET bucket = bucket + 1",
        "DELETE FROM directory_leaves",
    ],
)
async def test_a_changed_leaf_is_found(deployment, core, asking, change):
    await core.commit(CloseEpoch())
    assert check(deployment.directory).damage == ()
    behind_the_back(deployment, change)

    assert {"ROW_DIFFERS", "ROW_MISSING"} & {d.reason for d in check(deployment.directory).damage}


async def test_a_leaf_that_is_not_what_the_log_says_stops_the_epoch(deployment, core, asking):
    await core.commit(CloseEpoch())
    behind_the_back(deployment, "DELETE FROM directory_leaves")
    await asking.attest(seq=2)

    with pytest.raises(DataLoss) as caught:
        await core.commit(CloseEpoch())
    assert caught.value.reason == "LOG_DAMAGED"


async def test_a_lost_leaf_is_told_as_damage_and_not_as_news(deployment, core, asking):
    """Whoever was told to ask again asked for ever."""
    await answered(asking)
    size = core.sequencer.head.tree_size
    behind_the_back(deployment, "DELETE FROM directory_leaves")
    consent_id = await asking.consent(POLICY)
    with pytest.raises(DataLoss) as caught:
        await asking.ask(asking.question(POLICY, consent_id))
    assert caught.value.reason == "ROW_DIFFERS"
    assert core.sequencer.head.tree_size == size + 1, "the consent, and no new root"


@pytest.mark.parametrize("change", ["value = zeroblob(32)", "salt = zeroblob(16)"])
async def test_an_altered_leaf_is_told_as_damage(deployment, core, asking, change):
    """The lender refused what it was given, and the consent was used up."""
    await answered(asking)
    question = asking.question(POLICY, await asking.consent(POLICY))
    size = core.sequencer.head.tree_size
    behind_the_back(deployment, f"UPDATE directory_leaves SET {change}")
    with pytest.raises(DataLoss) as caught:
        await asking.ask(question)
    assert caught.value.reason == "ROW_DIFFERS"
    assert core.sequencer.head.tree_size == size, "nothing was logged"


@pytest.mark.parametrize("change", ["current = 0", "withdrawn_index = 1", "sub = zeroblob(32)"])
async def test_a_lost_key_binding_is_damage_and_no_pause(deployment, core, asking, change):
    """The lender was told to ask the borrower, who can do nothing about it."""
    await answered(asking)
    question = asking.question(POLICY, await asking.consent(POLICY))
    binding = KEY_BINDING.digest.hex()
    behind_the_back(
        deployment, f"UPDATE attestations SET {change} WHERE schema_digest = x'{binding}'"
    )
    with pytest.raises(DataLoss) as caught:
        await asking.ask(question)
    assert caught.value.reason == "ROW_DIFFERS"


async def health_of(core, service_epochs: Epochs) -> int:
    checks = health.aio.HealthServicer()
    await app._tell_health(core, service_epochs, checks)
    return (await checks.Check(health_pb2.HealthCheckRequest(), None)).status


async def test_a_directory_that_does_not_follow_the_log_is_told_until_it_does(
    deployment, core, asking
):
    """Whoever watches health learns of it before a lender does."""
    closing = Epochs(core)
    await closing.close()
    behind_the_back(deployment, "CREATE TABLE kept AS SELECT * FROM directory_leaves")
    behind_the_back(deployment, "DELETE FROM directory_leaves")
    await asking.attest(seq=2)

    await closing.close()
    assert closing.fault == "LOG_DAMAGED"
    assert await health_of(core, closing) == health_pb2.HealthCheckResponse.NOT_SERVING

    behind_the_back(deployment, "INSERT INTO directory_leaves SELECT * FROM kept")
    await closing.close()
    assert closing.fault is None
    assert await health_of(core, closing) == health_pb2.HealthCheckResponse.SERVING


def test_a_service_of_before_there_was_a_directory_is_not_served(deployment):
    (deployment.service / "keys" / f"{DIRECTORY_KEY}.key").unlink()

    with pytest.raises(Conflict) as caught:
        deployment.directory.open_core()
    assert caught.value.reason == "NO_DIRECTORY"


async def test_a_provider_is_shown_its_own_attestations_only(deployment, core, asking):
    (found,) = (await Filing(core).show("bank", [asking.newest])).items
    assert parse_entry(found.logged.line).object == asking.newest
    admit_another(deployment, core)

    for provider, token in (("other", asking.newest), ("bank", bytes(32))):
        with pytest.raises(Refused) as caught:
            await Filing(core).show(provider, [token])
        assert caught.value.reason == "NO_SUCH_ATTESTATION"
