"""Mapping files: a closed grammar whose operations are plain arithmetic, with unknown kept."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections.abc import Mapping
from decimal import Decimal
from importlib.resources import as_file
from pathlib import Path
from typing import Any

import pytest
import yaml
from credproof import standard
from credproof.base.errors import Malformed
from credproof.base.limits import INTEGER_MAX
from credproof.records.mapping import Record, RecordMapping, parse_mapping
from credproof.records.reader import read_records
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = dt.date(2026, 1, 2)
ROOT = Path(__file__).parents[2]


class PlainDumper(yaml.SafeDumper):
    """Writes what is used twice in full: aliases are refused."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def document(claims: Any, **changes: Any) -> bytes:
    """A mapping file with these claims, any other member changed; ... leaves one out."""
    value: dict[str, Any] = {
        "mapping": 1,
        "schema": "small/1",
        "subject": {"scheme": "ref", "prefix": "x-", "column": "ID"},
        "account": {"column": "ID"},
        "currency": "TWD",
        "as_of": "day-of-run",
        "claims": claims,
    }
    value = {name: v for name, v in {**value, **changes}.items() if v is not ...}
    return yaml.dump(value, Dumper=PlainDumper, sort_keys=False).encode()


def mapping_of(operation: Any, **changes: Any) -> RecordMapping:
    return parse_mapping(document({"it": operation}, **changes))


def apply(mapping: RecordMapping, row: Mapping[str, str]) -> Record:
    return mapping.apply(7, {"ID": "1", **row}, day_of_run=DAY)


def value_of(operation: Any, **row: str) -> Any:
    return apply(mapping_of(operation), row).values["it"]


def bad_record(operation: Any, **row: str) -> str:
    with pytest.raises(Malformed) as caught:
        value_of(operation, **row)
    assert caught.value.reason == "BAD_RECORD"
    return caught.value.message


A, B, C = ({"column": name} for name in "ABC")


def nested(depth: int) -> dict[str, Any]:
    operation: dict[str, Any] = A
    for _ in range(depth):
        operation = {"at_least_zero": operation}
    return operation


# -- grammar


NOT_OPERATIONS = {
    "unknown": {"eval": "A"},
    "two at once": {"column": "A", "constant": 1},
    "none": {},
    "text": "A",
    "a list": [A],
    "null": None,
    "column without a name": {"column": ""},
    "column that is a number": {"column": 1},
    "constant null": {"constant": None},
    "constant list": {"constant": [1]},
    "scale without by": {"scale": {"of": A}},
    "scale by text": {"scale": {"of": A, "by": "100"}},
    "scale by boolean": {"scale": {"of": A, "by": True}},
    "scale with more": {"scale": {"of": A, "by": 1, "plus": 1}},
    "scale of a number": {"scale": {"of": 5, "by": 1}},
    "max_of nothing": {"max_of": []},
    "max_of no list": {"max_of": A},
    "max_of too many": {"max_of": [A] * 65},
    "max_of with an unknown one": {"max_of": [A, {"min_of": [A]}]},
    "count without threshold": {"count_at_least": {"of": [A]}},
    "count with more": {"count_at_least": {"of": [A], "threshold": 1, "at_most": 2}},
    "ratio without over": {"ratio_bp": {"of": A}},
    "ratio with more": {"ratio_bp": {"of": A, "over": B, "round": "up"}},
    "date without format": {"date": {"column": "A"}},
    "date with more": {"date": {"column": "A", "format": "%Y", "zone": "UTC"}},
    "enum without values": {"enum": {"column": "A"}},
    "enum with more": {"enum": {"column": "A", "values": {"1": "X"}, "else": "Y"}},
    "too deep": nested(9),
    "constant out of range": {"constant": INTEGER_MAX + 1},
    "scale out of range": {"scale": {"of": A, "by": INTEGER_MAX + 1}},
    "threshold out of range": {"count_at_least": {"of": [A], "threshold": -INTEGER_MAX - 1}},
    "enum of nothing": {"enum": {"column": "A", "values": {}}},
    "enum with an empty key": {"enum": {"column": "A", "values": {"": "X"}}},
    "enum with a key no cell equals": {"enum": {"column": "A", "values": {" 1": "X"}}},
}


