"""The local stack: Azurite, our Event Hubs endpoint and one or more trigger hosts as child processes."""

import contextlib
import datetime as dt
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import IO

from local.stack import programs, state
from local.stack.addresses import Ports, eventhub_connection, storage_connection, with_ports
from local.stack.guard import Guard
from local.stack.process import Process, StackError, chosen_port
from local.stack.programs import PROJECT
from shared.adapters.processes import SYSTEM

HUBS = ("telemetry:4", "readings:4")


@dataclass
class Stack:
    """The processes of one local run, kept under one directory.

    Used as a context manager: entering starts everything and waits until it is ready, leaving stops it in reverse
    order. Everything ends too when this process is killed.

    Args:
        root: Data, logs, settings and stack.json go there.
        app_dir: Directory of function_app.py; None runs no host.
        template: Settings file whose Values the hosts get, with our ports put in.
        settings: More values, which win over the template's.
        containers: Blob containers to create.
        hubs: Hubs as "name:partitions".
        ports: Preferred ports.
        host_options: More arguments of `python -m local.host`.
    """

    root: Path
    _: KW_ONLY
    app_dir: Path | None = PROJECT
    template: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    containers: Sequence[str] = ()
    hubs: Sequence[str] = HUBS
    ports: Ports = field(default_factory=Ports)
    host_options: Sequence[str] = ()
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    interrupted: bool = field(default=False, init=False)
    _started: str = field(default="", init=False)
    _guard: Guard | None = field(default=None, init=False)
    _lock: IO[str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        self.app_dir = self.app_dir and self.app_dir.resolve()

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def storage(self) -> str:
        """Connection string of the blob account."""
        return storage_connection(self.processes["azurite"].port)

    @property
    def eventhub(self) -> str:
        """Connection string of the endpoint, without an entity."""
        return eventhub_connection(self.processes["eventhub"].port)

    def host_url(self, name: str = "host") -> str:
        """Base address of a host."""
        return f"http://127.0.0.1:{self.processes[name].port}"

    def start(self) -> None:
        """Start everything; nothing stays behind when a part does not come up.

        Raises:
            StackError: Another stack or scenario uses this root, something is missing, or a process did not get ready.
        """
        self._take_root()
        self._started = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        self._guard = Guard()
        try:
            self._hold_scenario()
            self._run(programs.azurite(self.root, self.ports.azurite))
            self._run(programs.endpoint(self.root, self.ports.eventhub, self.hubs))
            create_containers(self.storage, self.containers)
            if self.app_dir is not None:
                self.start_host()
        except BaseException:
            self.stop()
            raise

    def start_host(self, name: str = "host", *, options: Sequence[str] = ()) -> None:
        """Start a further host on the same app, hubs and account.

        Args:
            name: Its name in this stack, "host" for the first.
            options: More arguments of `python -m local.host`.

        Raises:
            StackError: There is one of that name, or it did not get ready.
        """
        if name in self.processes:
            raise StackError(f"there is a {name} already")
        port = chosen_port(self.ports.host)  # jobs are told where the host is
        first = self.processes["host"].port if "host" in self.processes else port
        values = self._host_values() | self._job_values(first)
        settings = self.root / "host.settings.json"
        settings.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2), "utf-8")
        own = ["--app-dir", str(self.app_dir), "--settings", str(settings)]
        self._run(programs.host(self.root, name, port, values, [*own, *self.host_options, *options]))

    def restart(self, name: str) -> None:
        """Stop a process, unless it was killed before, and start it on the same port."""
        self.processes[name].stop(self._running_guard())
        self._run(self.processes[name])

    def kill(self, name: str) -> None:
        """End a process as a crash would; it does not count as died."""
        self.processes[name].kill(self._running_guard())
        self._write()

    def check(self) -> None:
        """Look after the processes.

        Raises:
            StackError: One died; says which, with the end of its log.
            KeyboardInterrupt: `interrupt` was called.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        for process in self.processes.values():
            if (why := process.died()) is not None:
                raise StackError(why)

    def interrupt(self, *_: object) -> None:
        """Handle a signal: what is raised in the middle of a finalizer gets lost, but `check` raises it again.

        Raises:
            KeyboardInterrupt: Always.
        """
        self.interrupted = True
        raise KeyboardInterrupt

    def wait(self, stop: threading.Event, poll_s: float = 0.2) -> None:
        """Look after the processes until `stop` is set.

        Raises:
            StackError: One died.
        """
        while not stop.wait(poll_s):
            self.check()

    def stop(self) -> None:
        """Stop everything in reverse order: hosts, endpoint, and Azurite last, which saves what they wrote."""
        if self._guard is not None:
            for process in reversed(self.processes.values()):
                process.stop(self._guard)
            self._guard.close()
            self._guard = None
            state.remove(self.root)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _running_guard(self) -> Guard:
        if self._guard is None:
            raise StackError("the stack does not run")
        return self._guard

    def _run(self, process: Process) -> None:
        self.processes[process.name] = process
        process.start(self._running_guard())
        self._write()

    def _values(self) -> dict[str, str]:
        """What the template and our settings say, as they say it."""
        template = json.loads(self.template.read_text("utf-8"))["Values"] if self.template is not None else {}
        return {**template, **self.settings}

    def _host_values(self) -> dict[str, str]:
        azurite, eventhub = self.processes["azurite"].port, self.processes["eventhub"].port
        storage = self.settings.get("AzureWebJobsStorage", self.storage)
        return with_ports(self._values() | {"AzureWebJobsStorage": storage}, azurite, eventhub)

    def _job_values(self, port: int) -> dict[str, str]:
        """Where jobs of this stack run and report, whatever the settings file says for the usual ports."""
        return {
            "JOBS_FOLDER": str(self.root / "jobs"),
            "JOB_EVENTS_URL": f"http://127.0.0.1:{port}/runtime/webhooks/eventgrid?functionName=job_events",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.root / 'mlflow.db'}",
        }

    def _take_root(self) -> None:
        """Make sure that nobody else runs here; an earlier stack whose starter was killed may still be ending."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = (self.root / "stack.lock").open("w")
        if not SYSTEM.lock(self._lock.fileno()):
            self._lock.close()
            self._lock = None
            running = state.read(self.root) or {}
            raise StackError(f"a stack is running on {self.root} (process {running.get('pid', '?')})")
        state.await_end(self.root)

    def _hold_scenario(self) -> None:
        """Refuse to run a scenario on the data of another one: its commits and its state are no use here."""
        name, note = self._values().get("SCENARIO"), self.root / "scenario"
        name = name and Path(name).stem
        held = note.read_text("utf-8") if note.exists() else name
        if name is not None and held != name:
            raise StackError(f"{self.root} holds data of {held}: give {name} a folder of its own with --root")
        if name is not None:
            note.write_text(name, "utf-8")

    def _write(self) -> None:
        described = {
            "pid": os.getpid(),
            "started": self._started,
            "storage": self.storage,
            "eventhub": self.eventhub if "eventhub" in self.processes else None,
            "settings": str(self.root / "host.settings.json"),
            "scenario": self._values().get("SCENARIO"),
            "processes": {name: process.described() for name, process in self.processes.items()},
        }
        state.write(self.root, described)


def create_containers(storage: str, names: Sequence[str]) -> None:
    """Create the containers that are not there yet."""
    if not names:
        return
    # here because it costs half a second that `status` and the like need not pay
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(storage) as service:
        for name in names:
            with contextlib.suppress(ResourceExistsError):
                service.create_container(name)
