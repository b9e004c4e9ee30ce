"""The event loop on which coroutine functions run: one that blocks it holds up the others, but not the host."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class CoroutineLoop:
    """A loop on a thread of its own, which starts with the first coroutine."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives that runs over there."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_forever, args=(self._loop,), name="coroutines", daemon=True)
            self._thread.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def close(self) -> None:
        """Stop the loop, whatever still runs on it."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1.0)


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
