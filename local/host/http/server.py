"""The host's own HTTP server: status, admin invocation, webhooks, and the app's routes."""

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

from aiohttp import web

from local.host.blobs.listener import BlobListener
from local.host.blobs.sent import blob_of_url
from local.host.eventhub.events import single
from local.host.eventhub.listener import EventHubListener
from local.host.functions import Declared
from local.host.http.event_grid import events_of, sent
from local.host.http.foreign import no_foreign_pages
from local.host.http.routes import answer, routes
from local.host.invoke import Invoker
from local.host.timers import TimerListener
from local.host.timers import request as timer_request
from local.host.worker.worker import InvocationFailed

LARGEST_BODY = 100 << 20  # bytes, as in Azure
log = logging.getLogger("host.http")


class Server:
    """Answers on loopback; every auth level is open there, so what web pages of others ask for is refused.

    Args:
        functions: All functions of the app.
        listeners: Listener of each function that has one and could start.
        invoker: Runs functions.
        prefix: Route prefix of host.json.
    """

    def __init__(
        self, functions: list[Declared], listeners: Mapping[str, Any], invoker: Invoker, *, prefix: str = "api"
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._listeners = listeners
        self._invoke = invoker
        self._routes = routes(functions)
        self._prefix = prefix.strip("/")
        self._background: set[asyncio.Task[Any]] = set()

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; the port, chosen by the system when 0 was asked for."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[no_foreign_pages])
        app.router.add_get("/admin/host/status", self._status)
        app.router.add_post("/admin/functions/{name}", self._admin)
        app.router.add_route("*", "/runtime/webhooks/eventgrid", self._event_grid)
        app.router.add_route("*", "/runtime/webhooks/blobs", self._event_grid)
        app.router.add_route("*", "/{rest:.*}", self._route)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, shutdown_timeout=1.0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self, grace_s: float) -> None:
        """Stop listening; functions fired by hand may end within `grace_s` seconds."""
        await self._runner.cleanup()
        if self._background:
            await asyncio.wait(self._background, timeout=grace_s)

    async def _route(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path.strip("/")
        if self._prefix:
            head, _, path = path.partition("/")
            if head.lower() != self._prefix.lower():
                return web.Response(status=404)
        return await answer(self._routes, path, request, self._invoke)

    async def _status(self, request: web.Request) -> web.Response:
        lags = await self._lags() if request.query.get("lag") == "true" else {}
        found = [self._status_of(function, lags.get(function.name, {})) for function in self._functions.values()]
        return web.json_response({"state": "Running", "stand_in": True, "functions": found})

    def _status_of(self, function: Declared, lags: Mapping[str, int]) -> dict[str, Any]:
        tally = self._invoke.tallies[function.name]
        status: dict[str, Any] = {
            "name": function.name,
            "type": function.kind,
            "listener": tally.listener,
            "invocations": tally.invocations,
            "failures": tally.failures,
            "running": tally.running,
            "last_error": tally.last_error,
        }
        listener = self._listeners.get(function.name)
        if isinstance(listener, TimerListener) and listener.due is not None:
            status["next"] = listener.due.isoformat()
        if isinstance(listener, EventHubListener):
            status["partitions"] = {
                partition: dataclasses.asdict(state) | ({"lag": lags[partition]} if partition in lags else {})
                for partition, state in sorted(listener.partitions.items())
            }
        return status

    async def _lags(self) -> dict[str, dict[str, int]]:
        hubs = {name: each for name, each in self._listeners.items() if isinstance(each, EventHubListener)}
        return dict(zip(hubs, await asyncio.gather(*(hub.lags() for hub in hubs.values())), strict=True))

    async def _admin(self, request: web.Request) -> web.Response:
        """Fire a function now; `?wait=true` (ours alone) answers with its outcome."""
        function = self._functions.get(request.match_info["name"].lower())
        if function is None:
            return web.Response(status=404, text="no such function")
        try:
            body = json.loads(await request.read() or b"{}")
            given = body.get("input") if isinstance(body, dict) else None
            firing = self._fire(function, given if isinstance(given, str) else "")
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=str(error))
        task = asyncio.create_task(firing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        if request.query.get("wait") != "true":
            return web.Response(status=202)
        failed = await asyncio.shield(task)
        return web.Response(text="done") if failed is None else web.Response(status=500, text=failed)

    def _fire(self, function: Declared, given: str) -> Any:
        """One execution by hand; a coroutine that gives the error's text, or None."""
        if function.missing is not None:
            raise ValueError(function.missing)
        if function.kind == "timerTrigger":
            return self._outcome(function, lambda: timer_request(False, {}))
        if function.kind == "eventHubTrigger":
            return self._outcome(function, lambda: single(given.encode()))
        if function.kind == "eventGridTrigger":
            event = json.loads(given)
            return self._outcome(function, lambda: sent(event))
        if function.kind == "blobTrigger":
            if function.name not in self._listeners or "/" not in given:
                raise ValueError('needs {"input": "container/name"} and a listener that could start')
            return self._ended(function, self._listeners[function.name].invoke_once(given))
        raise ValueError("an HTTP function is called by its route")

    async def _outcome(self, function: Declared, make: Any) -> str | None:
        return await self._ended(function, self._invoke(function, make))

    async def _ended(self, function: Declared, execution: Awaitable[Any]) -> str | None:
        """The error's text, None when all went well."""
        try:
            await execution
        except InvocationFailed as failed:
            log.warning("%s failed: %s", function.name, failed)
            return str(failed)
        return None

    async def _event_grid(self, request: web.Request) -> web.Response:
        """The webhooks that an Event Grid subscription calls, for events and for blobs."""
        name = request.query.get("functionName", "").removeprefix("Host.Functions.")
        function = self._functions.get(name.lower())
        kind = "blobTrigger" if request.path.endswith("/blobs") else "eventGridTrigger"
        if function is None or function.kind != kind:
            return web.Response(status=404, text=f"no function {name!r} with this trigger")
        if request.method == "OPTIONS":  # the CloudEvents handshake
            return web.Response(headers={"WebHook-Allowed-Origin": request.headers.get("WebHook-Request-Origin", "*")})
        try:
            events = events_of(await request.read())
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return await self._deliver(function, request.headers.get("aeg-event-type", "Notification"), events)

    async def _deliver(self, function: Declared, kind: str, events: list[dict[str, Any]]) -> web.Response:
        if kind == "SubscriptionValidation":
            code = next((each["data"]["validationCode"] for each in events if "validationCode" in each["data"]), None)
            return web.json_response({"validationResponse": code}) if code else web.Response(status=400)
        if kind != "Notification":
            return web.Response(status=202 if kind == "Unsubscribe" else 400)
        if function.kind == "blobTrigger":
            return self._announce(function, events)
        outcomes = await asyncio.gather(*(self._outcome(function, lambda e=event: sent(e)) for event in events))
        return web.Response(status=500 if any(outcomes) else 202)

    def _announce(self, function: Declared, events: list[dict[str, Any]]) -> web.Response:
        listener = self._listeners.get(function.name)
        if not isinstance(listener, BlobListener):
            return web.Response(status=500, text="the listener could not start")
        for event in events:
            kind, url = event.get("eventType", event.get("type")), event["data"].get("url")
            if kind == "Microsoft.Storage.BlobCreated" and isinstance(url, str):
                listener.announce(blob_of_url(url))
        return web.Response(status=202)
