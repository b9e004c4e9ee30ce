"""The vendor's own runtime as the worker: it indexes the app, converts what triggers send, and calls the functions.

Its registry and its pool belong to the process, so one process runs one app. Its internals are not public: another
version than the one that this was written against is refused.
"""

import asyncio
import importlib
import importlib.metadata
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from azure.functions.meta import Datum

from local.host.functions import HostError, Indexed
from local.host.retry import Retry
from local.host.worker import protos
from local.host.worker.loop import CoroutineLoop
from local.host.worker.where import MOST
from local.host.worker.worker import InvocationFailed, Past, Sent, failure

PACKAGE = "azure-functions-runtime"
VERSION = "1.3.0"
CALLERS = 512  # threads that wait for the runtime's pool, whose size is the runtime's own


class VendorWorker:
    """The functions of one app, on the vendor's runtime.

    Args:
        app_dir: Directory of function_app.py, which can be imported.

    Raises:
        HostError: The runtime is absent or of another version, or it does not take the app.
    """

    def __init__(self, app_dir: Path) -> None:
        _check_version()
        # the host tells of a failure in one line; the runtime would add its traceback
        logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
        runtime: Any = importlib.import_module("azure_functions_runtime")
        self._native: Any = importlib.import_module("azure_functions_runtime.native_invocation")
        found = asyncio.run(_index(runtime, app_dir))
        self._ids = {each.name: each.function_id for each in found}
        self.functions = [_indexed(each) for each in found]
        self._triggers = {each.name: each.trigger["name"] for each in self.functions}
        runtime.start_threadpool_executor()
        self._pool = runtime.get_threadpool_executor()
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="caller")
        self._coroutines = CoroutineLoop()

    async def invoke(self, name: str, send: Callable[[], Sent], past: Past) -> Datum | None:
        """See `Worker`."""
        calling = asyncio.get_running_loop().run_in_executor(self._callers, self._call, name, send, past)
        arguments, (handled, *answer) = await calling
        if not handled:  # a coroutine function
            answer = await self._coroutines.run(_guarded(self._native.invocation_request_native(**arguments)))
        well, value, _, said, trace = answer
        if not well:
            raise _failed(said, trace)
        found: Datum | None = value
        return found

    def close(self) -> None:
        """See `Worker`."""
        self._callers.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._coroutines.close()

    def _call(self, name: str, send: Callable[[], Sent], past: Past) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """What the runtime was given and answered; it does not handle coroutine functions on this way."""
        sent, last = send(), past.last
        arguments = {
            "invocation_id": str(uuid.uuid4()),
            "function_id": self._ids[name],
            "inputs": [(self._triggers[name], sent.data)],
            "trigger_metadata": dict(sent.metadata),
            "retry_count": past.failures,
            "max_retry_count": past.limit,
            "retry_exception": protos.RpcException(message=str(last), stack_trace=last.trace) if last else None,
        }
        try:
            return arguments, self._native.run_invocation_sync(**arguments)
        except BaseException as error:  # such as SystemExit, which the runtime lets pass
            raise failure(error) from error


async def _guarded(call: Awaitable[Any]) -> Any:
    """SystemExit would end the loop of coroutines."""
    try:
        return await call
    except BaseException as error:
        raise failure(error) from error


def _check_version() -> None:
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != VERSION:
        raise HostError(f"from Python 3.13 on the local host needs {PACKAGE} {VERSION}; installed is {found}")


async def _index(runtime: Any, app_dir: Path) -> list[protos.RpcFunctionMetadata]:
    begin = SimpleNamespace(capabilities={}, function_app_directory=str(app_dir))
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=begin), properties={"host": "127.0.0.1", "protos": protos}
    )
    answer: protos.WorkerInitResponse = await runtime.worker_init_request(request)
    if error := answer.result.exception:
        said = _one_line(error.message, error.stack_trace)
        raise HostError(f"function_app cannot be loaded, so the app has no functions: {said}")
    listing: protos.FunctionMetadataResponse = await runtime.functions_metadata_request(request)
    return listing.function_metadata_results or []


def _indexed(found: protos.RpcFunctionMetadata) -> Indexed:
    policy = found.retry_options
    return Indexed(found.name, [json.loads(each) for each in found.raw_bindings], Retry.of(policy) if policy else None)


def _failed(said: str, trace: str) -> InvocationFailed:
    """The runtime hands out an error as text: its repr, and its traceback."""
    kind = said.partition("(")[0]
    ending = re.search(rf"^(?:\w+\.)*({re.escape(kind)}(?:: .*)?)\Z", trace.rstrip(), re.DOTALL | re.MULTILINE)
    return InvocationFailed(_one_line(ending[1] if ending else said, trace), kind=kind, trace=trace)


def _one_line(said: str, trace: str) -> str:
    """An error with the place it came from, as `where` tells one that is at hand."""
    text = " ".join(said.split())[:MOST]
    places = re.findall(r'^  File "(.+)", line (\d+)', trace, re.MULTILINE)
    return f"{text} ({Path(places[-1][0]).name}:{places[-1][1]})" if places else text
