"""What a log publishes: with its own ML-DSA-44 key, without witnesses, and under a new origin."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError, VerificationFailed
from credproof.cli.app import app
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.cosignature import Ed25519Cosigner, cosigned
from credproof_server import new_origin, quorums, setup
from credproof_server.admission import change_bundle
from credproof_server.directory import (
    HIGH_WATER,
    LOG_COSIGNER,
    ROOT_KEY,
    WITNESSED,
    ServiceDirectory,
)
from credproof_server.log.high_water import HighWater
from credproof_server.service.audit import Audit
from typer.testing import CliRunner

NOBODY_THERE = "http://127.0.0.1:1/"


@pytest.fixture
def service(tmp_path) -> Path:
    """A service whose log signs by ML-DSA-44 too."""
    listen = {"participants_listen": "127.0.0.1:0", "borrowers_listen": "127.0.0.1:0"}
    setup.init(tmp_path / "service", domain="pq.example", ml_dsa=True, **listen)
    return tmp_path / "service"


def opened(service: Path):
    return closing(ServiceDirectory(service).open_core())


def test_a_log_with_an_ml_dsa_key_signs_what_it_publishes_by_it_too(service):
    with opened(service) as core:
        key, audit = core.trust.log_cosigner, Audit(core)
        assert audit.witnessed() == b""
        assert audit.for_everybody() == core.sequencer.head.note
        core.published.publish()
        assert set(cosigned(core.published.head.note, [key])) == {key}
        assert audit.for_everybody() == core.published.head.note
    with opened(service) as core:
        assert key in cosigned(core.published.head.note, [key])


def test_where_a_quorum_is_asked_for_nothing_else_is_given_to_everybody(service):
    with opened(service) as core:
        core.published.publish()
    key = Ed25519Cosigner("w.example/1", bytes(32)).key
    quorums.set_quorum(service, f"witness w1 {key} {NOBODY_THERE}\nquorum w1\n".encode())
    with opened(service) as core:
        core.published.publish()
        assert core.published.head is None
        with pytest.raises(CredproofError) as caught:
            Audit(core).for_everybody()
    assert caught.value.reason == "NOT_WITNESSED_YET"
    assert quorums.shown(service).text.startswith("witness w1 ")


@pytest.mark.parametrize("data", [b"quorum \xff\n", b"quorum w1\n", b"\x00"])
def test_a_quorum_file_that_does_not_parse_changes_nothing(service, data):
    with pytest.raises(CredproofError) as caught:
        quorums.set_quorum(service, data)
    assert caught.value.reason == "BAD_QUORUM"
    assert quorums.shown(service).text == ""


@pytest.mark.parametrize(
    "url", ["file:///etc/x", "ftp://w.example/", "w.example/1", "http://", "https://w:x/"]
)
def test_a_quorum_file_with_a_witness_that_nobody_could_ask_is_refused(service, url):
    key = Ed25519Cosigner("w.example/1", bytes(32)).key
    with pytest.raises(CredproofError) as caught:
        quorums.set_quorum(service, f"witness w1 {key} {url}\nquorum w1\n".encode())
    assert (caught.value.reason, "w1" in caught.value.message) == ("BAD_QUORUM", True)
    assert quorums.shown(service).text == ""


@pytest.mark.parametrize("data", [b"", b"garbage", b"a\n1\nAAAA\n\n\xe2\x80\x94 a AAAAAAAA\n"])
def test_a_kept_file_that_says_nothing_stops_nobody(service, data):
    (service / WITNESSED).write_bytes(data)
    with opened(service) as core:
        assert core.published.head is None
        core.published.publish()
        assert core.published.head is not None


def test_a_bundle_with_another_cosigner_is_not_this_services_own(service):
    with pytest.raises(VerificationFailed) as caught:
        change_bundle(
            ServiceDirectory(service), lambda now: replace(now.bundle, log_cosigner=""), None
        )
    assert caught.value.reason == "OTHER_SERVICE"


def test_under_a_new_origin_the_cosigner_has_the_new_name(service):
    directory = ServiceDirectory(service)
    with opened(service) as core:
        core.published.publish()
        size, before = core.sequencer.head.tree_size, core.trust.log_cosigner
    log = directory.log_signer()
    lost = sign_checkpoint(Checkpoint(log.name, size + 1, bytes(32)), [log])
    HighWater(service / HIGH_WATER).write(lost)
    new_origin.begin_anew(service, "pq.example/log2")
    with opened(service) as core:
        after = core.trust.log_cosigner
        assert (after.name, after.data) == ("pq.example/log2", before.data)
        assert core.published.head is None
        core.published.publish()
        assert after in cosigned(core.published.head.note, [after])


def test_a_service_that_was_made_without_an_ml_dsa_key_gets_one_later(tmp_path):
    listen = {"participants_listen": "127.0.0.1:0", "borrowers_listen": "127.0.0.1:0"}
    setup.init(tmp_path, domain="later.example", **listen)
    directory = ServiceDirectory(tmp_path)
    with directory.locked():
        refused("IN_USE", lambda: quorums.add_ml_dsa(tmp_path))
    root = tmp_path / ROOT_KEY
    root.rename(tmp_path / "elsewhere")
    refused("NO_ROOT_KEY", lambda: quorums.add_ml_dsa(tmp_path))
    assert not directory.keys.has(LOG_COSIGNER), "nothing is begun without the root key"

    directory.keys.write(LOG_COSIGNER, bytes(32))  # interrupted here, it is repeated
    words = ["quorum", "ml-dsa", str(tmp_path), "--root-key", str(tmp_path / "elsewhere")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    refused("HAS_ML_DSA", lambda: quorums.add_ml_dsa(tmp_path, root_key=tmp_path / "elsewhere"))
    with opened(tmp_path) as core:
        key = core.trust.log_cosigner
        assert str(key) in done.stdout
        core.published.publish()
        assert set(cosigned(core.published.head.note, [key])) == {key}


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason
