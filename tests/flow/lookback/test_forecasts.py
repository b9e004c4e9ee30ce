"""What was forecast, as people and machines ask for it: the commits that are not in the lake yet, and the lake."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local.inspect import arguments as inspect_arguments
from local.inspect import forecasts as command
from shared.adapters.lake.archive import LakeArchive
from shared.adapters.lake.commit_files import ParquetFiles
from shared.app.api.forecasts import forecasts
from shared.app.api.replies import Reply
from shared.app.lake.compaction import Compaction
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explanation import Forecast
from shared.app.lookback.forecast_id import hour_text
from shared.app.lookback.forecast_pages import as_csv, as_json
from shared.app.lookback.forecasts import Span, served
from shared.errors import ConfigError, TransientFailure
from tests.kit import HOUR, TASK, Bench, HandClock, Row, deploy, hourly

HOSTILE = '=1+1","\n[b]'.replace("\n", "")
Told = dict[tuple[str, int], tuple[int, float, str]]  # device, as-of hour: revision, value, model


def rows_at(start: int, hours: int, devices: str = "ab", first: int = 1) -> list[Row]:
    return [(place + first - 1, *rest) for place, *rest in hourly(devices, hours, HOUR + start)]  # type: ignore[misc]


def feed(bench: Bench, rows: list[Row]) -> None:
    bench.worker().take(bench.send("hub/0", rows))


@pytest.fixture
def bench() -> Bench:
    """A champion, later another in canary for all, then a late reading that revises an hour, in a commit of its own."""
    bench = Bench(every=2)
    deploy(bench.blobs, "v1")
    feed(bench, rows_at(0, 40))
    deploy(bench.blobs, "v1", challenger="v2", share=1.0)
    feed(bench, rows_at(40, 8, first=81))
    feed(bench, [(97, "a", (HOUR + 44) * 60 + 30, (44.0, 0.5, 10.0))])
    return bench


def history_of(bench: Bench, lake: LakeArchive | None = None) -> CommitHistory:
    return CommitHistory(TASK, bench.blobs, ParquetFiles(TASK), lake, 1)


def compacted(bench: Bench, folder: Path) -> LakeArchive:
    lake = LakeArchive(TASK, str(folder))
    Compaction(task=TASK, blobs=bench.blobs, lake=lake, clock=HandClock()).run()
    return lake


def truth(bench: Bench) -> Told:
    """What users saw last, counted from every commit's predictions one row at a time, in order."""
    told: Told = {}
    for name in sorted(bench.blobs.names("commits")):
        commit, _ = ParquetFiles(TASK).decode_commit(bench.blobs.read("commits", name) or b"")
        if commit.predictions is None:
            continue
        found = ParquetFiles(TASK).read_predictions(bench.blobs.read("predictions", commit.predictions) or b"")
        for row in np.flatnonzero(found["served"]).tolist():
            key = found["device_id"][row], int(found["as_of"][row])
            told[key] = int(found["revision"][row]), float(found["value"][row]), found["model_version"][row]
    return told


def expected(bench: Bench, device: str, span: Span) -> list[tuple[str, int, float, str]]:
    mine = {hour: rest for (name, hour), rest in truth(bench).items() if name == device}
    wanted = [hour for hour in sorted(mine, reverse=True) if span.first <= hour <= span.last][: span.most]
    return [(hour_text(hour), *mine[hour]) for hour in wanted]


SPANS = [Span(1), Span(3), Span(5), Span(10_000), Span(100, HOUR + 30, HOUR + 42), Span(4, HOUR + 30, HOUR + 42)]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("where", ["landed", "both", "lake"])
def test_the_last_forecast_of_each_hour_is_told_wherever_it_lies(
    bench: Bench, tmp_path: Path, span: Span, where: str
) -> None:
    lake = None if where == "landed" else compacted(bench, tmp_path)
    if where == "both":
        feed(bench, rows_at(48, 6, first=98))
        feed(bench, [(110, "a", (HOUR + 47) * 60 + 30, (12.0, 0.5, 10.0))])
    wanted = {device: expected(bench, device, span) for device in "ab"}
    if where == "lake":
        for container in ("commits", "predictions"):
            for name in bench.blobs.names(container):
                bench.blobs.delete(container, name)
    for device, rows in wanted.items():
        found = served(history_of(bench, lake), device, span)
        assert [(each.as_of, each.revision, each.value, each.model) for each in found] == rows
        assert rows, "a test of nothing cannot fail"


