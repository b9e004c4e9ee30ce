"""`python -m training` as the job adapters run it: from a lake in Azurite to a published package."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from shared.adapters.lake.delta.storage_options import storage_options
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.app.loop.results import Result
from shared.core.gate import evidence as gate_evidence
from shared.core.model.manifest import FILES
from tests import ROOT
from tests.kit.data import lake_folder
from tests.kit.data.sensor_history import air_quality, history, readings

LAKE = "az://lake/of-the-training-test"
HOURS, FIRST = 36 * 24, 22 * 24


def command(storage: str, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BLOBS": storage}
    whole = [
        *(sys.executable, "-m", "training", "--scenario", "air_quality", "--trials", "1", "--publish"),
        *("--lake-uri", LAKE, "--out", str(out), "--tracking-uri", f"sqlite:///{out.parent / 'mlflow.db'}", *words),
    ]
    return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own command


def fill(storage: str) -> None:
    """Two versions: 22 days, then 14 more."""
    options = dict(storage_options(storage, None)())
    whole = readings(history(HOURS, 1), history(HOURS, 2))
    early = whole.minute < whole.minute[0] + FIRST * 60
    for chosen in (early, ~early):
        part = replace(
            whole,
            device=whole.device[chosen],
            minute=whole.minute[chosen],
            position=whole.position[chosen],
            values=whole.values[chosen],
        )
        lake_folder.write(LAKE, air_quality(), part, options)


@pytest.mark.emulator
def test_a_job_trains_on_a_version_of_the_lake_beside_the_champion_and_publishes(azurite: str, tmp_path: Path) -> None:
    fill(azurite)
    blobs = AzureBlobs.connect(azurite, None)
    before = blobs.read("models", "deployment.json")

    def result(job: str) -> Result:
        return msgspec.json.decode(blobs.read("models", f"jobs/{job}.json") or b"", type=Result)

    found = command(azurite, tmp_path / "first", "--lake", "lake@0", "--job", "first")
    assert found.returncode == 0, found.stderr
    champion = result("first")
    found = command(azurite, tmp_path / "next", "--lake", "lake@1", "--job", "next", "--champion", champion.version)
    assert found.returncode == 0, found.stderr
    challenger = result("next")
    assert (champion.dataset, challenger.dataset) == ("lake@0", "lake@1")
    assert challenger.trained_until == champion.trained_until + HOURS - FIRST
    stored = set(blobs.names("models", f"{challenger.version}/"))
    assert stored == {f"{challenger.version}/{name}" for name in (*FILES, "manifest.json")}
    evidence = gate_evidence.decode(blobs.read("models", "jobs/next.npz") or b"")
    np.testing.assert_array_equal(np.isfinite(evidence.champion), evidence.as_of >= champion.trained_until)
    assert blobs.read("models", "deployment.json") == before
    found = command(azurite, tmp_path / "never", "--lake", "lake@7", "--job", "never")
    assert found.returncode == 1
    assert found.stderr.startswith("training: lake readings@7: ")
    assert "Traceback" not in found.stderr + found.stdout
    assert blobs.read("models", "jobs/never.json") is None
