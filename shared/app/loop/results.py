"""What training jobs leave behind when they are done."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shared.core.model import deployment, manifest
from shared.errors import ContractBroken
from shared.ports import Blobs
from shared.validation import decoded

SKEW_MS = 15 * 60 * 1000  # the clock of the machine that trains may lag behind ours


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a job says of its model, `models/jobs/{job}.json`; beside it the evidence, `models/jobs/{job}.npz`.

    It is the last thing that a job writes: where it is, everything else is there.

    Args:
        job: Name of the job.
        version: Version of the package that it stored.
        run_id: Its MLflow run.
        dataset: What it was trained on, such as `lake@12`.
        trained_until: Hour (since 1970) of the last truth that the shipped model has seen.
        parity: Largest difference between the exported and the trained model, in the target's unit.
        metrics: Out-of-fold scores.
        finished_ms: When it was written, milliseconds since 1970; 0: an older version did not say.
    """

    job: str
    version: str
    run_id: str
    dataset: str
    trained_until: int
    parity: float
    metrics: dict[str, float] = {}
    finished_ms: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """The results in the container "models".

    Args:
        blobs: Where they stand.
    """

    blobs: Blobs

    def read(self, job: str) -> Result:
        """What a job left.

        Raises:
            ContractBroken: Nothing, or nothing that is whole and its own.
        """
        name = f"jobs/{job}.json"
        raw = self.blobs.read(deployment.CONTAINER, name)
        if raw is None:
            raise ContractBroken(f"{deployment.CONTAINER}/{name} is missing: the job left no model")
        found = decoded(raw, Result, f"{deployment.CONTAINER}/{name}")
        if found.job != job or not manifest.VERSION.fullmatch(found.version):
            raise ContractBroken(f"{deployment.CONTAINER}/{name}: is of job {found.job[:80]!r}, {found.version[:80]!r}")
        return found

    def left(self, job: str, since_ms: int) -> bool:
        """Whether a job that began at a time has left its result, whole and of after that time."""
        try:
            return self.read(job).finished_ms >= since_ms - SKEW_MS
        except ContractBroken:
            return False
