"""The Node client as an independent check: another AMQP stack, the same events, positions and errors."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.eventhub.amqp import message as amqp
from local.eventhub.amqp.encode import Symbol, Timestamp, encode
from local.eventhub.event_log import hub_info, log_path, read
from tests import ROOT
from tests.e2e.eventhub.eventhub_process import Endpoint
from tests.e2e.eventhub.eventhub_raw import Peer, event

SCRIPT = Path(__file__).with_name("eventhub_node.mjs")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    endpoint = Endpoint(tmp_path_factory.mktemp("endpoint"), "--hub=node:4")
    yield endpoint
    assert endpoint.stop()[0] == 0


@pytest.fixture(scope="module")
def saw(endpoint: Endpoint) -> dict[str, Any]:
    """What the Node client saw in its conversation."""
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "@azure" / "event-hubs").is_dir():
        pytest.skip("needs Node and node_modules (`make test` installs them)")
    annotations = {Symbol("iothub-connection-device-id"): "dev-1", Symbol("iothub-enqueuedtime"): Timestamp(1234)}
    peer = Peer(endpoint.port)
    peer.producer("node/Partitions/1")
    peer.publish(b"\x00\x53\x72" + encode(annotations) + event(b'"annotated"'), event(b"\x00\xff"))
    peer.outcome()
    peer.socket.close()
    found = subprocess.run(  # noqa: S603 - our own script
        [node, str(SCRIPT), endpoint.connection("node")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout))


def test_node_sees_the_hub_and_its_partitions(endpoint: Endpoint, saw: dict[str, Any]) -> None:
    stored = hub_info(endpoint.data, "node")
    assert stored is not None
    assert (saw["hub"]["name"], saw["hub"]["partitionIds"]) == ("node", ["0", "1", "2", "3"])
    assert (saw["empty"]["isEmpty"], saw["empty"]["lastEnqueuedSequenceNumber"]) == (True, -1)
    assert (saw["filled"]["isEmpty"], saw["filled"]["lastEnqueuedSequenceNumber"]) == (False, 5)
    assert saw["max_batch"] == 1 << 20


def test_node_reads_back_what_it_sent_with_the_places_that_are_in_the_log(
    endpoint: Endpoint, saw: dict[str, Any]
) -> None:
    log = list(read(log_path(endpoint.data, "node", 0)))
    for number, (got, record) in enumerate(zip(saw["all"], log[:5], strict=True)):
        place = amqp.read_message(record.message).annotations
        assert got["body"] == {"number": number}
        assert (got["sequence"], got["offset"]) == (number, place["x-opt-offset"])
        assert got["enqueued_ms"] == record.enqueued_ms
        assert got["properties"] == {"text": "é", "flag": True}
        assert got["content_type"] == "application/json"
    assert saw["large"] == [900_000, True]


def test_node_gets_the_annotations_and_bytes_of_another_producer(saw: dict[str, Any]) -> None:
    annotated, binary = saw["from_python"][:2]
    assert annotated["body"] == "annotated"
    assert annotated["system"]["iothub-connection-device-id"] == "dev-1"
    assert annotated["system"]["iothub-enqueuedtime"] == 1234
    assert binary["body"] == b"\x00\xff".hex()


def test_node_keeps_the_events_of_a_key_together(endpoint: Endpoint, saw: dict[str, Any]) -> None:
    assert saw["filled"]["eventHubName"] == "node"  # it has sent them by now
    places: dict[int, list[bytes]] = {}
    for partition in range(4):
        for record in read(log_path(endpoint.data, "node", partition)):
            message = amqp.read_message(record.message)
            if message.annotations.get("x-opt-partition-key") == "device-1":
                places.setdefault(partition, []).append(message.body)
    assert list(places.values()) == [[b'"a1"', b'"a2"', b'"b1"', b'"b2"']]


def test_node_starts_where_it_says(saw: dict[str, Any]) -> None:
    assert saw["first_from"] == [2, 1, 2, 1, 0]
    assert saw["latest"].startswith("late ")
    assert saw["tracked"] >= 1


def test_node_is_told_why_something_is_refused(saw: dict[str, Any]) -> None:
    assert saw["refusals"] == {
        "partition": "MessagingEntityNotFoundError",
        "beyond": "ArgumentOutOfRangeError",
        "hub": "MessagingEntityNotFoundError",
        "send": "MessagingEntityNotFoundError",
    }