@pytest.mark.parametrize("seed", range(6))
def test_in_whatever_order_small_commits_hold_the_hours(seed: int) -> None:
    bench, random = Bench(), np.random.default_rng(seed)
    deploy(bench.blobs, "v1")
    lateness = TASK.scenario.lateness
    order = sorted(range(40), key=lambda hour: hour + random.integers(0, lateness + 1) * (random.random() < 0.5))
    for place, hour in enumerate(order):
        feed(bench, [(place + 1, "a", (HOUR + hour) * 60, (float(hour), 1.0, 90.0))])
    for span in (Span(1), Span(4), Span(9, last=HOUR + 30)):
        found = served(history_of(bench), "a", span)
        assert [(each.as_of, each.revision, each.value, each.model) for each in found] == expected(bench, "a", span)


def test_what_no_commit_names_was_never_forecast(bench: Bench) -> None:
    *_, last = bench.blobs.names("predictions")
    good = bench.blobs.read("predictions", last) or b""
    bench.blobs.write("predictions", f"{last.rsplit('-', 1)[0]}-00000000.parquet", b"damaged")
    other = last.replace(last.rsplit("/", 1)[1][:20], f"{10**9:020d}")
    bench.blobs.write("predictions", other, good)
    assert len(served(history_of(bench), "a", Span(3))) == 3


def test_a_damaged_blob_that_a_commit_names_is_told_and_not_stepped_over(bench: Bench) -> None:
    *_, last = bench.blobs.names("predictions")
    bench.blobs.write("predictions", last, b"damaged")
    reply = forecasts(lambda: history_of(bench), "a", {}, {})
    assert (reply.status, reply.kind) == (500, "application/problem+json")
    assert last in json.loads(reply.body)["detail"]


def asked(bench: Bench, device: str = "a", accept: str = "", **query: str) -> Reply:
    query = {name.removesuffix("_"): value for name, value in query.items()}
    return forecasts(lambda: history_of(bench), device, query, {"accept": accept} if accept else {})


def test_the_route_answers_json_and_csv_that_say_the_same(bench: Bench) -> None:
    reply = asked(bench, last="3")
    told = json.loads(reply.body)
    assert (reply.status, reply.kind) == (200, "application/json")
    assert (told["device_id"], told["count"], told["unit"]) == ("a", 3, TASK.words.unit)
    rows = expected(bench, "a", Span(3))
    assert [(each["as_of"], each["model_version"]) for each in told["forecasts"]] == [
        (f"{hour}:00:00Z", model) for hour, _, _, model in rows
    ]
    assert [each["value"] for each in told["forecasts"]] == pytest.approx([value for _, _, value, _ in rows], rel=1e-6)
    for page in (asked(bench, last="3", format="csv"), asked(bench, accept="text/csv", last="3")):
        assert page.kind == "text/csv"
        for line, each in zip(csv.DictReader(io.StringIO(page.body.decode())), told["forecasts"], strict=True):
            numbers = {name: float(line[name]) for name in ("value", "lower", "upper", "revision")}
            numbers["cold_start"] = line["cold_start"] == "True"
            assert line | numbers == each | {"device_id": "a"}


def test_a_time_is_answered_from_its_first_hour_to_its_last(bench: Bench) -> None:
    first, last = hour_text(HOUR + 30), hour_text(HOUR + 32)
    for query in ({"from_": first, "to": last}, {"from_": f"{first}:00Z", "to": f"{last}:00:00Z"}):
        told = json.loads(asked(bench, **query).body)["forecasts"]
        assert [each["as_of"][:13] for each in told] == [last, hour_text(HOUR + 31), first]
    assert json.loads(asked(bench, from_=hour_text(HOUR + 46)).body)["forecasts"][-1]["as_of"][:13] == hour_text(
        HOUR + 46
    )
    assert json.loads(asked(bench, to=first).body)["forecasts"][0]["as_of"][:13] == first


