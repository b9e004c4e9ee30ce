"""`explain` and `lineage` as a person sees them, and as a machine reads them."""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from typing import Any

import msgspec
import pytest

from local.inspect import arguments as inspect_arguments
from local.inspect import explain, lineage
from local.inspect.explain import name_of
from shared.app.ledger_store import Ledger
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.forecast_id import ForecastId, hour_text
from shared.app.lookback.lineage import Trace
from shared.app.lookback.lineage_names import Registered
from shared.core.model.manifest import decode_manifest, encode_manifest
from shared.errors import ConfigError
from tests.kit import HOUR, HandClock
from tests.kit.data.real_past import DEVICES, real_past

AS_OF = HOUR + 130
HOSTILE = DEVICES[2]
whole = lru_cache(real_past)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    inspect_arguments.add(parser.add_subparsers(dest="command"))
    return parser.parse_args(arguments)


def explained(history: CommitHistory, *arguments: str) -> int:
    given = parsed("explain", *arguments)
    return explain.explain(history, name_of(given), given)


def traced(history: CommitHistory, *arguments: str, **registered: Registered) -> int:
    ledger = Ledger("air_quality", history.blobs, HandClock())  # type: ignore[arg-type]
    return lineage.trace_back(Trace(history, ledger, registered), ["a [b] note"], parsed("lineage", *arguments))


def test_a_page_tells_the_forecast_its_origin_and_that_it_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    champion, history = whole()
    assert explained(history, f"{HOSTILE}@{hour_text(AS_OF)}") == 0
    out = capsys.readouterr().out
    for part in (
        f"device {HOSTILE}, as of {hour_text(AS_OF)}, for {hour_text(AS_OF + 24)} UTC",
        "champion, revision 0, users saw it",
        "agrees bit for bit",
        "commits/partition=",
        "the partition's beginning and 0 commits after it",
        f"model         {champion}, MLflow run run-0, code 0",
        "trained on    made up: 400 rows, 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z",
        "window of hours (the newest 6 of 121, all with --all)",
        "features of the model (the first 24 of ",
        "onnxruntime ",
    ):
        assert part in out, part
    assert max(map(len, out.splitlines())) < 200


def test_all_of_it_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(whole()[1], f"x@{hour_text(AS_OF)}/challenger", "--all") == 0
    out = capsys.readouterr().out
    assert "window of hours (121)" in out
    assert hour_text(AS_OF - 120) in out
    assert "users did not see it" in out


def test_a_machine_gets_everything_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(whole()[1], "--device", HOSTILE, "--as-of", hour_text(AS_OF), "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["agrees"], found["forecast"]["device"], len(found["window"]["values"])) == (True, HOSTILE, 121)
    assert [each["name"] for each in found["compared"]] == ["value", "lower", "upper"]
    assert found["deployment"]["quarantine"] == []


def test_what_does_not_agree_is_red_by_how_much_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    champion, history = real_past(125)
    raw = history.blobs.read("models", f"{champion}/manifest.json") or b""
    manifest = decode_manifest(raw)
    interval = msgspec.structs.replace(manifest.interval, upper=[each + 1.0 for each in manifest.interval.upper])
    changed = encode_manifest(msgspec.structs.replace(manifest, interval=interval))
    history.blobs.write("models", f"{champion}/manifest.json", changed)  # type: ignore[attr-defined]
    assert explained(history, f"x@{hour_text(HOUR + 122)}") == 1
    assert "does NOT agree: upper differs by +1" in capsys.readouterr().out
    assert explained(history, f"x@{hour_text(HOUR + 122)}", "--json") == 1
    assert json.loads(capsys.readouterr().out)["agrees"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a forecast: PREDICTION, or --device and --as-of"),
        (["--device", "x"], "name a forecast"),
        (["--as-of", "2026-11-20T10"], "name a forecast"),
        (["x@2026-11-20T10", "--role", "champion"], "give either PREDICTION or --device and --as-of, not both"),
        (["x@2026-11-20T10", "--revision", "0"], "not both"),
        (["x"], "'x' does not name a forecast: write DEVICE@AS_OF"),
        (["--device", "x", "--as-of", "today"], "'today' is not a whole hour in UTC"),
    ],
)
def test_arguments_that_name_no_forecast_are_told(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_of(parsed("explain", *arguments))


def test_options_name_what_a_text_cannot() -> None:
    device = f"a@{hour_text(AS_OF)}/champion"
    given = parsed(
        "explain", "--device", device, "--as-of", hour_text(AS_OF), "--revision", "0", "--role", "challenger"
    )
    assert name_of(given) == ForecastId(device, AS_OF, 0, "challenger")


def test_a_lineage_page_tells_model_run_dataset_ledger_registry_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    champion, history = real_past(125)
    ledger = Ledger("air_quality", history.blobs, HandClock())  # type: ignore[arg-type]
    data = {"step": "installed", "champion": champion, "about": champion, "reasons": ["the first"]}
    ledger.decide("rollout", lambda _: (f"{champion}/begin", data), "some [bold]body")
    known = Registered(number="3", run_id="run-0", tags={}, aliases=["champion"])
    assert traced(history, f"{HOSTILE}@{hour_text(HOUR + 122)}", **{champion: known}) == 0
    out = capsys.readouterr().out
    for part in (
        f"{HOSTILE} as of {hour_text(HOUR + 122)}: ",
        f"made by {champion} in commits/partition=",
        f"model {champion}, champion now",
        "MLflow run  run-0",
        "dataset     made up",
        "number 3, champion",
        f"some [bold]body: about {champion}",
        "note: a [b] note",
    ):
        assert part in out, part
    assert traced(history, "run-1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    made = found["versions"][0]["forecasts"]["challenger"]
    assert (found["kind"], made["served"]) == ("run", 0)
    assert made["made"] > 0


def test_versions_of_the_registry_are_read_by_package_version() -> None:
    row = {"number": "1", "run_id": "run-7", "tags": {"v": "v7", "dataset": "lake@12"}, "aliases": ["champion"]}
    found = lineage.by_version([row, {**row, "tags": {}}], "v")
    assert found == {"v7": Registered(number="1", run_id="run-7", tags=row["tags"], aliases=["champion"])}  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", [None, "", "no such scheme", "http://user:secret@127.0.0.1:1/x"])
def test_a_registry_that_cannot_be_asked_is_a_note_without_its_address_s_secret(
    uri: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    notes: list[str] = []
    assert lineage.registry_of("air_quality", uri, notes) == {}
    assert len(notes) == 1
    assert notes[0].startswith("the registry was not looked into: ")
    assert "secret" not in notes[0]
