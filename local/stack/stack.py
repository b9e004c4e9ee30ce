"""The local stack: Azurite, our Event Hubs endpoint and one or more trigger hosts as child processes."""

import contextlib
import datetime as dt
import fcntl
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from local.stack.guard import Guard, identity
from local.stack.process import Process, StackError, chosen_port, free_port

PROJECT = Path(__file__).resolve().parents[2]
AZURITE = PROJECT / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
# not a secret: the key that every Azurite has, from its documentation
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
HUBS = ("telemetry:4", "readings:4")
LEFTOVERS_S = 30.0  # how long an earlier stack may take to go away


@dataclass(frozen=True, slots=True)
class Ports:
    """Preferred ports; one that is taken, or 0, is replaced by any free one."""

    azurite: int = 10000
    eventhub: int = 5672
    host: int = 7071


ANY_PORTS = Ports(0, 0, 0)


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

    def __init__(
        self,
        root: Path,
        *,
        app_dir: Path | None = PROJECT,
        template: Path | None = None,
        settings: Mapping[str, str] | None = None,
        containers: Sequence[str] = (),
        hubs: Sequence[str] = HUBS,
        ports: Ports | None = None,
        host_options: Sequence[str] = (),
    ) -> None:
        self.root = root.resolve()
        self.processes: dict[str, Process] = {}
        self.interrupted = False
        self._app_dir = app_dir.resolve() if app_dir is not None else None
        self._template = template
        self._settings = dict(settings or {})
        self._containers = containers
        self._hubs = hubs
        self._ports = ports or Ports()
        self._host_options = host_options
        self._started = ""
        self._guard: Guard | None = None
        self._lock: IO[str] | None = None

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            StackError: Another stack uses this root, something is missing, or a process did not get ready.
        """
        self._take_root()
        self._started = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        self._guard = Guard()
        try:
            self._run(self._azurite())
            self._run(self._endpoint())
            create_containers(self.storage, self._containers)
            if self._app_dir is not None:
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
        self._run(self._host(name, options))

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
            (self.root / "stack.json").unlink(missing_ok=True)
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

    def _azurite(self) -> Process:
        node = shutil.which("node")
        if node is None or not AZURITE.is_file():
            missing = "node is not on the PATH" if node is None else f"{AZURITE} does not exist: run `npm ci`"
            raise StackError(f"Azurite cannot run: {missing}")
        data = self._directory("azurite")
        flags = ["--blobHost", "127.0.0.1", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return Process(
            "azurite",
            [node, str(AZURITE), "--location", str(data), "--blobPort", "{port}", *flags],
            ready=r"successfully listens on http://[^:\s]+:(\d+)",
            port=free_port(self._ports.azurite),
            environment=os.environ,
            log=self.root / "logs" / "azurite.log",
            cwd=data,
            ready_s=60.0,
            grace_s=20.0,
        )

    def _endpoint(self) -> Process:
        hubs = [part for hub in self._hubs for part in ("--hub", hub)]
        data = self._directory("eventhub")
        return Process(
            "eventhub",
            [sys.executable, "-m", "local.eventhub", "--port", "{port}", "--data", str(data), *hubs],
            ready=r"^ready port=(\d+)",
            port=free_port(self._ports.eventhub),
            environment=_python_environment({}),
            log=self.root / "logs" / "eventhub.log",
            cwd=PROJECT,
            ready_s=60.0,
            grace_s=20.0,
        )

    def _host(self, name: str, options: Sequence[str]) -> Process:
        port = chosen_port(self._ports.host)  # jobs are told where the host is
        values = self._values() | self._job_values(self.processes["host"].port if "host" in self.processes else port)
        settings = self.root / "host.settings.json"
        settings.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2), "utf-8")
        command = [sys.executable, "-m", "local.host", "--app-dir", str(self._app_dir), "--settings", str(settings)]
        return Process(
            name,
            [*command, "--port", "{port}", *self._host_options, *options],
            ready=r"^ready port=(\d+)",
            port=port,
            environment=_python_environment(values),
            log=self.root / "logs" / f"{name}.log",
            cwd=PROJECT,
            ready_s=90.0,
            grace_s=25.0,
        )

    def _values(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._template is not None:
            found = json.loads(self._template.read_text("utf-8"))["Values"]
        azurite, eventhub = self.processes["azurite"].port, self.processes["eventhub"].port
        return with_ports(found | {"AzureWebJobsStorage": self.storage} | self._settings, azurite, eventhub)

    def _job_values(self, port: int) -> dict[str, str]:
        """Where jobs of this stack run and report, whatever the settings file says for the usual ports."""
        return {
            "JOBS_FOLDER": str(self.root / "jobs"),
            "JOB_EVENTS_URL": f"http://127.0.0.1:{port}/runtime/webhooks/eventgrid?functionName=job_events",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.root / 'mlflow.db'}",
        }

    def _directory(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _take_root(self) -> None:
        """Make sure that nobody else runs here; an earlier stack whose starter was killed may still be ending."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = (self.root / "stack.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            running = read(self.root) or {}
            raise StackError(f"a stack is running on {self.root} (process {running.get('pid', '?')})") from None
        deadline = time.monotonic() + LEFTOVERS_S
        while alive := living(self.root):
            if time.monotonic() > deadline:
                raise StackError(f"processes of an earlier stack on {self.root} still run: {alive}")
            time.sleep(0.1)

    def _write(self) -> None:
        described = {
            "pid": os.getpid(),
            "started": self._started,
            "storage": self.storage,
            "eventhub": self.eventhub if "eventhub" in self.processes else None,
            "settings": str(self.root / "host.settings.json"),
            "processes": {name: process.described() for name, process in self.processes.items()},
        }
        fresh = self.root / "stack.json.new"
        fresh.write_text(json.dumps(described, indent=2), "utf-8")
        fresh.replace(self.root / "stack.json")