@pytest.mark.parametrize("name", NOT_OPERATIONS)
def test_what_is_no_operation_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        mapping_of(NOT_OPERATIONS[name])
    assert caught.value.reason == "BAD_MAPPING"
    assert "claims.it" in caught.value.message


def test_operations_nest_to_the_limit() -> None:
    assert value_of(nested(8), A="-1") == 0
    assert value_of({"max_of": [A] * 64}, A="3") == 3


WHOLES: dict[str, dict[str, Any]] = {
    "another version": {"mapping": 2},
    "version as a boolean": {"mapping": True},
    "no schema": {"schema": ...},
    "no subject": {"subject": ...},
    "no account": {"account": ...},
    "no currency": {"currency": ...},
    "no as_of": {"as_of": ...},
    "unknown member": {"filter": "A > 1"},
    "unknown member of subject": {"subject": {"scheme": "ref", "column": "ID", "suffix": "y"}},
    "unknown member of account": {"account": {"column": "ID", "hash": "md5"}},
    "subject without scheme": {"subject": {"column": "ID"}},
    "as_of of another word": {"as_of": "yesterday"},
    "as_of without format": {"as_of": {"column": "A"}},
}


@pytest.mark.parametrize("name", WHOLES)
def test_a_mapping_that_is_not_whole_is_refused(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        mapping_of(A, **WHOLES[name])
    assert caught.value.reason == "BAD_MAPPING"


@pytest.mark.parametrize("claims", [[A], "A", None, 1, {}, {f"c{n}": A for n in range(65)}])
def test_claims_that_are_no_map_or_too_few_or_many_are_refused(claims: Any) -> None:
    with pytest.raises(Malformed) as caught:
        parse_mapping(document(claims))
    assert caught.value.reason == "BAD_MAPPING"


@pytest.mark.parametrize(
    "text",
    [
        "it: {column: A}\n  it: {column: B}",
        "it: &a {column: A}\n  other: *a",
        "it: {constant: 1.5}",
        "it: {constant: 2020-01-01}",
        "it: {constant: !!python/name:os.system ''}",
        "it: {<<: {column: A}}",
        "1: {column: A}",
        "it: {column: A",
    ],
)
def test_a_repeated_key_an_alias_or_another_type_is_refused(text: str) -> None:
    data = document({}).replace(b"claims: {}", b"claims:\n  " + text.encode())
    with pytest.raises(Malformed) as caught:
        parse_mapping(data)
    assert caught.value.reason == "BAD_MAPPING"


# -- cells


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        (" 12 ", 12),
        ("007", 7),
        ("5.00E+05", 500_000),
        ("5e5", 500_000),
        ("1.25E+02", 125),
        ("500000.00", 500_000),
        ("-2.0", -2),
        ("120e-1", 12),
        (str(INTEGER_MAX), INTEGER_MAX),
    ],
)
def test_a_whole_number_is_read_however_it_is_written(cell: str, number: int) -> None:
    found = value_of(A, A=cell)
    assert found == number
    assert type(found) is int


FRACTIONS = ["1.5", "1e-1", "5.0001E+02"]
TOO_LARGE = ["1e99", "1e999", str(2**53), str(-(2**53)), "1" * 17]
NO_NUMBERS = ["1,000", "1_000", "0x10", "NaN", "Infinity", "-", "e5", "1e", "١٢", "--1", "TRUE"]


@pytest.mark.parametrize("cell", [*FRACTIONS, *TOO_LARGE, *NO_NUMBERS, "1 2", "1\n2"])
def test_a_cell_that_is_no_whole_number_is_refused_and_not_repeated(cell: str) -> None:
    message = bad_record(A, A=cell)
    assert "A" in message
    assert len(cell) < 3 or cell not in message


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_spreadsheet_spelling_is_the_same_number(number: int, places: int) -> None:
    spelled = f"{Decimal(number):.{places}E}"
    if Decimal(spelled) == number:
        assert value_of(A, A=spelled) == number


