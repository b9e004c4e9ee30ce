"""HTTP-triggered functions: route templates, and requests and responses as they go to and come from a worker."""

import logging
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from azure.functions.meta import Datum

from local.host.functions import Declared
from local.host.invoke import Invoker
from local.host.worker.worker import InvocationFailed, Sent

_CONSTRAINTS = {"int": r"-?\d+", "long": r"-?\d+", "alpha": "[A-Za-z]+", "bool": "(?i:true|false)"}
log = logging.getLogger("host.http")


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP function and the paths that lead to it."""

    function: Declared
    pattern: re.Pattern[str]
    methods: frozenset[str] | None
    literal: int


def route_pattern(template: str) -> re.Pattern[str]:
    """Pattern of the raw (still percent-encoded) path below the prefix.

    >>> route_pattern("files/{name}/{part:int?}").fullmatch("files/a%2Fb/7").groupdict()
    {'name': 'a%2Fb', 'part': '7'}
    >>> route_pattern("raw/{*rest}").fullmatch("raw/a/b").groupdict()
    {'rest': 'a/b'}
    """
    pattern = ""
    for segment in filter(None, template.split("/")):
        found = re.fullmatch(r"\{(\*?)(\w+)(?::(\w+))?(\??)\}", segment)
        if found is None:
            pattern += "/" + re.escape(segment)
            continue
        rest, name, constraint, optional = found.groups()
        value = ".*" if rest else _CONSTRAINTS.get(constraint or "", "[^/]+")
        pattern += f"(?:/(?P<{name}>{value}))?" if optional or rest else f"/(?P<{name}>{value})"
    return re.compile(pattern.removeprefix("/"), re.IGNORECASE)


def routes(functions: Sequence[Declared]) -> list[Route]:
    """The HTTP functions, those with the more literal templates first."""
    found = []
    for function in functions:
        if function.kind == "httpTrigger" and function.missing is None:
            template = function.binding["route"]
            methods = function.binding.get("methods")
            literal = len(re.sub(r"\{[^}]*\}", "", template))
            allowed = frozenset(method.upper() for method in methods) if methods else None
            found.append(Route(function, route_pattern(template), allowed, literal))
    return sorted(found, key=lambda route: -route.literal)


async def answer(table: Sequence[Route], path: str, given: web.Request, invoke: Invoker) -> web.Response:
    """Run the function that a path below the prefix means: 404 for none, 405 for another method, 500 if it fails."""
    allowed: set[str] = set()
    for route in table:
        match = route.pattern.fullmatch(path)
        if match is None:
            continue
        if route.methods is None or given.method in route.methods:
            return await _run(route.function, match.groupdict(), given, invoke)
        allowed |= route.methods
    if allowed:
        return web.Response(status=405, headers={"Allow": ", ".join(sorted(allowed))})
    return web.Response(status=404)


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    params: Mapping[str, str],
    body: bytes,
) -> Sent:
    """A request as the host sends it to a worker; names of headers are small there."""
    found = {
        "method": Datum(method, "string"),
        "url": Datum(url, "string"),
        "headers": {name.lower(): Datum(value, "string") for name, value in headers.items()},
        "query": {name: Datum(value, "string") for name, value in query.items()},
        "params": {name: Datum(value, "string") for name, value in params.items()},
        "body": Datum(body, "bytes"),
    }
    return Sent(Datum(found, "http"))


async def _run(
    function: Declared, found: Mapping[str, str | None], given: web.Request, invoke: Invoker
) -> web.Response:
    body = await given.read()
    params = {name: urllib.parse.unquote(value) for name, value in found.items() if value is not None}
    sent = request(given.method, str(given.url), given.headers, given.query, params, body)
    try:
        return _response(await invoke(function, lambda: sent))
    except InvocationFailed as failed:
        log.warning("%s failed: %s", function.name, failed)
    return web.Response(status=500)


def _response(answer: Datum | None) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    if answer.type == "string":
        return web.Response(text=answer.value)
    value = answer.value
    headers = {name: header.value for name, header in value["headers"].items()}
    response = web.Response(status=int(value["status_code"].value), headers=headers, body=value["body"].value)
    for cookie in value["cookies"] or []:
        response.headers.add("Set-Cookie", cookie.output(header="").strip())
    return response
