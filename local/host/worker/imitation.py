"""A worker for Python versions that the vendor's runtime does not support: its rules, and the library's converters."""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from azure.functions.meta import Datum

from local.host.worker.loop import CoroutineLoop
from local.host.worker.protos import RpcException
from local.host.worker.rules import Function, converter, index, script_dir
from local.host.worker.worker import Past, Sent, failure

THREADS = "PYTHON_THREADPOOL_THREAD_COUNT"
_LOCAL = threading.local()


@dataclass(frozen=True, slots=True)
class RetryContext:
    """What a function may know of the executions before."""

    retry_count: int
    max_retry_count: int
    rpc_exception: RpcException | None


@dataclass(frozen=True, slots=True)
class TraceContext:
    """What a function may know of the trace that it belongs to: here there is none."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Stands in for `func.Context`."""

    function_name: str
    function_directory: str
    invocation_id: str
    retry_context: RetryContext
    trace_context: TraceContext = TraceContext()
    thread_local_storage: threading.local = _LOCAL


class ImitationWorker:
    """The functions of one app, as the vendor's worker would run them; function_app can be imported.

    Raises:
        HostError: The app breaks a rule of indexing.
    """

    def __init__(self) -> None:
        self._functions = {each.indexed.name: each for each in index("function_app")}
        self.functions = [each.indexed for each in self._functions.values()]
        self._pool = ThreadPoolExecutor(threads(), thread_name_prefix="function")
        self._coroutines = CoroutineLoop()

    async def invoke(self, name: str, send: Callable[[], Sent], past: Past) -> Datum | None:
        """See `Worker`."""
        function = self._functions[name]
        if asyncio.iscoroutinefunction(function.call):
            found = await self._coroutines.run(_run_coroutine(function, send, past))
        else:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, _run, function, send, past)
        value: Datum | None = found
        return value

    def close(self) -> None:
        """See `Worker`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._coroutines.close()


def threads() -> int | None:
    """Size of the pool; None for the standard library's own, min(32, processors + 4)."""
    text = os.environ.get(THREADS, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _run(function: Function, send: Callable[[], Sent], past: Past) -> Datum | None:
    try:
        return _encoded(function, function.call(**_arguments(function, send(), past)))
    except BaseException as error:  # also SystemExit, which would otherwise end the host's loop
        raise failure(error) from error


async def _run_coroutine(function: Function, send: Callable[[], Sent], past: Past) -> Datum | None:
    try:
        return _encoded(function, await function.call(**_arguments(function, send(), past)))
    except BaseException as error:
        raise failure(error) from error


def _arguments(function: Function, sent: Sent, past: Past) -> dict[str, Any]:
    trigger = function.indexed.trigger
    if sent.made is not None:
        value = sent.made()
    else:
        value = converter(trigger["type"]).decode(sent.data, trigger_metadata=sent.metadata)
    arguments = {trigger["name"]: value}
    if function.wants_context:
        arguments["context"] = _context(function, past)
    return arguments


def _context(function: Function, past: Past) -> Context:
    last = past.last
    error = RpcException(message=str(last), stack_trace=last.trace) if last is not None else None
    invocation = str(uuid.uuid4())
    _LOCAL.invocation_id = invocation
    return Context(
        function_name=function.indexed.name,
        function_directory=script_dir(function.call),
        invocation_id=invocation,
        retry_context=RetryContext(past.failures, past.limit, error),
    )


def _encoded(function: Function, result: Any) -> Datum | None:
    """The return value as its binding takes it; None is no HTTP response either."""
    if function.returns is None:
        if result is not None:
            raise RuntimeError(f"{function.indexed.name} without a $return binding returned a non-None value")
        return None
    try:
        found: Datum = converter(function.returns).encode(result, expected_type=None)
    except NotImplementedError:
        raise TypeError(f"a {type(result).__name__} cannot be returned to a binding {function.returns}") from None
    return found
