"""Calling functions: where they run, what counts as failure, and what is remembered about it."""

import asyncio
import datetime as dt
import functools
import threading
import typing
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import azure.functions as func

from local.host.functions import Declared, where


class InvocationFailed(Exception):
    """A function raised, or returned a value that nothing is bound to."""


@dataclass(slots=True)
class Tally:
    """What `GET /admin/host/status` tells about one function."""

    invocations: int = 0
    failures: int = 0
    running: int = 0
    last_error: dict[str, str] | None = None
    listener: str = "started"


@dataclass(frozen=True, slots=True)
class _RetryContext:
    """Stands in for the worker's retry context."""

    retry_count: int
    max_retry_count: int
    exception: None = None


@dataclass(frozen=True, slots=True)
class _Context:
    """Stands in for the worker's `func.Context`."""

    function_name: str
    invocation_id: str
    retry_context: _RetryContext
    function_directory: str = "."
    trace_context: None = None
    thread_local_storage: threading.local = threading.local()  # noqa: RUF009 - shared on purpose, as in the worker


class Invoker:
    """Runs functions as the Python worker does: plain ones in a thread pool, coroutines on one loop of their own."""

    def __init__(self, functions: list[Declared], *, threads: int = 32) -> None:
        self.tallies = {function.name: Tally() for function in functions}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run_loop, name="coroutines", daemon=True)

    async def __call__(self, function: Declared, make: Callable[[], Any], *, failures: int = 0) -> Any:
        """Run one execution and return the function's value.

        Args:
            function: What to run.
            make: Builds the trigger's value; called on the function's thread, so that the host's loop stays free.
            failures: Executions of the same trigger value that failed before.

        Raises:
            InvocationFailed: With the function's error in one line; the error itself is its cause.
        """
        tally = self.tallies[function.name]
        tally.invocations += 1
        tally.running += 1
        try:
            return await self._run(function, make, failures)
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
        """Let go of the threads without waiting for functions that do not end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(1.0)

    async def _run(self, function: Declared, make: Callable[[], Any], failures: int) -> Any:
        keywords = {"context": _context(function, failures)} if function.wants_context else {}
        if function.is_async:
            coroutine = _call_async(function, make, keywords)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._worker_loop()))
        call = functools.partial(_call, function, make, keywords)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _worker_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of coroutine functions: a function that blocks it holds up the others, but not the host."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread.start()
        return self._loop

    def _run_loop(self) -> None:
        if self._loop is not None:
            self._loop.run_forever()
            self._loop.close()


def _call(function: Declared, make: Callable[[], Any], keywords: dict[str, Any]) -> Any:
    try:
        return _verified(function, function.call(**{function.argument: make()}, **keywords))
    except BaseException as error:  # also SystemExit, which would otherwise end the host's loop
        raise InvocationFailed(where(error)) from error


async def _call_async(function: Declared, make: Callable[[], Any], keywords: dict[str, Any]) -> Any:
    try:
        return _verified(function, await function.call(**{function.argument: make()}, **keywords))
    except BaseException as error:
        raise InvocationFailed(where(error)) from error


def _verified(function: Declared, result: Any) -> Any:
    if result is not None and not function.returns:
        raise TypeError(f"returned {type(result).__name__}, but no output binding takes it: Azure fails this too")
    return result


def _context(function: Declared, failures: int) -> func.Context:
    limit = function.retry.limit if function.retry else 0
    context = _Context(function.name, str(uuid.uuid4()), _RetryContext(failures, limit))
    return typing.cast(func.Context, context)


def _described(failed: InvocationFailed) -> dict[str, str]:
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return {"type": type(failed.__cause__).__name__, "message": str(failed), "at": now}
