"""Time travel: what stood behind a forecast, and the same bits again from the state as it was then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.adapters.commit_files import ParquetFiles
from shared.adapters.lake_archive import LakeArchive
from shared.adapters.memory_blobs import MemoryBlobs
from shared.adapters.memory_stream import MemoryStream
from shared.adapters.onnx_model import load as load_onnx
from shared.app.explain import Explain
from shared.app.explanation import Explanation
from shared.app.forecast_name import ForecastName, hour_text, named, parse, required
from shared.app.lake import Compaction
from shared.app.past import Past
from shared.core.commit import place_of
from shared.core.package import decode_manifest, encode_manifest
from shared.core.readings import Floats
from shared.errors import ConfigError, ContractBroken
from shared.settings import Settings
from shared.wiring import assemble
from tests.flow import small, tiny_model
from tests.flow.small import HOUR, MACHINE, SCENARIO, Bench, Guess, HandClock, Row, deploy, hourly

HOSTILE = "a@2026-01-01T00/#champion"


def past_of(bench: Bench, lake: LakeArchive | None = None, partitions: int | None = None) -> Past:
    return Past(MACHINE, bench.blobs, ParquetFiles(SCENARIO), lake, partitions)


def explain(bench: Bench, wanted: ForecastName, lake: LakeArchive | None = None) -> Explanation:
    return Explain(past_of(bench, lake), small.load)(wanted)


def rows_at(start: int, hours: int, devices: str = "ab", first: int = 1) -> list[Row]:
    return [(place + first - 1, *rest) for place, *rest in hourly(devices, hours, HOUR + start)]  # type: ignore[misc]


def feed(bench: Bench, source: str, rows: list[Row]) -> None:
    bench.worker().take(bench.send(source, rows))


def listed(blobs: MemoryBlobs, version: str) -> None:
    """Let the package of a version say that it uses all features."""
    raw = blobs.read("models", f"{version}/manifest.json")
    features = [(feature.name, feature.version) for feature in MACHINE.featurizer.features]
    manifest = msgspec.structs.replace(decode_manifest(raw or b""), features=features, run_id=f"run-{version}")
    blobs.write("models", f"{version}/manifest.json", encode_manifest(manifest))


@pytest.fixture
def story() -> Bench:
    """Two models in shadow, then in canary; a late reading; a quarantine; another champion. Snapshots in between."""
    bench = Bench(every=2)
    deploy(bench.blobs, "v1", challenger="v2")
    feed(bench, "hub/0", rows_at(0, 10))
    late = (21, "a", (HOUR + 8) * 60 + 30, (44.0, 0.5, 10.0))
    feed(bench, "hub/0", [late])
    deploy(bench.blobs, "v1", challenger="v2", share=1.0, quarantine=["b"])
    feed(bench, "hub/0", rows_at(10, 4, first=22))
    deploy(bench.blobs, "v3")
    feed(bench, "hub/0", rows_at(14, 6, first=30))
    for version in ("v1", "v2", "v3"):
        listed(bench.blobs, version)
    return bench


def every(bench: Bench) -> list[ForecastName]:
    """Names of all forecasts that were made."""
    return [
        ForecastName(device, as_of, revision, role)
        for role in ("champion", "challenger")
        for device, as_of, revision in bench.forecasts(role)
    ]


def test_every_forecast_of_a_story_with_everything_is_recomputed_to_the_bit(story: Bench) -> None:
    names = every(story)
    assert {name.role for name in names} == {"champion", "challenger"}
    assert any(name.revision == 1 for name in names)
    begins = set()
    for name in names:
        found = explain(story, name)
        assert (found.agrees, found.why) == (True, ""), name
        value, model = story.forecasts(name.role or "")[name.device, name.as_of, name.revision or 0]
        assert (found.forecast.value, found.forecast.model, found.model.run_id) == (value, model, f"run-{model}")
        begins.add(found.commit.begin)
    assert "" in begins
    assert len(begins) > 1, "some began with a snapshot"
