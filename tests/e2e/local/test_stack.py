"""The process stack: what starts, in what order it stops, and what is left when something goes wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.storage.blob import BlobServiceClient

from local.stack.addresses import ANY_PORTS, with_ports
from local.stack.guard import Guard, end
from local.stack.process import Process, StackError, free_port
from local.stack.programs import PROJECT
from local.stack.stack import Stack
from local.stack.state import read
from shared.adapters.processes import SYSTEM

pytestmark = pytest.mark.emulator
TRIVIAL = "import azure.functions as func\napp = func.FunctionApp()\n"


def wait_until(holds: Callable[[], bool], what: str, deadline_s: float = 30.0) -> None:
    stop = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < stop, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.02)


def app(path: Path, source: str = TRIVIAL) -> Path:
    path.mkdir(exist_ok=True)
    (path / "function_app.py").write_text(source, "utf-8")
    return path


def pids(root: Path) -> list[int]:
    return [each["pid"] for each in (read(root) or {"processes": {}})["processes"].values()]


def test_everything_comes_up_and_nothing_but_the_data_stays(tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    values = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "HUB": "Endpoint=sb://localhost:5672;Key=x"}
    template.write_text(json.dumps({"Values": values}), "utf-8")
    root = tmp_path / "root"
    with Stack(
        root, app_dir=app(tmp_path / "app"), template=template, settings={"MORE": "1"}, containers=["first", "second"],
        ports=ANY_PORTS,
    ) as stack:  # fmt: skip
        started = pids(root)
        assert len(started) == 3
        assert all(SYSTEM.identity(pid) for pid in started)
        with urllib.request.urlopen(f"{stack.host_url()}/admin/host/status") as answer:  # noqa: S310
            assert json.load(answer)["state"] == "Running"
        told = json.loads((root / "host.settings.json").read_text("utf-8"))["Values"]["JOB_EVENTS_URL"]
        assert told.startswith(f"{stack.host_url()}/runtime/webhooks/eventgrid?"), "whatever port the host has"
        with BlobServiceClient.from_connection_string(stack.storage) as blobs:
            assert {"first", "second"} <= {each.name for each in blobs.list_containers()}
            blobs.get_blob_client("first", "kept").upload_blob(b"kept")
        given = json.loads((root / "host.settings.json").read_text("utf-8"))["Values"]
        assert given["AzureWebJobsStorage"] == stack.storage
        assert given["HUB"] == f"Endpoint=sb://localhost:{stack.processes['eventhub'].port};Key=x"
        assert given["MORE"] == "1"
        ports = {name: process.port for name, process in stack.processes.items()}
        stack.restart("host")
        assert stack.processes["host"].port == ports["host"]
        assert pids(root)[2] != started[2]
        stack.check()
    assert not any(SYSTEM.identity(pid) for pid in [*started, *pids(root)])
    assert not (root / "stack.json").exists()
    with (
        Stack(root, app_dir=None, ports=ANY_PORTS) as again,
        BlobServiceClient.from_connection_string(again.storage) as blobs,
    ):
        assert blobs.get_blob_client("first", "kept").download_blob().readall() == b"kept"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path / "small", app_dir=None, ports=ANY_PORTS, hubs=["h:1"]) as stack:
        yield stack


def test_a_root_that_is_in_use_is_refused_and_a_process_that_dies_is_named(small: Stack) -> None:
    with pytest.raises(StackError, match=f"running on .* {os.getpid()}"):
        Stack(small.root, app_dir=None, ports=ANY_PORTS).start()
    small.check()
    producer = EventHubProducerClient.from_connection_string(small.eventhub, eventhub_name="h")
    producer.send_event(EventData(b"x"))
    producer.close()
    small.kill("eventhub")
    small.check()
    small.restart("eventhub")
    os.kill(small.processes["azurite"].pid, signal.SIGKILL)
    with pytest.raises(StackError, match=r"azurite ended with exit code -9\n--- end of .*azurite\.log"):
        small.wait(threading.Event(), poll_s=0.02)


def test_an_app_that_does_not_load_stops_the_start_with_its_message(tmp_path: Path) -> None:
    broken = app(tmp_path / "app", "raise RuntimeError('no such luck')\n")
    root = tmp_path / "root"
    with pytest.raises(StackError, match="host ended with exit code 2") as told:
        Stack(root, app_dir=broken, ports=ANY_PORTS).start()
    assert "no such luck" in str(told.value)
    assert read(root) is None
    with Stack(root, app_dir=None, ports=ANY_PORTS):
        pass


def test_nothing_outlives_a_starter_that_is_killed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = (
        "import sys, time, pathlib\nfrom local.stack.stack import Stack\nfrom local.stack.addresses import ANY_PORTS\n"
        "Stack(pathlib.Path(sys.argv[1]), app_dir=None, ports=ANY_PORTS).start()\n"
        "print('up', flush=True)\ntime.sleep(99)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=PROJECT, stdout=subprocess.PIPE)  # noqa: S603
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    children = pids(root)
    assert len(children) == 2
    starter.kill()
    starter.wait()
    starter.stdout.close()
    with Stack(root, app_dir=None, ports=ANY_PORTS):  # waits for what is still ending
        assert not any(SYSTEM.identity(pid) for pid in children)


def sleeper(log: Path, code: str, ready_s: float = 30.0) -> Process:
    return Process(
        "sleeper",
        [sys.executable, "-c", code],
        ready=r"ready port=(\d+)",
        log=log,
        port=0,
        cwd=log.parent,
        environment=os.environ,
        ready_s=ready_s,
        grace_s=0.3,
    )


def test_a_process_that_is_not_ready_in_time_is_told_and_one_that_ignores_its_end_is_killed(tmp_path: Path) -> None:
    guard = Guard()
    try:
        mute = sleeper(tmp_path / "mute.log", "import time; time.sleep(99)", ready_s=0.2)
        with pytest.raises(StackError, match=r"sleeper was not ready within 0\.2 s"):
            mute.start(guard)
        mute.stop(guard)
        deaf_code = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            "print('ready port=5', flush=True); time.sleep(99)"
        )
        deaf = sleeper(tmp_path / "deaf.log", deaf_code)
        deaf.start(guard)
        assert deaf.port == 5
        pid = deaf.pid
        deaf.stop(guard)
        assert SYSTEM.identity(pid) is None
    finally:
        guard.close()


def test_a_reused_process_id_is_left_alone() -> None:
    own = os.getpid()
    assert SYSTEM.identity(own)
    end(own, "another start time", grace_s=0.0)
    assert SYSTEM.identity(2**22 + 1) is None


def test_a_port_in_use_is_not_preferred() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) == 0
    assert free_port(taken) == taken


def test_ports_are_put_into_every_form_of_setting() -> None:
    values = {
        "plain": "5672 and 10000",
        "hub": "Endpoint=sb://localhost;SharedAccessKeyName=a;EntityPath=x",
        "emulator": "Endpoint=sb://127.0.0.1:5672/;Key=a",
        "real": "Endpoint=sb://name.servicebus.windows.net/;Key=a",
        "storage": "UseDevelopmentStorage=true",
        "url": "http://127.0.0.1:10000/devstoreaccount1/models",
    }
    found = with_ports(values, azurite=1, eventhub=2)
    assert found["plain"] == values["plain"]
    assert found["real"] == values["real"]
    assert found["hub"] == "Endpoint=sb://localhost:2;SharedAccessKeyName=a;EntityPath=x"
    assert found["emulator"] == "Endpoint=sb://127.0.0.1:2/;Key=a"
    assert "BlobEndpoint=http://127.0.0.1:1/devstoreaccount1;" in found["storage"]
    assert found["url"] == "http://127.0.0.1:1/devstoreaccount1/models"
