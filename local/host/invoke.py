"""Executions of functions: what is remembered about them, whichever worker runs them."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azure.functions.meta import Datum

from local.host.functions import Declared
from local.host.worker.worker import InvocationFailed, Past, Sent, Worker


@dataclass(slots=True)
class Tally:
    """What `GET /admin/host/status` tells about one function."""

    invocations: int = 0
    failures: int = 0
    running: int = 0
    last_error: dict[str, str] | None = None
    listener: str = "started"


class Invoker:
    """Hands what triggers send to the worker, and counts."""

    def __init__(self, functions: Sequence[Declared], worker: Worker) -> None:
        self.tallies = {function.name: Tally() for function in functions}
        self._worker = worker

    async def __call__(
        self, function: Declared, send: Callable[[], Sent], *, failures: int = 0, last: InvocationFailed | None = None
    ) -> Datum | None:
        """Run one execution and return what the function's return binding is given.

        Args:
            function: What to run.
            send: Gives the trigger's value; called on a thread of the worker, so that the host's loop stays free.
            failures: Executions of the same trigger value that failed before.
            last: The newest of them.

        Raises:
            InvocationFailed: With the function's error in one line.
        """
        tally = self.tallies[function.name]
        tally.invocations += 1
        tally.running += 1
        limit = function.retry.limit if function.retry else 0
        try:
            return await self._worker.invoke(function.name, send, Past(failures, limit, last))
        except InvocationFailed as failed:
            tally.failures += 1
            tally.last_error = _described(failed)
            raise
        finally:
            tally.running -= 1

    def running(self) -> int:
        """Executions that have not ended."""
        return sum(tally.running for tally in self.tallies.values())

    def close(self) -> None:
        """Let go of the worker without waiting for functions that do not end."""
        self._worker.close()


def _described(failed: InvocationFailed) -> dict[str, str]:
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return {"type": failed.kind, "message": str(failed), "at": now}
