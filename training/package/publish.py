"""The end of a training job: its package beside the others, its evidence, and what it says of its model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from shared.adapters.models import onnx_model, package_folder
from shared.adapters.stores.clock import WallClock
from shared.app.loop.results import Result
from shared.app.release.publish import Release
from shared.core.gate import evidence as gate_evidence
from shared.core.model import deployment
from shared.core.model.manifest import Manifest
from shared.core.retrain.job_spec import JOB_NAME
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from shared.errors import ConfigError, ContractBroken
from shared.ports import Blobs
from training.calibrate import history
from training.package import evidence

JOBS = "jobs"


def publish(blobs: Blobs, scenario: Scenario, out: Path, job: str) -> str:
    """Upload a package with what lies beside it, last the job's result; returns the package's version.

    Until the result is there nothing has happened for anybody who reads it. A second run of a job replaces the result
    of the first one at its very end. The control document stays as it is.

    Args:
        blobs: The application's blobs.
        scenario: The use case, whose features serving would compute.
        out: Folder of the package; evidence and historic profile lie beside it.
        job: Name of the job.

    Raises:
        ContractBroken: Serving would refuse the package, another one has its version, or its evidence is missing.
        ConfigError: That cannot be a job's name.
    """
    if not JOB_NAME.fullmatch(job):
        raise ConfigError(f"--job: {job[:80]!r} is not of the form {JOB_NAME.pattern}")
    files = package_folder.read(out)
    beside = {path: _read(path) for path in (evidence.path_of(out), history.path_of(out))}
    proof, profile = beside.values()
    gate_evidence.decode(proof)
    load = partial(onnx_model.load, featurizer_features=task_of(scenario).features)
    version = Release(blobs, load).publish(files)
    manifest = load(files).manifest
    blobs.write(deployment.CONTAINER, history.blob_of(manifest), profile)
    blobs.write(deployment.CONTAINER, f"{JOBS}/{job}.npz", proof)
    blobs.write(deployment.CONTAINER, f"{JOBS}/{job}.json", msgspec.json.encode(_result(job, manifest)))
    return version


def _result(job: str, manifest: Manifest) -> Result:
    return Result(
        job=job,
        finished_ms=WallClock().now_ms(),
        version=manifest.version,
        run_id=manifest.run_id,
        dataset=manifest.dataset,
        trained_until=manifest.trained_until,
        parity=manifest.metrics["parity"],
        metrics=manifest.metrics,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContractBroken(f"{path.name}: {error.strerror}; it should lie beside the package") from error
