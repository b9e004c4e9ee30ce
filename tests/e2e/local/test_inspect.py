"""`explain` and `lineage` on real clients: Azurite, and a lake in it that holds what was removed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from local.inspect import arguments as inspect_arguments
from local.inspect import explain, forecasts, lineage
from local.stack import scenario
from local.stack.addresses import ANY_PORTS
from local.stack.stack import Stack
from local.stack.workspace import READINGS, Workspace
from shared.adapters.lake.delta.storage_options import storage_options
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.lake.compaction import Compaction
from shared.app.lookback.forecast_id import hour_text
from shared.core.task.tasks import task_of
from shared.wiring import CONTAINERS, build
from tests.kit import HOUR, HandClock, MemoryBlobs
from tests.kit.data.real_past import DEVICES, real_past

pytestmark = pytest.mark.emulator
HOURS = 125


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    inspect_arguments.add(parser.add_subparsers(dest="command"))
    return parser.parse_args(arguments)


def copied(space: Workspace, blobs: MemoryBlobs) -> None:
    for container in ("commits", "predictions", "models"):
        for name in blobs.names(container):
            space.blobs.write(container, name, blobs.read(container, name) or b"")


def test_a_forecast_is_explained_and_traced_also_when_only_the_lake_still_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    champion, history = real_past(HOURS)
    with Stack(tmp_path, app_dir=None, ports=ANY_PORTS, containers=CONTAINERS, hubs=[f"{READINGS}:3"]) as stack:
        space = Workspace.connect(tmp_path, stack.storage, "http://127.0.0.1:1", scenario.chosen())
        copied(space, history.blobs)  # type: ignore[arg-type]
        wanted = f"{DEVICES[2]}@{hour_text(HOUR + HOURS - 3)}"
        assert explain.run(space, parsed("explain", wanted)) == 0
        assert "agrees bit for bit" in capsys.readouterr().out
        lake = DeltaLake(task_of(space.scenario), options=storage_options(space.storage, None))
        Compaction(task=task_of(space.scenario), blobs=space.blobs, lake=lake, clock=HandClock()).run()
        for container in ("commits", "predictions"):
            for name in space.blobs.names(container):
                space.blobs.delete(container, name)
        assert explain.run(space, parsed("explain", wanted, "--json")) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["agrees"], found["forecast"]["model"]) == (True, champion)
        assert lineage.run(space, parsed("lineage", wanted, "--json")) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["versions"][0]["forecasts"]["champion"]["made"] == HOURS * len(DEVICES)
        assert told["notes"] == ["the registry was not looked into: give --tracking-uri or set MLFLOW_TRACKING_URI"]


def test_forecasts_are_read_by_command_and_route_from_commits_and_from_the_lake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, history = real_past(HOURS)
    with Stack(tmp_path, app_dir=None, ports=ANY_PORTS, containers=CONTAINERS, hubs=[f"{READINGS}:3"]) as stack:
        space = Workspace.connect(tmp_path, stack.storage, "http://127.0.0.1:1", scenario.chosen())
        application = build({"BLOBS": stack.storage, "READINGS": stack.eventhub, "SCENARIO": "air_quality"})

        def answered() -> list[dict[str, object]]:
            assert forecasts.run(space, parsed("forecasts", DEVICES[2], "--last", "3", "--format", "json")) == 0
            printed = json.loads(capsys.readouterr().out)
            reply = application.forecasts(DEVICES[2], {"last": "3"}, {})
            assert (reply.status, json.loads(reply.body)) == (200, printed)
            found: list[dict[str, object]] = printed["forecasts"]
            return found

        assert forecasts.run(space, parsed("forecasts")) == 1, "nothing was forecast yet"
        copied(space, history.blobs)  # type: ignore[arg-type]
        landed = answered()
        newest = f"{hour_text(HOUR + HOURS - 1)}:00:00Z"
        assert (landed[0]["as_of"], landed[0]["model_version"], len(landed)) == (newest, champion, 3)
        lake = DeltaLake(task_of(space.scenario), options=storage_options(space.storage, None))
        Compaction(task=task_of(space.scenario), blobs=space.blobs, lake=lake, clock=HandClock()).run()
        for container in ("commits", "predictions"):
            for name in space.blobs.names(container):
                space.blobs.delete(container, name)
        assert answered() == landed
        capsys.readouterr()
        assert forecasts.run(space, parsed("forecasts")) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == sorted(DEVICES)
