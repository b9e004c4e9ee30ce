"""Where everything local lives, and the clients of a running stack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from local import stack
from local.stack_process import StackError
from shared.adapters import onnx_model, scenario_files
from shared.adapters.azure_blobs import AzureBlobs
from shared.adapters.commit_files import ParquetFiles
from shared.app.filing import key_of
from shared.app.release import Release
from shared.app.route import INCOMING
from shared.core.events import FILE_PREFIX
from shared.core.features import Featurizer
from shared.core.scenario import Scenario

PROJECT = stack.PROJECT
FOLDER = PROJECT / ".airloop"
TEMPLATE = PROJECT / "local.settings.json.template"
READINGS, DEVICES = "readings", "telemetry"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A running stack's stores, for the commands.

    Args:
        root: The stack's folder.
        storage: Connection string of its blob account.
        host_url: Address of its host.
        scenario: What it forecasts.
        blobs: Its blobs.
    """

    root: Path
    storage: str
    host_url: str
    scenario: Scenario
    blobs: AzureBlobs

    @classmethod
    def of(cls, root: Path) -> Workspace:
        """The stack that runs on a folder.

        Raises:
            StackError: None runs there.
        """
        running = stack.read(root)
        if running is None or "host" not in running["processes"]:
            raise StackError("no stack is running: start one with `make up` in another terminal")
        host = f"http://127.0.0.1:{running['processes']['host']['port']}"
        return cls.connect(root, running["storage"], host)

    @classmethod
    def connect(cls, root: Path, storage: str, host_url: str) -> Workspace:
        """A workspace on given addresses."""
        return cls(root, storage, host_url, scenario_files.load("air_quality"), AzureBlobs.connect(storage, None))

    @property
    def files(self) -> ParquetFiles:
        """Reads commits and predictions."""
        return ParquetFiles(self.scenario)

    def storage_url(self) -> str:
        """Address of the blob account."""
        return self.storage.split("BlobEndpoint=")[1].rstrip(";")

    @property
    def logs(self) -> Path:
        """The endpoint's data."""
        return self.root / "eventhub"

    def release(self) -> Release:
        """Publishes and deploys packages here."""
        features = Featurizer(self.scenario).features
        return Release(self.blobs, partial(onnx_model.load, featurizer_features=features))

    def drop(self, path: Path, name: str, zone: str | None) -> str:
        """Upload a file into "incoming", piece by piece; returns the source that its readings will name."""
        from azure.storage.blob import BlobClient

        blob = BlobClient.from_connection_string(self.storage, INCOMING, name)
        with path.open("rb") as data:
            done = blob.upload_blob(data, overwrite=True, metadata={"zone": zone} if zone else None)
        return f"{FILE_PREFIX}{name}@{str(done['etag']).strip(chr(34))}"

    def folder_of_report(self, source: str) -> str | None:
        """Folder of a file's summary and report, None until it is done."""
        raw = self.blobs.read("receipts", f"{key_of(source)}/done")
        return None if raw is None else raw.decode()

    def summary(self, folder: str) -> dict[str, Any]:
        """A finished file's summary."""
        import msgspec

        found: dict[str, Any] = msgspec.json.decode(self.blobs.read("reports", f"{folder}/summary.json") or b"{}")
        return found
