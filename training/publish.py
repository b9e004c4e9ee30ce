"""The end of a training job: its package beside the others, and a note that says which package came from which job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from shared.adapters import onnx_model, package_files
from shared.adapters.azure_blobs import AzureBlobs
from shared.app.release import Release
from shared.core import deployment
from shared.core.features import Featurizer
from shared.core.scenario import Scenario
from shared.errors import ConfigError
from shared.ports import Blobs

JOBS = "jobs"


def publish(blobs: Blobs, scenario: Scenario, out: Path, job: str) -> str:
    """Upload a package and then the job's note; returns the package's version. The control document stays as it is.

    Doing it again with the same package changes nothing.

    Args:
        blobs: The application's blobs.
        scenario: The use case, whose features serving would compute.
        out: Folder of the package.
        job: Name of the job.

    Raises:
        ContractBroken: Serving would refuse the package, or another one has its version.
    """
    files = package_files.read(out)
    load = partial(onnx_model.load, featurizer_features=Featurizer(scenario).features)
    version = Release(blobs, load).publish(files)
    manifest = load(files).manifest
    note = {
        "job": job,
        "version": version,
        "run_id": manifest.run_id,
        "dataset": manifest.dataset,
        "metrics": manifest.metrics,
    }
    blobs.write(deployment.CONTAINER, f"{JOBS}/{job}.json", msgspec.json.encode(note))
    return version


def storage(env: Mapping[str, str]) -> AzureBlobs:
    """The application's blobs, from the settings of the application.

    Raises:
        ConfigError: There is no setting.
    """
    connection, address = env.get("STORAGE"), env.get("STORAGE__blobServiceUri")
    if not connection and not address:
        raise ConfigError("STORAGE__blobServiceUri (in Azure) or STORAGE (local) is missing")
    return AzureBlobs.connect(connection, address)
