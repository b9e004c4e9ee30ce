"""Events of a partition, read from Azure Event Hubs by their sequence numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from shared.adapters.stores.event_hub_errors import failure
from shared.core.intake.envelopes.told import told_by
from shared.core.stream.events import Event
from shared.errors import TransientFailure

IDENTITY = "iothub-connection-device-id"
IDLE_S = 5.0


async def received(consumer: Any, partition: int, first: int, end: int) -> list[Event]:
    """Events `first` to `end - 1`, all of which the hub says it has.

    Raises:
        TransientFailure: It did not give them; they must not be taken for expired.
        ConfigError: It refuses for good.
    """
    found: list[Event] = []
    problems: list[Exception] = []
    done = asyncio.Event()

    async def take(_context: object, events: list[Any]) -> None:
        for event in events:
            if first <= event.sequence_number < end:
                enqueued = int(event.enqueued_time.timestamp() * 1000)
                system, properties = _texts(event.system_properties), _texts(event.properties)
                told = told_by(system, properties)
                found.append(Event(event.sequence_number, enqueued, b"".join(event.body), system.get(IDENTITY), told))
        if not events or events[-1].sequence_number >= end - 1:
            done.set()

    async def fail(_context: object, error: Exception) -> None:
        problems.append(error)
        done.set()

    position = {"starting_position": first, "starting_position_inclusive": True}
    options = {"partition_id": str(partition), "max_wait_time": IDLE_S, "on_error": fail, **position}
    receiving = asyncio.ensure_future(consumer.receive_batch(take, **options))
    receiving.add_done_callback(lambda _: done.set())
    await done.wait()
    receiving.cancel()
    problems += [p for p in await asyncio.gather(receiving, return_exceptions=True) if isinstance(p, Exception)]
    if [event.sequence for event in found] != list(range(first, end)):
        where = f"hub: events {first} to {end - 1} of partition {partition} were not read"
        raise failure(where, problems[0]) if problems else TransientFailure(f"{where}: nothing came for {IDLE_S:g} s")
    return found


def _texts(properties: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Properties with texts where the client gives bytes."""
    return {_text(name): _text(value) for name, value in (properties or {}).items()}


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
