"""Waiting as listeners do it: until something happens, but no longer than a time."""

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any


async def happened(event: asyncio.Event, within_s: float) -> bool:
    """Whether an event is set within a time."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), within_s)
    return event.is_set()


async def ended(tasks: Collection[asyncio.Task[Any]], within_s: float) -> bool:
    """Whether all tasks end within a time; those that do not are left running."""
    if not tasks:
        return True
    _, late = await asyncio.wait(tasks, timeout=within_s)
    return not late