# -- operations


CELLS = st.one_of(st.none(), st.integers(-(10**9), 10**9))


def cell(number: int | None) -> str:
    return "" if number is None else str(number)


@settings(deadline=None)
@given(CELLS, CELLS, CELLS, st.integers(-1000, 1000))
def test_operations_are_plain_arithmetic_and_unknown_propagates(
    a: int | None, b: int | None, c: int | None, k: int
) -> None:
    row = {"A": cell(a), "B": cell(b), "C": cell(c)}
    three = [A, B, C]
    known = a is not None and b is not None and c is not None
    assert value_of({"scale": {"of": A, "by": k}}, **row) == (None if a is None else a * k)
    assert value_of({"at_least_zero": A}, **row) == (None if a is None else max(0, a))
    largest = value_of({"max_of": three}, **row)
    reached = value_of({"count_at_least": {"of": three, "threshold": k}}, **row)
    if known:
        numbers = [n for n in (a, b, c) if n is not None]
        assert largest == max(numbers)
        assert reached == len([n for n in numbers if n >= k])
    else:
        assert largest is None
        assert reached is None


@settings(deadline=None)
@given(CELLS, CELLS)
def test_a_ratio_is_the_floor_in_basis_points_or_unknown(a: int | None, b: int | None) -> None:
    found = value_of({"ratio_bp": {"of": A, "over": B}}, A=cell(a), B=cell(b))
    if a is None or b is None or b <= 0:
        assert found is None
    else:
        assert found * b <= 10_000 * a < (found + 1) * b


def test_operations_nest() -> None:
    operation = {"scale": {"of": {"at_least_zero": {"max_of": [A, B]}}, "by": 100}}
    assert value_of(operation, A="-5", B="3") == 300
    assert value_of(operation, A="-5", B="-3") == 0
    assert value_of(operation, A="-5", B=" ") is None


def test_a_constant_is_itself() -> None:
    for constant in (5, "ACTIVE", True, 0):
        found = value_of({"constant": constant})
        assert (type(found), found) == (type(constant), constant)


@pytest.mark.parametrize("inner", [{"constant": "5"}, {"constant": True}])
def test_arithmetic_on_text_or_booleans_is_refused(inner: Any) -> None:
    bad_record({"scale": {"of": inner, "by": 2}})
    bad_record({"max_of": [A, inner]}, A="1")


def test_a_result_out_of_range_is_refused() -> None:
    bad_record({"scale": {"of": A, "by": 1000}}, A=str(INTEGER_MAX))
    bad_record({"ratio_bp": {"of": A, "over": B}}, A=str(INTEGER_MAX), B="1")


def test_a_date_is_read_in_its_format() -> None:
    operation = {"date": {"column": "A", "format": "%d/%m/%Y"}}
    assert value_of(operation, A="31/01/2024") == "2024-01-31"
    assert value_of(operation, A=" ") is None
    for wrong in ("2024-01-31", "30/02/2024", "31/01/2024 12:00", "31/01/24"):
        assert wrong not in bad_record(operation, A=wrong)


def test_the_time_of_day_is_left_out() -> None:
    operation = {"date": {"column": "A", "format": "%Y-%m-%dT%H:%M:%S"}}
    assert value_of(operation, A="2024-01-31T23:59:59") == "2024-01-31"


@pytest.mark.parametrize("pattern", ["%Y", "%Y-%m", "%m-%d", "today", "%y-%m-%d", "%Y-%m-%d %Z"])
def test_a_date_format_that_leaves_a_part_to_be_made_up_is_refused(pattern: str) -> None:
    with pytest.raises(Malformed) as caught:
        mapping_of({"date": {"column": "A", "format": pattern}})
    assert caught.value.reason == "BAD_MAPPING"


