"""The benchmarks run: every subject and floor once, on sizes that prove nothing about speed."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import profiling, report
from benchmarks.__main__ import LATEST
from benchmarks.bench import TINY, Bench
from benchmarks.measure import Pair, Result, Row, Skipped, measure
from benchmarks.refusals import auc, best_auc
from benchmarks.rows import ROWS, chosen

SPREAD = {"median", "min", "max"}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench(TINY) as made:
        yield made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_subject_and_floor_of_every_row_run(row, bench):
    result = measure(row, bench, 1)
    if result.skipped:
        assert "cannot be imported" in result.skipped
    else:
        assert result.repetitions == 1
        assert result.value.median >= 0
        assert result.floor.median > 0


def test_no_process_is_left_when_a_bench_ends_by_an_error():
    children = []

    def fail() -> None:
        with Bench(TINY) as made:
            children.extend([made.service.child, made.echo[0]])
            assert all(child.is_running for child in children)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [child.is_running for child in children] == [False, False]


def test_subject_and_floor_are_measured_in_turn_after_a_round_that_does_not_count():
    order, subjects = [], iter([100.0, 1.0, 2.0, 6.0])
    pair = Pair(lambda: order.append("s") or next(subjects), lambda: order.append("f") or 2.0)
    result = measure(Row("made up", "µs", "two", lambda _bench: pair, target=1.0), None, 3)
    assert "".join(order) == "sf" * 4
    assert (result.ratio.median, result.ratio.min, result.ratio.max) == (1.0, 0.5, 3.0)
    assert result.met


def test_a_row_is_chosen_by_a_part_of_its_name():
    assert [row.name for row in chosen("inclusion")] == ["inclusion proof: 10^6 entries, warm"]
    assert chosen(None) == list(ROWS)
    assert chosen("no such row") == []


def test_a_row_that_is_not_there_is_said_so():
    command = [sys.executable, "-m", "benchmarks", "--row", "no such row"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such row" in done.stderr


# -- refusals


def test_a_kind_that_takes_longer_is_told_apart():
    slow, fast = [0.11, 0.12, 0.13], [0.1, 0.101, 0.102]
    assert (auc(slow, fast), auc(fast, slow), auc(fast, fast)) == (1.0, 0.0, 0.5)
    assert best_auc({"a": fast, "b": fast, "c": slow}) == 1.0


def test_a_kind_that_varies_more_is_told_apart_though_its_middle_is_the_same():
    steady, restless = [0.99, 1.0, 1.01], [0.8, 0.9, 1.1, 1.2]
    assert auc(steady, restless) == 0.5
    assert best_auc({"steady": steady, "restless": restless}) == 1.0


# -- what is written


def run() -> report.Run:
    load = (0.5, 0.4, 0.3)
    return report.Run("python -m benchmarks", dt.datetime.now(dt.UTC), 1.5, load, load, 0.1)


def test_a_peer_that_is_not_installed_is_told_with_its_reason_and_no_figure():
    def make(_bench: Bench) -> Pair:
        raise Skipped("it does not install here")

    result = measure(Row("peer: none", "µs", "theirs", make, target=1.0), None, 7)
    found = report.as_json([result], run())["rows"][0]
    assert (found["skipped"], found["value"], found["ratio"], found["met"]) == (
        "it does not install here",
        None,
        None,
        None,
    )
    assert "skipped: it does not install here" in report.table([result])


def test_the_kept_result_has_the_documented_shape_and_every_row():
    require_shape(json.loads(LATEST.read_text("utf-8")))
    kept = json.loads(LATEST.read_text("utf-8"))["rows"]
    assert [row["name"] for row in kept] == [row.name for row in ROWS]


def test_what_is_written_now_has_the_same_shape(bench):
    result: Result = measure(chosen("inclusion")[0], bench, 1)
    require_shape(json.loads(json.dumps(report.as_json([result], run()))))


def require_shape(found: dict) -> None:
    assert found["format"] == 1
    assert dt.datetime.fromisoformat(found["date"]).tzinfo is not None
    assert found["command"].startswith("python -m benchmarks")
    assert found["seconds"] >= 0
    machine = {"processor", "cpus", "memory_mb", "system", "load_before", "load_after"}
    assert set(found["machine"]) == machine | {"used_by_others"}
    assert {"python", "sqlite", "grpcio", "cryptography", "anoncreds"} <= set(found["versions"])
    for row in found["rows"]:
        require_row(row)


def require_row(row: dict) -> None:
    names = "name unit value ratio target met floor repetitions also skipped"
    assert set(row) == set(names.split())
    if row["skipped"] is not None:
        assert row["value"] is None
        return
    for spread in (row["value"], row["ratio"], row["floor"]["value"]):
        assert set(spread) == SPREAD
        assert spread["min"] <= spread["median"] <= spread["max"]
    assert row["repetitions"] >= 1
    assert (row["target"] is None) == (row["met"] is None)


# -- profiles


def test_a_profile_names_what_was_called():
    assert "sorted" in profiling.table(profiling.profile(lambda: sorted("cab")))


def test_a_service_leaves_its_profile_when_it_ends():
    with Bench(TINY, profile=True) as made:
        chosen("answer: batch")[0].make(made).subject()
        left = made.end_profiled()
        assert left is not None
        assert "verify.py" in profiling.table(profiling.read(left))
