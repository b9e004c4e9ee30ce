"""A TCP proxy before a store, on which the weather is bad: connections are cut, slow or refused, by a seed."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PIECE = 16_384  # bytes passed on at once
ENDLESS = 1 << 60
RESET = struct.pack("ii", 1, 0)  # closing sends a reset
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to become of a connection.

    Args:
        kind: "reset" at once, "cut", "slow", or "fair".
        bytes: A cut one ends after so many, in whichever direction the last one goes.
        delay_s: A slow one waits so long before each piece.
    """

    kind: str
    bytes: int = ENDLESS
    delay_s: float = 0.0


def fates(seed: int) -> Iterator[Fate]:
    """Fates of the connections, one after another; many are cut within a request or its answer."""
    draw = random.Random(seed)
    while True:
        kind = draw.choices(["reset", "cut", "slow", "fair"], [1, 6, 2, 3])[0]
        size, delay_s = round(math.exp(draw.uniform(math.log(200), math.log(2_000_000)))), draw.uniform(0.02, 0.3)
        yield Fate(kind, size if kind == "cut" else ENDLESS, delay_s if kind == "slow" else 0.0)


class Cut(Exception):
    """A connection has had all the bytes it was to have."""


class Weather:
    """Passes bytes on to a port of this machine as long as the weather lets it; a context manager.

    Args:
        target: The port behind it.
        seed: Of the fates, and of the times in which it refuses everything.
        told: The fates instead, without such times.
    """

    def __init__(self, target: Callable[[], int], seed: int = 0, told: Iterator[Fate] | None = None) -> None:
        self.port = 0
        self.seen: Counter[str] = Counter()
        self._target, self._fates, self._draw = target, told or fates(seed), random.Random(seed + 1)
        self._stormy = told is None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()
        self._clear = asyncio.Event()

    def __enter__(self) -> Weather:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def clear_up(self) -> None:
        """From now on everything is passed on."""
        self._loop.call_soon_threadsafe(self._clear.set)

    async def _begin(self) -> None:
        server = await self._listen()
        self.port = server.sockets[0].getsockname()[1]
        self._tasks.add(asyncio.create_task(self._storms(server)))

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    async def _storms(self, server: asyncio.Server) -> None:
        """Now and then nobody listens for a while, and whatever is open is cut."""
        try:
            while self._stormy and not await self._cleared_within(self._draw.uniform(1.0, 6.0)):
                server.close()
                self.seen["refusing"] += 1
                for writer in list(self._open):
                    _reset(writer)
                await self._cleared_within(self._draw.uniform(0.1, 1.5))
                server = await self._listen()
            await asyncio.Event().wait()
        finally:
            server.close()

    async def _cleared_within(self, seconds: float) -> bool:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._clear.wait(), seconds)
        return self._clear.is_set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        fate = Fate("fair") if self._clear.is_set() else next(self._fates)
        self.seen[fate.kind] += 1
        try:
            if fate.kind != "reset":
                await self._joined((reader, writer), fate)
        except Cut:
            self.seen["ended"] += 1
        except OSError:
            self.seen["broken"] += 1
        finally:
            _reset(writer)
            self._tasks.discard(task)

    async def _joined(self, near: Streams, fate: Fate) -> None:
        """Pass on both ways until one side ends, or the weather ends it."""
        far = await asyncio.open_connection("127.0.0.1", self._target())
        left = [fate.bytes]
        self._open |= {near[1], far[1]}
        ways = [asyncio.create_task(self._pass(near[0], far[1], fate, left))]
        ways += [asyncio.create_task(self._pass(far[0], near[1], fate, left))]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
            for way in done:
                way.result()
            for writer in (near[1], far[1]):  # both said all they had to say
                writer.close()
                await writer.wait_closed()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._open -= {near[1], far[1]}
            _reset(far[1])

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate, left: list[int]
    ) -> None:
        while piece := await reader.read(PIECE):
            if not self._clear.is_set():
                await asyncio.sleep(fate.delay_s)
                piece = piece[: left[0]]
                left[0] -= len(piece)
            writer.write(piece)
            await writer.drain()
            if left[0] <= 0:
                raise Cut
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close as a broken line does, without a word."""
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