@pytest.mark.parametrize("pattern", ["%d/%d", "%", "%Q", ""])
def test_a_date_format_that_cannot_work_is_malformed_and_never_a_crash(pattern: str) -> None:
    with pytest.raises(Malformed):
        value_of({"date": {"column": "A", "format": pattern}}, A="01/01")


def test_an_enum_is_looked_up_and_nothing_is_guessed() -> None:
    operation = {"enum": {"column": "A", "values": {"1": "ACTIVE", "2": "CLOSED"}}}
    assert value_of(operation, A="1") == "ACTIVE"
    assert value_of(operation, A=" 2 ") == "CLOSED"
    assert value_of(operation, A="") is None
    for wrong in ("3", "ACTIVE", "01"):
        assert f" {wrong} " not in bad_record(operation, A=wrong)


@pytest.mark.parametrize("entry", [1, True, None, ["ACTIVE"], {"a": "b"}])
def test_an_enum_table_holds_texts_only(entry: Any) -> None:
    with pytest.raises(Malformed) as caught:
        mapping_of({"enum": {"column": "A", "values": {"1": entry}}})
    assert caught.value.reason == "BAD_MAPPING"


# -- whose, which account, of which day


def test_subject_account_and_day_come_from_the_row() -> None:
    as_of = {"column": "D", "format": "%Y%m%d"}
    record = apply(mapping_of(A, as_of=as_of), {"A": "1", "D": "20240229"})
    assert (record.subject, record.account) == ("ref:x-1", "1")
    assert record.as_of == dt.date(2024, 2, 29)
    assert (record.line, record.currency) == (7, "TWD")
    assert apply(mapping_of(A), {"A": "1"}).as_of == DAY


@pytest.mark.parametrize("day", ["", "  ", "29.02.2024", "20230229"])
def test_an_empty_or_wrong_day_is_a_bad_record_and_never_a_crash(day: str) -> None:
    mapping = mapping_of(A, as_of={"column": "D", "format": "%Y%m%d"})
    with pytest.raises(Malformed) as caught:
        apply(mapping, {"A": "1", "D": day})
    assert caught.value.reason == "BAD_RECORD"


def test_a_missing_column_or_an_empty_id_is_a_bad_record() -> None:
    with pytest.raises(Malformed) as caught:
        mapping_of(A).apply(1, {"A": "1"}, day_of_run=DAY)
    assert (caught.value.reason, "ID" in caught.value.message) == ("BAD_RECORD", True)
    with pytest.raises(Malformed):
        apply(mapping_of(A), {"A": "1", "ID": ""})
    bad_record(A)


@pytest.mark.parametrize("name", ["x" * 65, "a\tb", "a b", "a\0", "卡", "\ud800"])
def test_a_name_that_no_account_can_have_costs_one_row_only(name: str) -> None:
    mapping = mapping_of(A, account={"column": "N"})
    assert apply(mapping, {"A": "1", "N": "x" * 64}).account == "x" * 64
    with pytest.raises(Malformed) as caught:
        apply(mapping, {"A": "1", "N": name})
    assert caught.value.reason == "BAD_RECORD"
    assert name not in caught.value.message


def test_the_basis_changes_with_every_part_of_the_record() -> None:
    def basis(operation: Any = A, *, schema: str = "small/1", **row: str) -> bytes:
        return apply(mapping_of(operation), {"A": "5", **row}).basis(schema)

    others = [
        basis(A="6"),
        basis(A=""),
        basis(ID="2"),
        basis({"constant": "5"}),
        basis(schema="small/2"),
        apply(mapping_of(A, currency="CNY"), {"A": "5"}).basis("small/1"),
        mapping_of(A).apply(7, {"ID": "1", "A": "5"}, day_of_run=dt.date(2026, 1, 3)).basis("a/1"),
    ]
    assert basis(A="5.0") == basis() == basis(A="5", EXTRA="ignored")
    assert len({basis(), *others}) == len(others) + 1


# -- what ships


def test_the_example_is_the_shipped_mapping() -> None:
    shipped = standard.read("uci.mapping.yaml")
    assert (ROOT / "examples/uci.mapping.yaml").read_bytes() == shipped