def read(root: Path) -> dict[str, Any] | None:
    """What runs on a root according to its stack.json: pid, started, storage, eventhub, settings, processes."""
    try:
        found: dict[str, Any] = json.loads((root / "stack.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def storage_connection(port: int) -> str:
    """Connection string of Azurite's blob service on a port."""
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={address};"


def eventhub_connection(port: int) -> str:
    """Connection string of our endpoint on a port; it takes any key."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true;"
    )


def with_ports(values: Mapping[str, str], azurite: int, eventhub: int) -> dict[str, str]:
    """Settings with the ports that this stack really has.

    Args:
        values: As in local.settings.json, written for the default ports.
        azurite: Port of Azurite.
        eventhub: Port of the endpoint.

    >>> with_ports({"A": "Endpoint=sb://localhost;Key=x", "B": "http://127.0.0.1:10000/devstoreaccount1"}, 1, 2)
    {'A': 'Endpoint=sb://localhost:2;Key=x', 'B': 'http://127.0.0.1:1/devstoreaccount1'}
    """
    found = {}
    for name, value in values.items():
        text = value.replace("UseDevelopmentStorage=true", storage_connection(azurite))
        text = re.sub(r"(sb://(?:localhost|127\.0\.0\.1))(?::\d+)?", rf"\g<1>:{eventhub}", text)
        found[name] = re.sub(rf"(http://127\.0\.0\.1):\d+(/{ACCOUNT})", rf"\g<1>:{azurite}\g<2>", text)
    return found


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


def _python_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what the settings file says: a real account in it must not win over Azurite."""
    found = {name: value for name, value in os.environ.items() if name not in settings}
    return found | {"PYTHONUNBUFFERED": "1"}


def living(root: Path) -> list[str]:
    """Processes in the stack.json of a root that still run."""
    processes = (read(root) or {}).get("processes", {})
    return [
        f"{name} (process {each['pid']})"
        for name, each in processes.items()
        if each["pid"] and each["identity"] and identity(each["pid"]) == each["identity"]
    ]
