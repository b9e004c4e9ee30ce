"""The proxy between hosts and store does to connections what it says."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from tests.e2e.crash.crash_weather import Fate, Weather, fates

SENT = random.Random(3).randbytes(300_000)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    near, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(near,), daemon=True).start()

        def answer(near: socket.socket) -> None:
            with near:
                try:
                    while piece := near.recv(10_000):
                        near.sendall(piece)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def returned(port: int) -> tuple[bytes, bool]:
    """What comes back of `SENT`, and whether the line broke."""
    found, unsent = b"", []
    with socket.create_connection(("127.0.0.1", port)) as near:

        def send() -> None:
            try:
                near.sendall(SENT)
                near.shutdown(socket.SHUT_WR)
            except OSError as error:  # a reset is told to one of the two threads only
                unsent.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            while len(found) < len(SENT) and (piece := near.recv(10_000)):
                found += piece
        except ConnectionError:
            return found, True
        finally:
            thread.join()
    return found, bool(unsent)


def test_a_fair_and_a_slow_line_change_no_byte(echo: int) -> None:
    with Weather(lambda: echo, told=iter([Fate("fair"), Fate("slow", delay_s=0.001)])) as weather:
        assert returned(weather.port) == (SENT, False)
        assert returned(weather.port) == (SENT, False)
    assert dict(weather.seen) == {"fair": 1, "slow": 1}


@pytest.mark.parametrize("size", [1, 777, 100_000, 450_000])
def test_a_cut_line_breaks_after_its_bytes_of_both_ways_together(echo: int, size: int) -> None:
    with Weather(lambda: echo, told=iter([Fate("cut", bytes=size)])) as weather:
        found, broken = returned(weather.port)
    assert broken
    assert SENT.startswith(found)
    assert len(found) <= size / 2
    assert weather.seen["ended"] == 1


def test_a_line_that_is_reset_gives_nothing_and_clear_weather_gives_all(echo: int) -> None:
    with Weather(lambda: echo, told=iter([Fate("reset")])) as weather:
        assert returned(weather.port) == (b"", True)
        weather.clear_up()
        assert returned(weather.port) == (SENT, False)


def test_the_weather_of_a_seed_is_the_same_again() -> None:
    first, again, other = (list(islice(fates(seed), 300)) for seed in (5, 5, 6))
    assert first == again != other
    assert {fate.kind for fate in first} == {"reset", "cut", "slow", "fair"}