def plain(cells: Mapping[str, str]) -> dict[str, int | None]:
    """The claims of one client by hand, without credproof."""
    n = {name: int(float(text)) for name, text in cells.items()}
    assert all(float(text) == n[name] for name, text in cells.items())
    bills = [n[f"BILL_AMT{i}"] for i in range(1, 7)]
    late = [n[f"PAY_{i}"] for i in (0, 2, 3, 4, 5, 6)]
    used = bills[0] if bills[0] > 0 else 0
    return {
        "credit_limit": n["LIMIT_BAL"] * 100,
        "used_amount": used * 100,
        "peak_used_6m": max(0, *bills) * 100,
        "paid_last_cycle": n["PAY_AMT1"] * 100,
        "utilisation_bp": (used * 10_000 - used * 10_000 % n["LIMIT_BAL"]) // n["LIMIT_BAL"],
        "overdue_cycles": max(0, late[0]),
        "max_overdue_cycles_6m": max(0, *late),
        "overdue_months_6m": len([cycles for cycles in late if cycles > 0]),
    }


def test_the_shipped_2000_rows_map_to_what_plain_arithmetic_gives() -> None:
    text = gzip.decompress(standard.read("uci-first-2000.csv.gz")).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert any("E+" in cells["LIMIT_BAL"] for cells in rows)
    mapping = parse_mapping(standard.read("uci.mapping.yaml"))
    schema = standard.schemas()[mapping.schema_id]
    with as_file(standard.path("uci-first-2000.csv.gz")) as path:
        records = list(read_records(path, mapping, day_of_run=DAY))
    assert len(records) == len(rows) == 2000
    assert set(mapping.claims) == set(plain(rows[0])) <= set(schema.claims)
    for line, (record, cells) in enumerate(zip(records, rows, strict=True), start=2):
        assert isinstance(record, Record)
        assert (record.line, record.values) == (line, plain(cells))
        assert (record.subject, record.account) == (f"ref:uci-{cells['ID']}", f"card-{cells['ID']}")
        schema.verify_values({**dict.fromkeys(schema.claims), **record.values})


def test_demographic_columns_are_never_read() -> None:
    mapping = parse_mapping(standard.read("uci.mapping.yaml"))
    with as_file(standard.path("uci-first-2000.csv.gz")) as path, gzip.open(path, "rt") as file:
        row = next(csv.DictReader(file))
    for name in ("SEX", "EDUCATION", "MARRIAGE", "AGE", "default.payment.next.month"):
        del row[name]
    assert mapping.apply(2, row, day_of_run=DAY).account == "card-1"


def test_the_tiers_of_the_2000_clients_counted_by_hand() -> None:
    text = gzip.decompress(standard.read("uci-first-2000.csv.gz")).decode("utf-8-sig")
    counts = {"A": 0, "B": 0, "REFER": 0}
    for cells in csv.DictReader(io.StringIO(text)):
        values = plain(cells)
        share = values["utilisation_bp"] or 0
        clean = values["max_overdue_cycles_6m"] == 0
        if clean and share < 8_000 and (values["credit_limit"] or 0) >= 5_000_000:
            counts["A"] += 1
        elif (values["overdue_cycles"] or 0) <= 1 and (values["overdue_months_6m"] or 0) <= 2:
            counts["B" if share < 10_000 else "REFER"] += 1
        else:
            counts["REFER"] += 1
    assert counts == {"A": 941, "B": 627, "REFER": 432}


def test_the_example_of_identity_checks_fits_its_schema_and_has_no_currency() -> None:
    schema = standard.schemas()["identity-assurance/1"]
    mapping = parse_mapping((ROOT / "examples" / "identity-checks.mapping.yaml").read_bytes())
    row = {"client": "7", "check": "1", "where": "app", "matched": "yes", "level": "2"}
    record = mapping.apply(1, {**row, "day": "2026-01-01"}, day_of_run=DAY)
    schema.verify_values(record.values)
    assert record.currency is None
    assert record.values["performed_on"] == "2026-01-01"
