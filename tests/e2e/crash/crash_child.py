"""Workers that die: a small server forks a warm child for every life, and the child kills itself where it is told.

The server starts no threads and opens no connection, so that a fork is as good as a new process; it reads orders as
JSON lines from its standard input and answers each with one line.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from shared.core.intake import progress
from shared.core.stream.events import Event
from shared.core.stream.packing import unpack
from shared.errors import TransientFailure
from shared.ports import BlobInfo, Blobs, Stream
from tests.e2e.crash import crash_story as story
from tests.e2e.crash import crash_world as world

SLOW = ("azure.storage.blob", "pandas", "pyarrow.compute", "pyarrow.parquet", "requests")
TRIES = 5
LONGEST_S = 60  # a life that hangs ends itself
END = 2**62
DIGEST = re.compile(r"-[0-9a-f]{16}\.")


class Fate:
    """Decides at every write whether this life ends there.

    Args:
        order: `ledger`: a file of places at which a life ended already, it ends at the first one that is not in there;
            `only` and `odds`: it ends at places that contain this, with this chance;
            `stop`: it stands still, once, at the place that contains this.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._ledger = Path(order["ledger"]) if "ledger" in order else None
        self._only = str(order.get("only", ""))
        self._odds = float(order.get("odds", 1.0))
        self._random = random.Random(order.get("luck", 0))
        self._stop: str | None = order.get("stop")
        known = self._ledger.read_text("utf-8") if self._ledger and self._ledger.exists() else ""
        self._known = set(known.splitlines())

    def meet(self, place: str) -> None:
        """A write is about to happen, or has just happened."""
        if self._stop is not None and self._stop in place:
            self._stop = None
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._ledger is None or self._only not in place or place in self._known:
            return
        if self._random.random() < self._odds:
            with self._ledger.open("a", encoding="utf-8") as ledger:
                ledger.write(place + "\n")
            os.kill(os.getpid(), signal.SIGKILL)


class FatedBlobs:
    """Blobs whose every change may be the last thing this process does."""

    def __init__(self, blobs: Blobs, fate: Fate) -> None:
        self._blobs = blobs
        self._fate = fate

    def _place(self, what: str, container: str, name: str, data: bytes) -> str:
        at = f" at {progress.decode(data).next}" if container == progress.CONTAINER else ""
        return f"{what} {container}/{DIGEST.sub('.', name)}{at}"

    def write(self, container: str, name: str, data: bytes) -> None:
        place = self._place("write", container, name, data)
        self._fate.meet(f"before {place}")
        self._blobs.write(container, name, data)
        self._fate.meet(f"after {place}")

    def create(self, container: str, name: str, data: bytes) -> bool:
        place = self._place("create", container, name, data)
        self._fate.meet(f"before {place}")
        created = self._blobs.create(container, name, data)
        self._fate.meet(f"after {place}")
        return created

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        place = self._place("replace", container, name, data)
        self._fate.meet(f"before {place}")
        fresh = self._blobs.replace(container, name, data, etag)
        self._fate.meet(f"after {place}")
        return fresh

    def delete(self, container: str, name: str) -> None:
        self._fate.meet(f"before delete {container}/{name}")
        self._blobs.delete(container, name)
        self._fate.meet(f"after delete {container}/{name}")

    def read(self, container: str, name: str) -> bytes | None:
        return self._blobs.read(container, name)

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        return self._blobs.read_changed(container, name, etag)

    def names(self, container: str, prefix: str = "") -> list[str]:
        return self._blobs.names(container, prefix)

    def info(self, container: str, name: str) -> BlobInfo | None:
        return self._blobs.info(container, name)

    def listed(self, container: str, prefix: str = "") -> list[tuple[str, BlobInfo]]:
        return self._blobs.listed(container, prefix)

    def open(self, container: str, name: str, etag: str) -> AbstractContextManager[BinaryIO]:
        return self._blobs.open(container, name, etag)


