"""Stored model packages, looked at by whoever decides about them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from shared.core.model import deployment
from shared.core.model import manifest as package
from shared.core.model.feature import Feature
from shared.core.model.manifest import Manifest
from shared.errors import ContractBroken
from shared.ports import Blobs, LoadModel

log = logging.getLogger(__name__)
NAMES = ("manifest.json", *package.FILES)
TIMED_RUNS = 20


@dataclass(frozen=True, slots=True)
class StoredPackages:
    """The packages in the container "models".

    Args:
        blobs: Where they stand.
        load: Loads and checks a package as serving does.
        features: Those that this application computes.
    """

    blobs: Blobs
    load: LoadModel
    features: Sequence[Feature]

    def files(self, version: str) -> dict[str, bytes]:
        """Those of its files that are there."""
        read = {name: self.blobs.read(deployment.CONTAINER, f"{version}/{name}") for name in NAMES}
        return {name: raw for name, raw in read.items() if raw is not None}

    def manifest(self, version: str) -> Manifest:
        """What a package says of itself.

        Raises:
            ContractBroken: There is no such package, or its manifest cannot be read.
        """
        raw = self.blobs.read(deployment.CONTAINER, f"{version}/manifest.json")
        if raw is None:
            raise ContractBroken(f"{deployment.CONTAINER}/{version}/manifest.json is missing")
        return package.decode_manifest(raw)

    def latency_ms(self, version: str) -> float:
        """Time of one forecast here and now, NaN when the package cannot be loaded."""
        try:
            return self.timed(self.files(version))
        except ContractBroken as error:
            log.warning("%s cannot be timed: %s", version, error)
            return math.nan

    def timed(self, files: Mapping[str, bytes]) -> float:
        """Time of one forecast of a package, in milliseconds.

        Raises:
            ContractBroken: Serving would refuse it.
        """
        model, row, taken = self.load(files), np.zeros((1, len(self.features)), np.float32), []
        for _ in range(TIMED_RUNS):
            began = time.perf_counter()
            model.predict(row)
            taken.append((time.perf_counter() - began) * 1000)
        return float(median(taken))
