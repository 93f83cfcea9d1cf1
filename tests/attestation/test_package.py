"""Acceptance checks 2 to 6: each finds its own fault, by its own reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from credproof.attestation.package import (
    Package,
    pack,
    parse_package,
    verify_commitments,
    verify_envelope,
    verify_signature,
    verify_values,
)
from credproof.base import jws
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, LimitExceeded, Malformed
from credproof.base.keys import DatedKey

from tests.attestation import samples

DAY_S = 24 * 3600
KEYS = {samples.SIGNER.public.kid: samples.dated()}
SCHEMAS = {samples.REVOLVING.digest: samples.REVOLVING}
DATA = samples.package_bytes()


def accept(
    data: bytes,
    *,
    keys: dict[str, DatedKey] = KEYS,
    caller: str = samples.ISSUER,
    now: int = samples.NOW,
) -> tuple[int, str]:
    """The check that refuses, with its reason; (7, "") when checks 2 to 6 pass."""
    number = 2
    try:
        package = parse_package(data)
        number = 3
        verify_signature(package, keys, now=now)
        number = 4
        schema = verify_envelope(package, caller=caller, schemas=SCHEMAS, now=now)
        number = 5
        verify_values(package, schema)
        number = 6
        verify_commitments(package, schema)
    except CredproofError as error:
        return number, error.reason
    return 7, ""


def changed(edit: Callable[[dict[str, Any]], Any]) -> tuple[int, str]:
    return accept(samples.edited(DATA, edit))


def stated(**changes: Any) -> tuple[int, str]:
    """What happens to an honestly built package of a statement with these changes."""
    return accept(samples.package_bytes(samples.opening(**changes)))


def signed_payload(edit: Callable[[dict[str, Any]], Any]) -> bytes:
    """The package with a payload that the provider edited and signed itself."""
    payload = json.loads(samples.opening().payload())
    edit(payload)
    token = jws.sign(samples.SIGNER, jws.ATTESTATION, payload)
    return samples.edited(DATA, lambda p: p.update(token=token))


def packed_again(data: bytes) -> bytes:
    """The package made anew of what was read out of it."""
    package = parse_package(data)
    return pack(package.token.jws.token, package.opening(samples.REVOLVING))


def test_an_honest_package_passes_every_check_and_comes_back_as_it_came() -> None:
    assert accept(DATA) == (7, "")
    assert DATA == parse_package(DATA).data == packed_again(DATA)


def test_a_package_of_unknown_values_only_passes() -> None:
    assert stated(values=samples.NOTHING, basis=None) == (7, "")


def test_a_later_package_of_a_chain_passes() -> None:
    assert stated(seq=2, prev=b"\x05" * 32) == (7, "")


# -- check 2


UNREADABLE = {
    "spaces": (DATA.replace(b":", b": ", 1), "NOT_CANONICAL"),
    "a line end": (DATA + b"\n", "NOT_CANONICAL"),
    "an escape": (DATA.replace(b"card-1", b"card\\u002d1"), "NOT_CANONICAL"),
    "a key twice": (DATA[:-1] + b',"values":{}}', "NOT_CANONICAL"),
    "a float": (DATA.replace(b'"seq":1', b'"seq":1.0'), "NOT_JSON"),
    "half of it": (DATA[: len(DATA) // 2], "NOT_JSON"),
    "nothing": (b"", "NOT_JSON"),
    "a list": (b"[]", "BAD_MEMBER"),
    "nested too deeply": (b"[" * 450 + b"]" * 450, "NOT_JSON"),
    "nested very deeply": (b"[" * 30_000 + b"]" * 30_000, "NOT_JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_bytes_that_are_not_canonical_json_fail_check_2(name: str) -> None:
    data, reason = UNREADABLE[name]
    assert accept(data) == (2, reason)


MISSHAPEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "extra member": (lambda p: p.update(extra=1), "BAD_MEMBER"),
    "extra hidden member": (lambda p: p["hidden"].update(extra=1), "BAD_MEMBER"),
    "no seed": (lambda p: p.pop("seed"), "BAD_MEMBER"),
    "no basis": (lambda p: p["hidden"].pop("basis"), "BAD_MEMBER"),
    "no prev": (lambda p: p["hidden"].pop("prev"), "BAD_MEMBER"),
    "null values": (lambda p: p.update(values=None), "BAD_MEMBER"),
    "short seed": (lambda p: p.update(seed=b64url(bytes(31))), "WRONG_LENGTH"),
    "padded seed": (lambda p: p.update(seed=p["seed"] + "="), "NOT_BASE64URL"),
    "short basis": (lambda p: p["hidden"].update(basis=b64url(bytes(16))), "WRONG_LENGTH"),
    "basis a number": (lambda p: p["hidden"].update(basis=1), "BAD_MEMBER"),
    "short prev": (lambda p: p["hidden"].update(prev=""), "WRONG_LENGTH"),
    "boolean seq": (lambda p: p["hidden"].update(seq=True), "BAD_MEMBER"),
    "seq 0": (lambda p: p["hidden"].update(seq=0), "BAD_PACKAGE"),
    "seq below 0": (lambda p: p["hidden"].update(seq=-1), "BAD_PACKAGE"),
    "empty account": (lambda p: p["hidden"].update(account=""), "BAD_PACKAGE"),
    "account with a space": (lambda p: p["hidden"].update(account="a b"), "BAD_PACKAGE"),
    "account with a line end": (lambda p: p["hidden"].update(account="a\n"), "BAD_PACKAGE"),
    "account not ASCII": (lambda p: p["hidden"].update(account="卡"), "BAD_PACKAGE"),
    "long account": (lambda p: p["hidden"].update(account="a" * 65), "BAD_PACKAGE"),
    "token of two parts": (lambda p: p.update(token=p["token"].rpartition(".")[0]), "NOT_A_JWS"),
    "token not ASCII": (lambda p: p.update(token="é" + p["token"]), "NOT_BASE64URL"),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_a_misshapen_package_fails_check_2(name: str) -> None:
    edit, reason = MISSHAPEN[name]
    assert changed(edit) == (2, reason)


def test_an_oversized_package_fails_check_2() -> None:
    with pytest.raises(LimitExceeded):
        parse_package(b" " * 65_537)


def test_a_token_of_another_kind_fails_check_2() -> None:
    payload = json.loads(samples.opening().payload())
    token = jws.sign(samples.SIGNER, jws.CONSENT, payload)
    assert changed(lambda p: p.update(token=token)) == (2, "WRONG_TYPE")


def test_a_token_that_carries_its_own_key_fails_check_2() -> None:
    payload = samples.opening().payload()
    token = jws.sign_payload(samples.SIGNER, jws.ATTESTATION, payload, carry_key=True)
    assert changed(lambda p: p.update(token=token)) == (2, "BAD_TOKEN")


def test_a_package_without_a_basis_says_so_and_has_one_spelling() -> None:
    data = samples.package_bytes(samples.opening(basis=None))
    assert data == packed_again(data)
    assert accept(samples.edited(data, lambda p: p["hidden"].pop("basis"))) == (2, "BAD_MEMBER")


# -- check 3


def test_a_key_that_is_not_registered_fails_check_3() -> None:
    assert accept(samples.package_bytes(signer=samples.OTHER_SIGNER)) == (3, "UNKNOWN_KEY")


def test_a_signature_by_another_key_under_the_registered_name_fails_check_3() -> None:
    keys = {samples.SIGNER.public.kid: samples.dated(samples.OTHER_SIGNER)}
    assert accept(DATA, keys=keys) == (3, "BAD_SIGNATURE")


def test_a_signature_over_other_bytes_fails_check_3() -> None:
    other = samples.package(samples.opening(account="card-2")).token.jws.token.rpartition(".")
    edit = lambda p: p.update(token=p["token"].rpartition(".")[0] + "." + other[2])  # noqa: E731
    assert changed(edit) == (3, "BAD_SIGNATURE")


@pytest.mark.parametrize(
    ("start", "end", "passes"),
    [
        (samples.NOW, samples.NOW, True),
        (samples.NOW + 1, samples.NOW + 10, False),
        (samples.NOW - 10, samples.NOW - 1, False),
    ],
)
def test_a_key_that_was_not_valid_at_iat_fails_check_3(start: int, end: int, passes: bool) -> None:
    keys = {samples.SIGNER.public.kid: samples.dated(start=start, end=end)}
    assert accept(DATA, keys=keys) == ((7, "") if passes else (3, "KEY_NOT_VALID"))


def test_a_key_that_is_not_valid_now_fails_check_3() -> None:
    keys = {samples.SIGNER.public.kid: samples.dated(end=samples.NOW + 59)}
    assert accept(DATA, keys=keys, now=samples.NOW + 59) == (7, "")
    assert accept(DATA, keys=keys, now=samples.NOW + 60) == (3, "KEY_NOT_VALID")


# -- check 4


def test_a_token_of_another_issuer_than_the_caller_fails_check_4() -> None:
    assert accept(DATA, caller="bank-b") == (4, "WRONG_ISSUER")
    assert stated(issuer="bank-b") == (4, "WRONG_ISSUER")


def test_a_schema_that_is_not_in_force_fails_check_4() -> None:
    data = signed_payload(lambda p: p.update(schema=b64url(bytes(32))))
    assert accept(data) == (4, "UNKNOWN_SCHEMA")


def test_a_schema_digest_under_another_name_fails_check_4() -> None:
    data = signed_payload(lambda p: p.update(vct="urn:credproof:consumer-revolving:2"))
    assert accept(data) == (4, "WRONG_SCHEMA")


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: p["_sd"].pop(),
        lambda p: p["ladders"].pop("credit_limit"),
        lambda p: p["ladders"].update(extra=p["ladders"]["credit_limit"]),
        lambda p: p.update(currency=None),
    ],
)
def test_a_token_of_another_shape_fails_check_4(edit: Callable[[dict[str, Any]], Any]) -> None:
    assert accept(signed_payload(edit)) == (4, "WRONG_SHAPE")


def test_age_is_accepted_to_the_second() -> None:
    assert accept(DATA, now=samples.NOW + DAY_S) == (7, "")
    assert accept(DATA, now=samples.NOW + DAY_S + 1) == (4, "TOO_OLD")


def test_a_token_from_the_future_fails_check_4_beyond_the_clock_skew() -> None:
    assert accept(DATA, now=samples.NOW - 120) == (7, "")
    assert accept(DATA, now=samples.NOW - 121) == (4, "FROM_THE_FUTURE")


@pytest.mark.parametrize(
    ("life_s", "passes"),
    [(-1, False), (0, False), (1, True), (400 * DAY_S, True), (400 * DAY_S + 1, False)],
)
def test_a_life_of_nothing_or_too_long_fails_check_4(life_s: int, passes: bool) -> None:
    found = stated(expires_at=samples.NOW + life_s)
    assert found == ((7, "") if passes else (4, "BAD_DATES"))


def test_a_day_after_the_signing_fails_check_4() -> None:
    tomorrow = samples.TODAY + dt.timedelta(days=1)
    assert stated(as_of=samples.TODAY) == (7, "")
    assert stated(as_of=tomorrow) == (4, "BAD_DATES")


def test_the_next_day_is_accepted_within_the_clock_skew_of_midnight() -> None:
    midnight = samples.NOW - samples.NOW % DAY_S + DAY_S
    tomorrow = samples.TODAY + dt.timedelta(days=1)
    late = {"as_of": tomorrow, "issued_at": midnight - 120}
    early = {"as_of": tomorrow, "issued_at": midnight - 121}
    for changes, expected in ((late, (7, "")), (early, (4, "BAD_DATES"))):
        data = samples.package_bytes(samples.opening(**changes))
        assert accept(data, now=midnight - 60) == expected


# -- check 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"credit_limit": -1}, "BAD_VALUE"),
        ({"credit_limit": 10**12 + 1}, "BAD_VALUE"),
        ({"credit_limit": True}, "BAD_VALUE"),
        ({"credit_limit": "5000000"}, "BAD_VALUE"),
        ({"credit_limit": [1]}, "BAD_VALUE"),
        ({"credit_limit": {}}, "BAD_VALUE"),
        ({"opened_on": "2021-02-29"}, "BAD_VALUE"),
        ({"used_amount": 2_000_001}, "INCONSISTENT_VALUES"),
        ({"overdue_cycles": 2}, "INCONSISTENT_VALUES"),
        ({"days_past_due": 13}, "INCONSISTENT_VALUES"),
    ],
)
def test_values_that_do_not_fit_fail_check_5(change: dict[str, Any], reason: str) -> None:
    assert changed(lambda p: p["values"].update(change)) == (5, reason)
    assert stated(values=samples.with_values(**change)) == (5, reason)


def test_a_claim_more_or_less_fails_check_5() -> None:
    assert changed(lambda p: p["values"].update(age=30)) == (5, "BAD_VALUE")
    assert changed(lambda p: p["values"].pop("credit_limit")) == (5, "BAD_VALUE")


def test_a_first_package_with_a_predecessor_or_a_later_one_without_fails_check_5() -> None:
    assert stated(seq=1, prev=b"\x05" * 32) == (5, "BAD_VALUE")
    assert stated(seq=2, prev=bytes(32)) == (5, "BAD_VALUE")


# -- check 6


def test_another_seed_fails_check_6() -> None:
    mismatch = (6, "COMMITMENT_MISMATCH")
    assert changed(lambda p: p.update(seed=b64url(bytes(32)))) == mismatch


OTHER_VALUES: dict[str, Any] = {
    "credit_limit": 5_000_001,
    "used_amount": 1_250_001,
    "peak_used_6m": 2_000_001,
    "statement_due": 90_001,
    "paid_last_cycle": 90_001,
    "utilisation_bp": 2_501,
    "months_on_book": 41,
    "days_past_due": 1,
    "overdue_cycles": 1,
    "max_overdue_cycles_6m": 2,
    "overdue_months_6m": 2,
    "max_days_past_due_12m": 13,
    "account_status": "CLOSED",
    "opened_on": "2021-05-07",
}


@pytest.mark.parametrize("claim", samples.VALUES)
def test_a_figure_changed_or_removed_after_signing_fails_check_6(claim: str) -> None:
    mismatch = (6, "COMMITMENT_MISMATCH")
    assert changed(lambda p: p["values"].update({claim: OTHER_VALUES[claim]})) == mismatch
    assert changed(lambda p: p["values"].update({claim: None})) == mismatch


@pytest.mark.parametrize(
    "change",
    [
        {"account": "card-2"},
        {"basis": None},
        {"basis": b64url(bytes(32))},
        {"seq": 2, "prev": b64url(b"\x05" * 32)},
    ],
)
def test_a_chain_member_changed_after_signing_fails_check_6(change: dict[str, Any]) -> None:
    assert changed(lambda p: p["hidden"].update(change)) == (6, "COMMITMENT_MISMATCH")


def lie_about_an_anchor(payload: dict[str, Any]) -> None:
    better = samples.opening(samples.with_values(credit_limit=10**9))
    payload["ladders"]["credit_limit"] = json.loads(better.payload())["ladders"]["credit_limit"]


def lie_about_a_digest(payload: dict[str, Any]) -> None:
    payload["_sd"] = sorted([*payload["_sd"][1:], b64url(b"\x06" * 32)])


@pytest.mark.parametrize("lie", [lie_about_an_anchor, lie_about_a_digest])
def test_a_provider_that_signs_an_anchor_or_digest_of_other_values_fails_check_6(
    lie: Callable[[dict[str, Any]], Any],
) -> None:
    assert accept(signed_payload(lie)) == (6, "COMMITMENT_MISMATCH")


def test_no_refusal_repeats_a_figure_an_account_or_the_seed() -> None:
    data = samples.package_bytes(samples.opening(account="secret-account-77"))
    for edit in (
        lambda p: p["values"].update(credit_limit=-987654),
        lambda p: p["values"].update(used_amount=987654321),
        lambda p: p["values"].update(paid_last_cycle=987654),
        lambda p: p["hidden"].update(account="secret account-77"),
    ):
        bad = samples.edited(data, edit)
        with pytest.raises(CredproofError) as caught:
            verify_everything(parse_package(bad))
        for secret in ("987654", "account-77", b64url(samples.SEED)):
            assert secret not in str(caught.value)
            assert secret not in caught.value.reason


def verify_everything(package: Package) -> None:
    verify_values(package, samples.REVOLVING)
    verify_commitments(package, samples.REVOLVING)


def test_the_opening_of_a_package_is_the_statement_that_was_signed() -> None:
    package = parse_package(DATA)
    assert verify_commitments(package, samples.REVOLVING) == samples.opening()
    swapped = dataclasses.replace(package, values={**package.values, "credit_limit": None})
    with pytest.raises(CredproofError):
        verify_commitments(swapped, samples.REVOLVING)


def test_an_id_is_over_the_signing_input_alone() -> None:
    package = parse_package(DATA)
    bent = jws.parse(package.token.jws.token.rpartition(".")[0] + ".AAAA", jws.ATTESTATION)
    assert bent.id == package.token.id
    with pytest.raises(Malformed):
        parse_package(DATA.replace(b'"hidden"', b'"hiddem"'))
