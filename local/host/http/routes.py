"""HTTP-triggered functions: route templates, and requests and responses through the library's own converters."""

import logging
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from azure.functions.http import HttpRequestConverter, HttpResponseConverter
from azure.functions.meta import Datum

from local.host.functions import Declared
from local.host.invoke import InvocationFailed, Invoker

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
        if function.kind == "httpTrigger":
            template = function.binding["route"]
            methods = function.binding.get("methods")
            literal = len(re.sub(r"\{[^}]*\}", "", template))
            allowed = frozenset(method.upper() for method in methods) if methods else None
            found.append(Route(function, route_pattern(template), allowed, literal))
    return sorted(found, key=lambda route: -route.literal)


async def answer(table: Sequence[Route], path: str, request: web.Request, invoke: Invoker) -> web.Response:
    """Run the function that a path below the prefix means: 404 for none, 405 for another method, 500 if it fails."""
    allowed: set[str] = set()
    for route in table:
        match = route.pattern.fullmatch(path)
        if match is None:
            continue
        if route.methods is None or request.method in route.methods:
            return await _run(route.function, match.groupdict(), request, invoke)
        allowed |= route.methods
    if allowed:
        return web.Response(status=405, headers={"Allow": ", ".join(sorted(allowed))})
    return web.Response(status=404)


async def _run(
    function: Declared, found: Mapping[str, str | None], request: web.Request, invoke: Invoker
) -> web.Response:
    body = await request.read()
    params = {name: urllib.parse.unquote(value) for name, value in found.items() if value is not None}
    datum = Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": {name.lower(): Datum(value, "string") for name, value in request.headers.items()},
            "query": {name: Datum(value, "string") for name, value in request.query.items()},
            "params": {name: Datum(value, "string") for name, value in params.items()},
            "body": Datum(body, "bytes"),
        },
        "http",
    )
    try:
        result = await invoke(function, lambda: HttpRequestConverter.decode(datum, trigger_metadata={}))
        return _response(result)
    except InvocationFailed as failed:
        log.warning("%s failed: %s", function.name, failed)
    except NotImplementedError:
        log.warning("%s returned a %s, which is no HTTP response", function.name, type(result).__name__)
    return web.Response(status=500)


def _response(result: object) -> web.Response:
    if result is None:
        return web.Response(status=204)
    datum = HttpResponseConverter.encode(result, expected_type=None)
    if datum.type == "string":
        return web.Response(text=datum.value)
    value = datum.value
    headers = {name: header.value for name, header in value["headers"].items()}
    response = web.Response(status=int(value["status_code"].value), headers=headers, body=value["body"].value)
    for cookie in value["cookies"] or []:
        response.headers.add("Set-Cookie", cookie.output(header="").strip())
    return response
