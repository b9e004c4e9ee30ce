"""The fleet simulator against the local endpoint, through the unmodified azure-eventhub client."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient

from local.eventhub.amqp import message as amqp
from local.eventhub.event_log import log_path, read
from local.fleet.files import iso
from local.send import sources
from local.send.faults import Faults
from local.send.plan import Plan
from local.send.stream import stream
from local.send.wire import Message, Sender, place
from shared.adapters.stores import scenario_files
from shared.errors import ConfigError, TransientFailure
from tests import ROOT
from tests.e2e.eventhub.eventhub_process import Endpoint, until

DEADLINE_S = 20
HUBS = ("placed", "big", "file", "command", "stopped")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    hubs = [part for name in HUBS for part in ("--hub", f"{name}:3")]
    running = Endpoint(tmp_path_factory.mktemp("data"), *hubs)
    yield running
    assert running.stop()[0] == 0


def logged(endpoint: Endpoint, hub: str) -> list[tuple[int, amqp.Message]]:
    """Partition and message of everything in a hub's log."""
    return [
        (number, amqp.read_message(record.message))
        for number in range(3)
        for record in read(log_path(endpoint.data, hub, number))
    ]


async def received(connection: str, count: int) -> list[tuple[int, EventData]]:
    """The first events that a consumer gets, with their partitions."""
    got: list[tuple[int, EventData]] = []
    done = asyncio.Event()

    async def on_batch(context: Any, events: list[EventData]) -> None:
        got.extend((int(context.partition_id), event) for event in events)
        if len(got) >= count:
            done.set()

    client = EventHubConsumerClient.from_connection_string(
        connection, consumer_group="$Default", load_balancing_interval=0.3
    )
    async with client:
        task = asyncio.create_task(client.receive_batch(on_batch, starting_position="-1"))
        await asyncio.wait_for(done.wait(), DEADLINE_S)
    await task
    return got


def test_a_device_stays_in_its_partition_in_order_and_is_named_by_the_hub(endpoint: Endpoint) -> None:
    devices = [f"dev {number} ü" for number in range(20)]
    messages = [Message(device, f"{turn}".encode(), turn) for turn in range(30) for device in devices]
    connection = endpoint.connection("placed")
    with Sender(connection, partitions=None) as sender:
        sender.send(messages)
        assert sender.sent == len(messages)
    with EventHubProducerClient.from_connection_string(connection) as client:
        client.send_batch([EventData(b"30")], partition_key=devices[0])
    got = asyncio.run(received(connection, len(messages) + 1))
    assert len(got) == len(messages) + 1
    said: dict[str, list[str]] = {device: [] for device in devices}
    for number, event in got:
        device = (event.partition_key or b"").decode()
        assert number == place(device, 3)
        said[device].append(event.body_as_str())
        if event.body_as_str() != "30":
            assert event.system_properties[b"iothub-connection-device-id"].decode() == device
            assert event.system_properties[b"iothub-message-source"] == b"Telemetry"
            assert event.system_properties[b"iothub-enqueuedtime"] <= int(event.enqueued_time.timestamp() * 1000)  # type: ignore[union-attr]
            assert event.content_type == "application/json"
    assert {number for number, _ in got} == {0, 1, 2}
    assert said == {device: [str(turn) for turn in range(30 + (device == devices[0]))] for device in devices}


def test_bodies_of_every_size_arrive_whole(endpoint: Endpoint) -> None:
    sizes = (0, 1, 255, 256, 70_000, 200_000, 262_144)
    with Sender(endpoint.connection("big")) as sender:
        sender.send(Message("a", b"x" * size, 0) for size in sizes)
    assert [len(message.body) for _, message in logged(endpoint, "big")] == list(sizes)


