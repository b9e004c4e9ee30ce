"""What the host asks of a worker, which indexes an app, converts what a trigger sends and calls the functions."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from azure.functions.meta import Datum

from local.host.functions import Indexed
from local.host.worker.where import where


class InvocationFailed(Exception):
    """A function raised, or returned a value that nothing is bound to.

    Args:
        said: The function's error in one line.
        kind: Name of its type.
        trace: Its traceback.
    """

    def __init__(self, said: str, *, kind: str = "", trace: str = "") -> None:
        super().__init__(said)
        self.kind = kind
        self.trace = trace


def failure(error: BaseException) -> InvocationFailed:
    """An exception as the failure of an execution."""
    return InvocationFailed(where(error), kind=type(error).__name__, trace="".join(traceback.format_exception(error)))


@dataclass(frozen=True, slots=True)
class Sent:
    """What the host sends to a worker when a trigger fires.

    Args:
        data: The trigger's value as it goes over the wire.
        metadata: What goes beside it.
        made: Gives what the library's converter would make of both, where building it directly is much cheaper; the
            vendor's runtime converts anyhow.
    """

    data: Datum
    metadata: Mapping[str, Datum] = field(default_factory=dict)
    made: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """Executions of the same trigger value that failed before.

    Args:
        failures: How many.
        limit: Repetitions at most, -1 for endless.
        last: The newest of them.
    """

    failures: int = 0
    limit: int = 0
    last: InvocationFailed | None = None


class Worker(Protocol):
    """Runs the functions of one app, which it has indexed."""

    @property
    def functions(self) -> Sequence[Indexed]:
        """The functions that the app has."""

    async def invoke(self, name: str, send: Callable[[], Sent], past: Past) -> Datum | None:
        """Run one execution.

        Args:
            name: Which function.
            send: Gives what is sent; called on a thread of the worker, so that the host's loop stays free.
            past: What failed before.

        Returns:
            The encoded return value of a function that has a binding for it.

        Raises:
            InvocationFailed: The function raised, or returned a value that cannot be encoded.
        """

    def close(self) -> None:
        """Let go of the threads without waiting for functions that do not end."""