class FatedStream:
    """A hub into which every event may be the last thing this process sends."""

    def __init__(self, stream: Stream, fate: Fate) -> None:
        self._stream = stream
        self._fate = fate

    def partitions(self) -> int:
        return self._stream.partitions()

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        for body in bodies:  # one by one, as a client may that has much to send
            packed, readings = unpack(body, story.SCENARIO.channel_names)
            place = f"send {packed.source} {readings.position[0]} to {partition}"
            self._fate.meet(f"before {place}")
            self._stream.send(partition, [body])
            self._fate.meet(f"after {place}")

    def read(self, partition: int, first: int, end: int) -> Iterator[Event]:
        return self._stream.read(partition, first, end)

    def oldest(self, partition: int) -> Event | None:
        return self._stream.oldest(partition)


def score(order: dict[str, Any]) -> None:
    """Tell a story to one partition of the stream "readings"."""
    own = world.connect(order["storage"], order["prefix"])
    told = story.named(order["story"])
    worker = world.pipeline(FatedBlobs(own, Fate(order)), told.hub(), every=order.get("every", 4))
    cuts = random.Random(order["cuts"]) if "cuts" in order else None
    before = None
    for after, now, events in told.batches(order["at"].get("score 0", 0), cuts):
        if now != before:
            world.deploy(own, now)
        delivered(partial(worker.score, 0, events))
        checkpoint(order, {"score 0": after})
        before = now


def chain(order: dict[str, Any]) -> None:
    """Route the devices' messages into the hub "readings", and score what stands there, turn by turn."""
    own, fate = world.connect(order["storage"], order["prefix"]), Fate(order)
    devices = story.Log(story.telemetry())
    hub = FatedStream(world.FileHub(Path(order["hub"])), fate)
    worker = world.pipeline(FatedBlobs(own, fate), hub, devices)
    at: dict[str, int] = dict(order["at"])
    chance = random.Random(order.get("luck", 0))
    while True:
        before = dict(at)
        for number, events in enumerate(devices.logs):
            first = at.get(f"route {number}", 0)
            blocks = first // order["size"] + chance.randint(1, 2)
            batch = events[first : blocks * order["size"]]
            if batch:
                delivered(partial(worker.route_events, number, batch))
                at[f"route {number}"] = batch[-1].sequence + 1
                checkpoint(order, at)
        for number in range(hub.partitions()):
            batch = list(hub.read(number, at.get(f"score {number}", 0), END))
            if batch:
                delivered(partial(worker.score, number, batch))
                at[f"score {number}"] = batch[-1].sequence + 1
                checkpoint(order, at)
        if at == before:
            return


def delivered(call: Callable[[], None]) -> None:
    """Deliver until it is taken, as the trigger does; here every store answers, so that few tries must do."""
    for _ in range(TRIES):
        try:
            return call()
        except TransientFailure:
            traceback.print_exc()
    raise AssertionError(f"not taken in {TRIES} tries")


def checkpoint(order: dict[str, Any], at: dict[str, int]) -> None:
    """Tell how far deliveries have come, so that the next life begins no later."""
    path = Path(order["checkpoint"])
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(at), "utf-8")
    fresh.replace(path)


def life(order: dict[str, Any]) -> None:
    """A forked child: does what it was ordered to, and never returns."""
    code = 1
    signal.alarm(LONGEST_S)
    try:
        {"score": score, "chain": chain}[order["role"]](order)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here and says so
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def status_of(code: int) -> str:
    if os.WIFSTOPPED(code):
        return "stopped"
    if os.WIFSIGNALED(code):
        return "killed" if os.WTERMSIG(code) == signal.SIGKILL else f"signal {os.WTERMSIG(code)}"
    return "done" if os.WEXITSTATUS(code) == 0 else "failed"


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order of the tests."""
    if order["do"] == "start":
        pid = os.fork()
        if pid == 0:
            life(order)
        return {"pid": pid}
    pid = cast("int", order["pid"])
    if order["do"] == "go":
        os.kill(pid, signal.SIGCONT)
        return {}
    if "after_s" in order:
        time.sleep(order["after_s"])  # this is the random moment of a death, not a wait for something
        os.kill(pid, signal.SIGKILL)  # it is not reaped yet, so the id is still its own
    _, code = os.waitpid(pid, os.WUNTRACED)
    return {"status": status_of(code)}


def main() -> None:
    """Serve orders until the tests hang up."""
    for name in SLOW:  # what a life would import on its way
        importlib.import_module(name)
    story.models()
    story.telemetry()
    for name in ("plain", "steady", "reborn"):
        story.named(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
