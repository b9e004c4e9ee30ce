"""The local trigger host as a process, against the real Azurite, the Event Hubs endpoint and the real clients."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.storage.blob import BlobServiceClient, ContentSettings

from local.stack.addresses import ANY_PORTS
from local.stack.programs import PROJECT
from local.stack.stack import Stack

pytestmark = pytest.mark.emulator
APP = Path(__file__).parent / "host_app"
HUBS = "Endpoint=sb://localhost;SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true;"
OFF = {"AzureWebJobs.switched_off.Disabled": "true"}
ODD_NAME = 'a folder/it\'s "quoted" & 100% 🌫️/#1?.csv'
T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, deadline_s: float = 30.0) -> T:
    """Look until there is something."""
    end = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < end, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.02)
    return found


class Running:
    """A stack with the sample app, and what its functions noted."""

    def __init__(self, stack: Stack, record: Path) -> None:
        self.stack = stack
        self.record = record
        self.blobs = BlobServiceClient.from_connection_string(stack.storage)
        self._producers: dict[str, EventHubProducerClient] = {}

    def notes(self, function: str, key: str | None = None) -> list[dict[str, Any]]:
        lines = self.record.read_text("utf-8").splitlines() if self.record.exists() else []
        found = [line for line in map(json.loads, lines) if line["function"] == function]
        return [line for line in found if key is None or line.get("key") == key]

    def noted(self, function: str, key: str | None = None, times: int = 1) -> list[dict[str, Any]]:
        return wait_for(
            lambda: found if len(found := self.notes(function, key)) >= times else [], f"{function} {key} x {times}"
        )

    def send(self, hub: str, key: str, partition: str = "0", **order: Any) -> None:
        if hub not in self._producers:
            self._producers[hub] = EventHubProducerClient.from_connection_string(self.stack.eventhub, eventhub_name=hub)
        self._producers[hub].send_event(EventData(json.dumps({"key": key, **order})), partition_id=partition)

    def call(
        self, path: str, body: bytes | None = None, method: str | None = None, host: str = "host", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        address = self.stack.host_url(host) + path
        request = urllib.request.Request(address, data=body, method=method, headers=named)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return response.status, response.read().decode(), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def status(self, function: str, host: str = "host", query: str = "") -> dict[str, Any]:
        found = json.loads(self.call(f"/admin/host/status{query}", host=host)[1])["functions"]
        return next(each for each in found if each["name"] == function)

    def owned(self, function: str, host: str = "host") -> set[str]:
        partitions = self.status(function, host).get("partitions", {})
        return {partition for partition, state in partitions.items() if state["owned"]}

    def checkpoint(self, hub: str, partition: str = "0") -> int:
        container = self.blobs.get_container_client("azure-webjobs-eventhub")
        names = [each for each in container.list_blobs(include=["metadata"]) if f"/{hub}/" in each.name]
        found = [each for each in names if each.name.endswith(f"/checkpoint/{partition}")]
        return int(found[0].metadata["sequencenumber"]) if found else -1

    def drop(self, name: str, body: bytes, container: str = "incoming") -> None:
        self.blobs.get_blob_client(container, name).upload_blob(body, overwrite=True, metadata={"who": "test"})

    def hang_up(self) -> None:
        """Before the endpoint goes: the sync client forgets its sockets when they break."""
        for producer in self._producers.values():
            producer.close()
        self._producers.clear()

    def close(self) -> None:
        self.hang_up()
        self.blobs.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("host")
    record = root / "record.jsonl"
    stack = Stack(
        root,
        app_dir=APP,
        settings={"HUBS": HUBS, "WORK_HUB": "work", "DROP": "incoming", "RECORD": str(record)} | OFF,
        containers=["incoming", "told"],
        hubs=["work:4", "limited:1"],
        ports=ANY_PORTS,
        host_options=["--balance-seconds", "0.5", "--expiry-seconds", "3", "--poll-seconds", "0.2"],
    )
    with stack:
        found = Running(stack, record)
        yield found
        found.close()


def test_a_failing_batch_comes_again_and_nothing_of_its_partition_comes_in_between(running: Running) -> None:
    failures = running.status("work")["failures"]
    running.send("work", "failing", fail=3)
    first = running.noted("work", "failing")[0]
    running.send("work", "next")
    running.send("work", "elsewhere", partition="1")
    running.noted("work done", "next")
    running.noted("work done", "elsewhere")
    mine = [note["sequences"] for note in running.notes("work") if note["partition"] == "0"]
    begin = mine.index(first["sequences"])
    assert mine[begin : begin + 4] == [first["sequences"]] * 4
    assert mine[begin + 4][0] == first["sequences"][-1] + 1
    status = running.status("work")
    assert status["failures"] == failures + 3
    assert status["last_error"]["type"] == "ConnectionError"
    assert status["partitions"]["0"]["retrying_since"] is None


def test_a_batch_that_waits_holds_up_its_own_partition_only(running: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running.send("work", "held", partition="2", until=str(gate))
    running.noted("work", "held")
    running.send("work", "behind", partition="2")
    running.send("work", "beside", partition="3")
    running.noted("work done", "beside")
    assert running.notes("work", "behind") == []
    assert running.status("work", query="?lag=true")["partitions"]["2"]["lag"] == 2
    gate.touch()
    running.noted("work done", "behind")


def test_given_up_batches_move_the_checkpoint_and_a_restart_goes_on_behind_them(running: Running) -> None:
    running.send("limited", "hopeless", fail=99)
    hopeless = running.noted("limited", "hopeless", times=3)[0]["sequences"][-1]
    wait_for(lambda: running.checkpoint("limited") >= hopeless, "the checkpoint")
    running.stack.restart("host")
    running.send("limited", "after")
    after = running.noted("limited done", "after")
    assert len(after) == 1
    assert len(running.notes("limited", "hopeless")) == 3
    assert running.status("limited")["failures"] == 0


def test_a_killed_host_leaves_its_batch_to_the_next_one(running: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait_for(lambda: len(running.owned("work")) == 4, "the claim of all partitions")
    running.send("work", "interrupted", until=str(gate))
    before = running.noted("work", "interrupted")[0]
    running.drop("interrupted.csv", b"x")
    running.stack.kill("host")
    gate.touch()
    running.stack.restart("host")
    running.noted("work done", "interrupted")
    again = running.notes("work", "interrupted")[-1]
    assert again["sequences"][0] <= before["sequences"][0] <= again["sequences"][-1]
    assert again["pid"] != before["pid"]
    running.noted("dropped", "incoming/interrupted.csv")


def test_a_clean_stop_lets_the_running_batch_end_and_notes_it(running: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait_for(lambda: len(running.owned("work")) == 4, "the claim of all partitions")
    running.send("work", "last words", partition="1", until=str(gate))
    last = running.noted("work", "last words")[0]["sequences"][-1]
    running.send("work", "too late", partition="1")
    stopping = threading.Thread(target=running.stack.restart, args=("host",))
    stopping.start()
    log = running.stack.processes["host"].log
    wait_for(lambda: "stopping:" in log.read_text("utf-8").rpartition("ready port")[2], "the stop")
    gate.touch()
    stopping.join(60)
    running.noted("work done", "too late")
    assert len(running.notes("work done", "last words")) == 1
    assert len(running.notes("work", "last words")) == 1
    assert running.notes("work", "too late")[0]["sequences"][0] == last + 1


def test_a_second_interrupt_does_not_wait_for_the_running_batch(running: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait_for(lambda: len(running.owned("work")) == 4, "the claim of all partitions")
    running.send("work", "stubborn", until=str(gate))
    running.noted("work", "stubborn")
    process = running.stack.processes["host"]
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: "stopping:" in process.log.read_text("utf-8").rpartition("ready port")[2], "the stop")
    os.kill(process.pid, signal.SIGINT)
    wait_for(lambda: (process.died() or "").startswith("host ended with exit code 130"), "the end")
    gate.touch()
    running.stack.restart("host")
    running.noted("work done", "stubborn")


def test_two_hosts_share_the_partitions_and_one_takes_over_from_the_other(running: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait_for(lambda: len(running.owned("work")) == 4, "the claim of all partitions")
    begun = {}
    for partition in "0123":
        running.send("work", f"moved {partition}", partition, until=str(gate))
        begun[partition] = running.noted("work", f"moved {partition}")[0]
    running.stack.start_host("host-2")
    hosts = ("host", "host-2")
    wait_for(lambda: [len(running.owned("work", host)) for host in hosts] == [2, 2], "an even share")
    for partition in running.owned("work", "host-2"):
        again = running.noted("work", f"moved {partition}", times=2)[1]
        assert again["sequences"] == begun[partition]["sequences"]
        assert again["pid"] != begun[partition]["pid"]
    gate.touch()
    for number in range(8):
        running.send("work", f"shared {number}", partition=str(number % 4))
    for number in range(8):
        running.noted("work done", f"shared {number}")
    running.stack.kill("host-2")
    wait_for(lambda: len(running.owned("work")) == 4, "the takeover")
    for number in range(4):
        running.send("work", f"taken {number}", partition=str(number))
        running.noted("work done", f"taken {number}")


def test_a_host_outlives_its_endpoint_and_its_storage(running: Running) -> None:
    running.hang_up()
    running.stack.restart("eventhub")
    running.send("work", "new endpoint")
    running.noted("work done", "new endpoint")
    running.stack.restart("azurite")
    running.send("work", "new storage")
    last = running.noted("work", "new storage")[0]["sequences"][-1]
    wait_for(lambda: running.checkpoint("work") >= last, "the checkpoint")
    running.drop("new storage.csv", b"x")
    running.noted("dropped", "incoming/new storage.csv")


@pytest.mark.parametrize("name", ["plain.csv", ODD_NAME])
def test_a_dropped_blob_runs_once_and_again_when_it_changes(running: Running, name: str) -> None:
    blob = f"incoming/{name}"
    body = b"data" * 3_000_000
    running.drop(name, body)
    (note,) = running.noted("dropped", blob)
    assert (note["size"], note["length"], note["declared"]) == (len(body), len(body), len(body))
    assert note["metadata"] == {"who": "test"}
    assert note["uri"] == running.blobs.get_blob_client("incoming", name).url
    running.drop(name, b"")
    _, second = running.noted("dropped", blob, times=2)
    assert second["size"] == 0
    assert second["length"] is None


def test_a_blob_comes_as_it_is_stored_whatever_its_encoding_says(running: Running) -> None:
    packed = gzip.compress(os.urandom(5_000_000))
    label = ContentSettings(content_encoding="gzip")
    running.blobs.get_blob_client("incoming", "labelled.gz").upload_blob(packed, content_settings=label)
    (note,) = running.noted("dropped", "incoming/labelled.gz")
    assert (note["size"], note["declared"]) == (len(packed), len(packed))


def test_a_blob_that_fails_five_times_is_poison_and_a_restart_runs_no_blob_again(running: Running) -> None:
    running.drop("bad.csv", b"fail here")
    poison = running.blobs.get_container_client("webjobs-blobtrigger-poison")
    (found,) = wait_for(lambda: list(poison.list_blobs("dropped/")) if poison.exists() else [], "the poison note")
    note = json.loads(poison.download_blob(found.name).readall())
    assert (note["ContainerName"], note["BlobName"]) == ("incoming", "bad.csv")
    assert "this blob cannot be used" in note["Error"]
    assert len(running.notes("dropped", "incoming/bad.csv")) == 5
    before = len(running.notes("dropped"))
    running.stack.restart("host")
    running.drop("after the restart.csv", b"fine")
    running.noted("dropped", "incoming/after the restart.csv")
    assert len(running.notes("dropped")) == before + 1


def test_a_blob_that_event_grid_names_runs_and_others_in_the_container_do_not(running: Running) -> None:
    running.drop("named.csv", b"named", container="told")
    running.drop("not named.csv", b"not named", container="told")
    event = {
        "id": "1",
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": "/blobServices/default/containers/told/blobs/named.csv",
        "eventTime": "2026-11-20T00:00:00Z",
        "data": {"api": "PutBlob", "url": running.blobs.get_blob_client("told", "named.csv").url},
    }
    hook = "/runtime/webhooks/blobs?functionName=Host.Functions.told&code=any"
    assert running.call(hook, json.dumps([event]).encode())[0] == 202
    assert [note["body"] for note in running.noted("told", "told/named.csv")] == ["named"]
    assert running.call(hook, json.dumps([event]).encode())[0] == 202
    assert running.call("/admin/functions/told?wait=true", b'{"input": "told/not named.csv"}')[0] == 200
    assert [note["key"] for note in running.notes("told")] == ["told/named.csv", "told/not named.csv"]


def test_event_grid_validates_its_subscription_and_delivers_both_schemas(running: Running) -> None:
    hook = "/runtime/webhooks/eventgrid?functionName=on_event"
    validation = json.dumps([{"id": "v", "data": {"validationCode": "512d38b6"}}]).encode()
    status, text, _ = running.call(hook, validation, aeg_event_type="SubscriptionValidation")
    assert (status, json.loads(text)) == (200, {"validationResponse": "512d38b6"})
    old = {"id": "old", "eventType": "t", "subject": "s", "eventTime": "2026-11-20T00:00:00Z", "data": {"x": 1}}
    cloud = {"id": "cloud", "specversion": "1.0", "type": "t", "source": "s", "data": {"x": 2}}
    assert running.call(hook, json.dumps([old]).encode(), aeg_event_type="Notification")[0] == 202
    assert running.call(hook, json.dumps(cloud).encode(), aeg_event_type="Notification")[0] == 202
    assert [(note["kind"], note["data"]) for note in running.notes("on_event", "old")] == [("EventGridEvent", {"x": 1})]
    assert [(note["kind"], note["data"]) for note in running.notes("on_event", "cloud")] == [("CloudEvent", {"x": 2})]


def test_one_failed_event_fails_its_delivery(running: Running) -> None:
    hook = "/runtime/webhooks/eventgrid?functionName=on_event"
    events = [{"id": str(n), "eventType": "t", "subject": "s", "data": {"fail": n == 1}} for n in range(3)]
    assert running.call(hook, json.dumps(events).encode(), aeg_event_type="Notification")[0] == 500
    assert running.call(hook, b"{", aeg_event_type="Notification")[0] == 400
    assert running.call("/runtime/webhooks/eventgrid?functionName=absent", b"[]")[0] == 404
    status, told, _ = running.call(hook, b'{"eventType": 5, "data": {}}')
    assert (status, told) == (400, "eventType: is not a text")
    status, _, headers = running.call(hook, method="OPTIONS", WebHook_Request_Origin="eventgrid.azure.net")
    assert (status, headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/admin/functions/yearly?wait=true", b"{}"),
        ("/admin/host/status", None),
        ("/runtime/webhooks/eventgrid?functionName=on_event", b'[{"id": "page", "eventType": "t", "data": {}}]'),
        ("/runtime/webhooks/blobs?functionName=Host.Functions.told", b"[]"),
        ("/api/slow", b""),
    ],
)
def test_a_page_of_another_origin_reaches_nothing(running: Running, path: str, body: bytes | None) -> None:
    own = running.stack.host_url().removeprefix("http://")
    for origin in ("http://page.example", "null", "http://localhost:3000", f"https://{own}"):
        assert running.call(path, body, Origin=origin)[0] == 403, origin
    assert running.call(path, body, Host="page.example", Origin="http://page.example")[0] == 403
    assert running.call(path, method="OPTIONS", Origin="http://page.example")[0] == 403
    assert running.call("/admin/host/status", Origin=f"http://{own}")[0] == 200
    assert not [note for note in running.notes("on_event") if note["key"] == "page"]


def test_the_admin_endpoint_fires_functions_and_tells_their_outcome(running: Running) -> None:
    assert running.call("/admin/functions/yearly", b"{}")[0] == 202
    assert running.noted("yearly")[0]["past_due"] is False
    assert running.call("/admin/functions/yearly?wait=true", b"{}")[0] == 200
    assert len(running.notes("yearly")) == 2
    status, text, _ = running.call("/admin/functions/returning?wait=true", b"{}")
    assert status == 500
    assert "without a $return binding" in text
    single = json.dumps({"input": json.dumps({"key": "by hand"})}).encode()
    assert running.call("/admin/functions/work?wait=true", single)[0] == 200
    (note,) = running.notes("work", "by hand")
    assert (note["partition"], note["sequences"]) == (None, [-(2**63)])
    assert running.call("/admin/functions/absent", b"{}")[0] == 404
    status, text, _ = running.call("/admin/functions/queued", b"{}")
    assert (status, text.partition(";")[0]) == (400, "trigger queueTrigger is not supported")
    assert running.call("/admin/functions/dropped?wait=true", b'{"input": "incoming/absent"}')[0] == 500
    assert running.call("/admin/functions/dropped", b'{"input": ""}')[0] == 400


def test_timers_run_by_their_schedule_and_make_up_a_missed_run(running: Running) -> None:
    ticks = running.noted("tick", times=2)
    assert ticks[0]["key"] != ticks[1]["key"]
    assert any(not tick["past_due"] for tick in ticks)
    running.stack.kill("host")
    wait_for(lambda: time.time() > running.record.stat().st_mtime + 1.1, "a missed second")
    before = len(running.notes("tick"))
    running.stack.restart("host")
    assert running.noted("tick", times=before + 1)[before]["past_due"] is True


def test_http_functions_get_route_parameters_and_answer_with_their_status(running: Running) -> None:
    status, text, headers = running.call("/api/files/a%20b%2Fc/7?q=1", b"body", "PUT", X_Some_Header="Yes")
    assert status == 201
    assert json.loads(text) == {
        "method": "PUT",
        "route": {"name": "a b/c", "part": "7"},
        "query": {"q": "1"},
        "header": "Yes",
        "lower": True,
        "size": 4,
    }
    assert (headers["X-Seen"], headers["content-type"]) == ("1", "application/json")
    assert json.loads(running.call("/api/files/x")[1])["route"] == {"name": "x"}
    assert running.call("/api/files/x", b"", "POST")[0] == 405
    assert running.call("/api/files/x/not-a-number")[0] == 404
    assert running.call("/files/x")[0] == 404
    assert running.call("/api/broken", b"no json", "POST")[0] == 500
    assert running.call("/api/nothing")[0] == 500
    assert running.call("/api/slow")[:2] == (200, "slow GET")
    assert running.call("/admin/host/status", Host="evil.example:80")[0] == 403


def test_a_function_whose_connection_is_missing_is_shown_and_the_others_run(running: Running) -> None:
    assert "NOWHERE is missing" in running.status("unconnected")["listener"]
    assert running.status("work")["listener"] == "started"
    assert running.status("switched_off")["listener"] == "disabled"
    assert "trigger queueTrigger is not supported" in running.status("queued")["listener"]


def test_a_port_that_is_taken_is_told(running: Running) -> None:
    taken = running.stack.processes["host"].port
    ended = host("--app-dir", str(APP), "--settings", str(running.stack.root / "host.settings.json"), port=taken)
    assert ended.returncode == 2
    assert f"port {taken} cannot be had" in ended.stderr
    assert "Traceback" not in ended.stderr


def host(*arguments: str, port: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.host", "--port", str(port), *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import absent_module\n", "No module named 'absent_module'"),
        ("app = 1 / 0\n", "ZeroDivisionError"),
        (None, "function_app.py does not exist"),
    ],
)
def test_an_app_that_cannot_be_loaded_ends_the_host_with_one_clear_message(
    tmp_path: Path, source: str | None, says: str
) -> None:
    if source is not None:
        (tmp_path / "function_app.py").write_text(source, "utf-8")
    settings = tmp_path / "settings.json"
    settings.write_text('{"Values": {}}', "utf-8")
    ended = host("--app-dir", str(tmp_path), "--settings", str(settings))
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