def test_a_file_is_streamed_with_a_record_of_what_was_injected(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = (f"s{d},{iso(28_401_120 + 60 * hour)},{hour % 30},{d}" for d in range(5) for hour in range(200))
    path.write_text("\n".join(("device_id,timestamp,temp,pm25", *rows)) + "\n", encoding="utf-8")
    shown: list[int] = []
    scenario = scenario_files.load("air_quality")
    faults = Faults(resend=0.02, garbage=0.02, late=0.02)
    plan = Plan(sources.file(path, scenario, None), faults, 4, scenario)
    with Sender(endpoint.connection("file"), "file") as sender:
        record = stream(plan, sender, on_progress=lambda record: shown.append(record.sent))
    messages = logged(endpoint, "file")
    assert shown[-1] == record.sent == record.messages == len(messages)
    assert record.rate > 0
    told = record.expected()
    assert told["readings"] == 1000 + record.injected["resend"] + record.injected["garbage"]
    assert min(record.injected[kind] for kind in ("resend", "garbage", "late")) > 0
    bodies = Counter(message.body for _, message in messages if message.body.startswith(b'{"device_id":"s'))
    assert sum(count - 1 for count in bodies.values()) == record.outcomes["duplicates"] == record.injected["resend"]


def command(endpoint: Endpoint, *options: str) -> list[str]:
    return [sys.executable, "-m", "local", "send", "--connection", endpoint.connection(options[0]), *options[1:]]


def test_the_command_sends_a_fleet_and_writes_what_it_did(endpoint: Endpoint, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    options = ("--devices", "6", "--hours", "150", "--garbage", "0.1", "--backlog", "24", "--record", str(record))
    done = subprocess.run(  # noqa: S603 - our own command
        command(endpoint, "command", *options), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(record.read_text("utf-8").splitlines()[-1])
    assert summary["sent"] == summary["expected"]["messages"] == len(logged(endpoint, "command"))
    assert summary["injected"]["garbage"] > 20
    assert summary["injected"]["backlog"] == 24
    assert f"{summary['sent']:,} messages" in done.stdout


def test_a_run_that_is_interrupted_still_writes_what_it_did(endpoint: Endpoint, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    process = subprocess.Popen(  # noqa: S603 - our own command
        command(endpoint, "stopped", "--rate", "50", "--hours", "8000", "--record", str(record)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(logged(endpoint, "stopped")) > 5, "something was sent")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (130, "")
    summary = json.loads(record.read_text("utf-8").splitlines()[-1])
    assert summary["sent"] == summary["expected"]["messages"] == len(logged(endpoint, "stopped"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resend", "2"), "resend 2.0 is not a share between 0 and 1"),
        (("--rate", "0"), "--rate 0 is not above 0"),
        (("--start", "yesterday"), "Invalid isoformat string: 'yesterday'"),
        (("--hours", "-1"), "a fleet needs devices and hours, not 10 and -1"),
        (("--data", "no such file"), "--data no such file: there is no such file"),
        (("--data", "x.csv", "--devices", "3"), "--devices, --hours and --start are for the generator"),
        (("--record", "no/such/folder"), "--record no/such/folder: No such file or directory"),
        (("--connection", "Endpoint=sb://secret"), "not a connection string with the name of a hub"),
        (("--root", "no stack"), "no stack is running"),
    ],
)
def test_wrong_wishes_end_in_one_line(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from local.__main__ import main

    given = ["--connection", "Endpoint=sb://localhost:1;EntityPath=x", *options]
    arguments = ["--root", options[1], "send"] if options[0] == "--root" else ["send", *given]
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert "secret" not in errors


def test_a_hub_that_does_not_exist_or_answer_is_named(endpoint: Endpoint) -> None:
    with pytest.raises((ConfigError, TransientFailure), match="nowhere"):
        Sender(endpoint.connection("nowhere"))
    elsewhere = endpoint.connection("placed").replace(str(endpoint.port), "1")
    with pytest.raises(TransientFailure, match="hub placed: it cannot be reached"):
        Sender(elsewhere)