@pytest.mark.parametrize(
    ("device", "query", "part"),
    [
        ("a", {"last": "0"}, "last: '0' is not a whole number from 1 to 8,784"),
        ("a", {"last": "9" * 400}, "last: "),
        ("a", {"last": "\u0663"}, "last: "),
        ("a", {"format": "xml"}, "format: 'xml' is neither json nor csv"),
        ("a", {"from": "yesterday"}, "from: 'yesterday' is not a whole hour in UTC"),
        ("a", {"from": "2026-11-20T10", "to": "2026-11-20T09"}, "to: is not from `from` on"),
        ("a", {"from": "2024-11-20T10", "to": "2026-11-20T09"}, "8,784 as-of hours"),
        ("a", {"last": "1", "to": "2026-11-20T09"}, "not both"),
        ("a", {"lst": "1"}, "'lst' is not known here"),
        ("", {}, "device: '' is empty"),
        ("a\nb", {}, "holds a control character"),
        ("x" * 10_000, {}, "is longer than"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_read(device: str, query: dict[str, str], part: str) -> None:
    def never() -> CommitHistory:
        raise AssertionError("it was read")

    reply = forecasts(never, device, query, {})
    told = json.loads(reply.body)
    assert (reply.status, reply.kind, told["status"], told["reason"]) == (
        400,
        "application/problem+json",
        400,
        "bad_request",
    )
    assert part in told["detail"]
    assert len(told["detail"]) < 300


def test_a_device_without_forecasts_is_not_found_and_a_store_that_is_down_is_another_matter(bench: Bench) -> None:
    told = json.loads(asked(bench, HOSTILE).body)
    assert (told["status"], told["reason"], told["title"]) == (404, "no_forecast", "Not Found")
    assert json.loads(asked(bench, to="1990-01-01T00").body)["status"] == 404

    def down() -> CommitHistory:
        raise TransientFailure("blob store: not there")

    assert forecasts(down, "a", {}, {}).status == 503


def shown(history: CommitHistory, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    inspect_arguments.add(parser.add_subparsers(dest="command"))
    code = command.show(history, parser.parse_args(["forecasts", *arguments]))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_command_shows_the_newest_of_each_device_or_those_of_one(
    bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    history = history_of(bench, compacted(bench, tmp_path))
    code, out, _ = shown(history, capsys)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        [device, served(history, device, Span(1))[0].as_of] for device in "ab"
    ]
    assert {"champion", "challenger"} & set(out.split())
    _, out, _ = shown(history, capsys, "a", "--last", "5", "--format", "json")
    assert json.loads(out)["forecasts"] == json.loads(asked(bench, last="5").body)["forecasts"]
    _, out, _ = shown(
        history, capsys, "a", "--from", hour_text(HOUR + 30), "--to", hour_text(HOUR + 31), "--format", "csv"
    )
    assert [line[:15] for line in out.splitlines()[1:]] == [f"a,{hour_text(HOUR + at)}" for at in (31, 30)]


def test_the_command_says_where_to_look_when_there_is_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(history_of(bench), capsys, "gone\x1b[31m")
    assert (code, out) == (1, "")
    assert "there is no such forecast of device 'gone\\x1b[31m'; `python -m local status` says" in err
    with pytest.raises(ConfigError, match="last: 'x' is not a whole number"):
        shown(history_of(bench), capsys, "a", "--last", "x")


def test_a_device_id_that_a_spreadsheet_takes_for_a_formula_is_escaped_in_csv_and_shown_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    rows: list[Any] = [(place, HOSTILE, *rest) for place, _, *rest in hourly("a", 30, HOUR)]
    feed(bench, rows)
    _, out, _ = shown(history_of(bench), capsys, "--format", "csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert line["device_id"] == f"'{HOSTILE}"
    _, out, _ = shown(history_of(bench), capsys)
    assert HOSTILE in out
    assert json.loads(asked(bench, HOSTILE).body)["device_id"] == HOSTILE


@pytest.mark.parametrize(
    ("as_of", "written"), [("2026-11-20T10", "2026-11-20T10:00:00Z"), ("2026-11-20T10:20", "2026-11-20T10:20:00Z")]
)
def test_times_are_whole_whatever_the_cadence(as_of: str, written: str) -> None:
    numbers: dict[str, Any] = {"value": 1.0, "lower": 0.0, "upper": 2.0}
    made: dict[str, Any] = {
        "category": "",
        "model": "floor",
        "role": "baseline",
        "served": True,
        "revision": 0,
        "sequence": 1,
    }
    found = [Forecast(device="a", as_of=as_of, target_time=as_of, cold_start=False, **numbers, **made)]
    assert as_csv(found).decode().splitlines()[1].startswith(f"a,{written},{written},")
    assert json.loads(as_json(TASK, found))["forecasts"][0]["as_of"] == written
