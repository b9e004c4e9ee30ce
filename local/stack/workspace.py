"""Where everything local lives, and the clients of a running stack."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local.stack import scenario as stack_scenario
from local.stack import state
from local.stack.process import StackError
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta.storage_options import storage_options
from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.models import onnx_model
from shared.adapters.processes import SYSTEM
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.app.evolution import recorded
from shared.app.release.publish import Release
from shared.app.route.file_books import key_of
from shared.app.route.file_letters import AGAIN
from shared.app.route.files import INCOMING
from shared.core.scenario import Scenario
from shared.core.stream.events import FILE_PREFIX
from shared.core.task.task import Task
from shared.core.task.tasks import task_of

PIECE_BYTES = 4 << 20
READINGS, DEVICES = "readings", "telemetry"
# what the blob service takes
_NAME = re.compile(r"[^/\x00-\x1f\x7f\ud800-\udfff][^\x00-\x1f\x7f\ud800-\udfff]{0,1000}(?<![./])")
PATIENCE: dict[str, Any] = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1, "random_jitter_range": 1}
PIECES: dict[str, Any] = {"max_single_put_size": PIECE_BYTES, "max_block_size": PIECE_BYTES}


@dataclass(frozen=True, slots=True)
class Workspace:
    """A running stack's stores, for the commands."""

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
            ConfigError: SCENARIO names another scenario than its own.
        """
        running = state.read(root)
        if running is None or not _runs(running):
            raise StackError(f"no stack is running on {root}: start one with `make up` in another terminal")
        host = f"http://127.0.0.1:{running['processes']['host']['port']}"
        return cls.connect(root, running["storage"], host, stack_scenario.of_stack(running))

    @classmethod
    def connect(cls, root: Path, storage: str, host_url: str, scenario: Scenario) -> Workspace:
        """A workspace on given addresses."""
        return cls(root, storage, host_url, scenario, AzureBlobs.connect(storage, None))

    @property
    def files(self) -> ParquetFiles:
        """Reads commits and predictions."""
        return ParquetFiles(self.task)

    @property
    def task(self) -> Task:
        """What is asked and answered, with the versions that the store's scenario has had."""
        return recorded(task_of(self.scenario), self.blobs)

    def check(self, then: str) -> None:
        """Look whether the stack is still the one that it was.

        Args:
            then: What a person should know when it is not.

        Raises:
            StackError: It ended.
        """
        running = state.read(self.root)
        if running is None or not _runs(running) or running["storage"] != self.storage:
            raise StackError(f"the stack on {self.root} has ended: start it again with `make up`; {then}")

    @property
    def logs(self) -> Path:
        """The endpoint's data."""
        return self.root / "eventhub"

    def lake(self) -> DeltaLake:
        """The lake's tables."""
        return DeltaLake(self.task, options=storage_options(self.storage, None))

    def release(self) -> Release:
        """Publishes and deploys packages here."""
        features = task_of(self.scenario).features
        return Release(self.blobs, partial(onnx_model.load, featurizer_features=features))

    def drop(self, path: Path, name: str, zone: str | None, device: str | None = None, *, again: bool = False) -> str:
        """Upload a file into "incoming", piece by piece; returns the source that its readings will name.

        With `again` it is read even where the same bytes were read whole before.

        Raises:
            StackError: The store does not take the file, or not under this name.
        """
        from azure.core.exceptions import AzureError
        from azure.storage.blob import BlobClient

        if not _NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
            raise StackError(f"{name!a} cannot be the name of a blob: give another one with --name")
        told = {"zone": (zone, "/+:-_"), "device": (device, ""), AGAIN: ("true" if again else None, "")}
        metadata = {key: quote(value, safe=safe) for key, (value, safe) in told.items() if value}
        try:
            blob = BlobClient.from_connection_string(self.storage, INCOMING, name, **PATIENCE, **PIECES)
            with path.open("rb") as data:
                done = blob.upload_blob(data, overwrite=True, metadata=metadata)
        except (AzureError, OSError) as error:
            why = str(error).partition("\n")[0]
            raise StackError(f"{path} could not be dropped: {why}") from error
        return f"{FILE_PREFIX}{name}@{str(done['etag']).strip(chr(34))}"

    def keep(self, summary: dict[str, Any]) -> dict[str, Path]:
        """Copy a finished file's report, and its answer if it has one, out of the store: a browser may not ask there.

        Returns:
            Name of each copy, and where it is.
        """
        wanted = {"report": f"{summary['folder']}/report.html"}
        if summary.get("answer"):
            wanted["answer"] = f"{summary['folder']}/answer.csv"
        kept = {}
        for name, blob in wanted.items():
            raw = self.blobs.read("reports", blob)
            if raw is not None:
                kept[name] = self.root / "reports" / blob
                kept[name].parent.mkdir(parents=True, exist_ok=True)
                kept[name].write_bytes(raw)
        return kept

    def summaries(self) -> list[dict[str, Any]]:
        """Summaries of all finished files, by name."""
        done = [name for name in self.blobs.names("receipts") if name.endswith("/done")]
        folders = [(self.blobs.read("receipts", name) or b"").decode() for name in done]
        return sorted((self.summary(folder) for folder in folders), key=lambda found: str(found.get("file")))

    def folder_of_report(self, source: str) -> str | None:
        """Folder of a file's summary and report, None until it is done."""
        raw = self.blobs.read("receipts", f"{key_of(source)}/done")
        return None if raw is None else raw.decode()

    def summary(self, folder: str) -> dict[str, Any]:
        """A finished file's summary."""
        import msgspec

        found: dict[str, Any] = msgspec.json.decode(self.blobs.read("reports", f"{folder}/summary.json") or b"{}")
        return found


def _runs(running: dict[str, Any]) -> bool:
    """Whether all processes of a stack with a host live; its description stays behind when the starter was killed."""
    processes = running["processes"]
    return "host" in processes and all(SYSTEM.identity(each["pid"]) == each["identity"] for each in processes.values())
