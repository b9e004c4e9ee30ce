"""The endpoint is killed while producers send: what was acknowledged is there, once, in order, and nothing is torn."""

import gc
import re
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from local.eventhub.amqp import message
from local.eventhub.amqp.encode import encode
from local.eventhub.amqp.performatives import Disposition, Transfer
from local.eventhub.event_log import Record, log_path, read
from local.eventhub.messages import BATCH_FORMAT
from tests.e2e.eventhub.eventhub_process import Endpoint, until
from tests.e2e.eventhub.eventhub_raw import Peer, event

LIVES = 3
PARTITIONS = 3


class ClientSender(threading.Thread):
    """The real client: batches of numbered events to one partition until the endpoint is gone."""

    def __init__(self, connection: str, partition: int, life: int) -> None:
        super().__init__()
        self.acknowledged: list[bytes] = []
        self._connection = connection
        self._partition = partition
        self._life = life

    def run(self) -> None:
        number = 0
        client = EventHubProducerClient.from_connection_string(self._connection, retry_total=0)
        try:
            with client:
                while True:
                    bodies = [b"client %d %d %d" % (self._partition, self._life, number + k) for k in range(7)]
                    client.send_batch(list(map(EventData, bodies)), partition_id=str(self._partition))
                    self.acknowledged += bodies
                    number += 7
        except EventHubError:
            """The endpoint was killed."""


class EagerSender(threading.Thread):
    """A peer that never waits for an acknowledgement, so that the kill hits many deliveries on their way."""

    def __init__(self, port: int, life: int) -> None:
        super().__init__()
        self.acknowledged: list[bytes] = []
        self._peer = Peer(port)
        self._life = life

    def _body(self, number: int) -> bytes:
        return b"eager %d %d %s" % (self._life, number, b"x" * (number * 7919 % (2_000 if number % 16 else 90_000)))

    def run(self) -> None:
        listener = threading.Thread(target=self._listen)
        listener.start()
        try:
            self._peer.producer("crash/Partitions/2")
            for number in range(1_000_000):
                batch = b"\x00\x53\x75" + encode(event(self._body(number)))
                self._peer.send(Transfer(0, number, b"t", BATCH_FORMAT), batch)
        except OSError:
            """The endpoint was killed."""
        listener.join()
        self._peer.socket.close()

    def _listen(self) -> None:
        try:
            while True:
                outcome = self._peer.expect(Disposition)
                last = outcome.first if outcome.last is None else outcome.last
                self.acknowledged += map(self._body, range(outcome.first, last + 1))
        except (OSError, EOFError):
            """The endpoint was killed."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def records(data: Path, partition: int) -> list[Record]:
    return list(read(log_path(data, "crash", partition)))


def bodies(data: Path, partition: int) -> list[bytes]:
    return [message.read_message(record.message).body for record in records(data, partition)]


def start_and_wait(*senders: ClientSender | EagerSender, events: int) -> None:
    """Let senders run until each has as many acknowledged events; then they go on."""
    for sender in senders:
        sender.start()
    until(lambda: all(len(sender.acknowledged) > events for sender in senders), "enough was acknowledged")


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # the client drops sockets that were cut
def test_what_was_acknowledged_survives_the_kill_once_and_in_order(data: Path) -> None:
    acknowledged: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for life in range(LIVES):
        endpoint = Endpoint(data, f"--hub=crash:{PARTITIONS}")
        clients = [ClientSender(endpoint.connection("crash"), partition, life) for partition in range(2)]
        eager = EagerSender(endpoint.port, life)
        senders: list[ClientSender | EagerSender] = [*clients, eager]
        start_and_wait(*clients, events=40 + 37 * life)
        start_and_wait(eager, events=300 + 111 * life)
        endpoint.process.kill()
        endpoint.finish()
        for partition, sender in enumerate(senders):
            sender.join(20)
            assert not sender.is_alive()
            acknowledged[partition] += sender.acknowledged
        with log_path(data, "crash", life).open("ab") as file:  # and the last write was cut off
            file.write(b"\x00\x00\x00\x50half a record")

    endpoint = Endpoint(data, f"--hub=crash:{PARTITIONS}")
    for partition, expected in enumerate(acknowledged):
        stored = bodies(data, partition)
        assert len(set(stored)) == len(stored)
        wanted = set(expected)
        assert [body for body in stored if body in wanted] == expected
        log = records(data, partition)
        assert [record.sequence for record in log] == list(range(len(log)))
        assert all(a.enqueued_ms <= b.enqueued_ms for a, b in pairwise(log))

        peer = Peer(endpoint.port)
        peer.consumer(f"crash/ConsumerGroups/$Default/Partitions/{partition}")
        peer.credit(len(stored))
        assert [message.read_message(peer.message()).body for _ in stored] == stored
        peer.socket.close()
    code, errors = endpoint.stop()
    assert code == 0
    assert re.search(r"partition 2: cut \d+ bytes of a torn record", errors)
    assert "Traceback" not in errors
    gc.collect()  # the client's leaked sockets, while this test's filter holds
