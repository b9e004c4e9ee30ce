"""A model whose answers are exact, its packages, and the control document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from shared.core.intake.readings import Floats
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import FILES, Damped, Interval, Manifest, encode_manifest
from tests.kit.memory import MemoryBlobs
from tests.kit.scenario import SCENARIO


@dataclass(frozen=True)
class Guess:
    """A model whose answer depends on its version, and on the place of every value and every gap; exact in float32."""

    manifest: Manifest

    def predict(self, matrix: Floats) -> Floats:
        weight = np.arange(matrix.shape[1]) % 11 + 1
        known = np.where(np.isnan(matrix), 3.0, np.rint(matrix.astype(np.float64) * 4) % 17) @ weight
        if self.manifest.version == "nan":
            known[:] = np.nan
        if self.manifest.version.startswith("nan-at-"):
            known[(matrix == float(self.manifest.version[7:])).any(axis=1)] = np.nan
        return np.asarray((known + sum(self.manifest.version.encode())) % 1000, np.float32)


def load(files: Mapping[str, bytes]) -> Guess:
    return Guess(msgspec.json.decode(files["manifest.json"], type=Manifest))


def publish(blobs: MemoryBlobs, version: str) -> None:
    manifest = Manifest(
        version=version,
        scenario=SCENARIO.name,
        created="",
        run_id="",
        dataset="",
        code_version="",
        training_start="",
        training_end="",
        rows=0,
        features=[],
        interval=Interval(0.9, [100.0], [-5.0, -9.0], [5.0, 9.0]),
        damped=Damped(0.0, 1.0, 0.0),
        metrics={},
        sha256={},
        size_bytes=0,
        latency_ms=0.0,
    )
    blobs.write("models", f"{version}/manifest.json", encode_manifest(manifest))
    for name in FILES:
        blobs.write("models", f"{version}/{name}", b"")


def deploy(
    blobs: MemoryBlobs,
    champion: str | None,
    quarantine: Sequence[str] = (),
    challenger: str | None = None,
    share: float = 0.0,
) -> None:
    """Publish what is named, and tell serving."""
    for version in (champion, challenger):
        if version is not None:
            publish(blobs, version)
    wanted = Deployment(champion=champion, challenger=challenger, share=share, quarantine=[*quarantine])
    blobs.write("models", "deployment.json", deployment.encode(wanted))
