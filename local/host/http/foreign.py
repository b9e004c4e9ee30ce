"""Requests that a web page made, not somebody on this machine: they get nothing, as every auth level is open here."""

from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_foreign(host: str, origin: str | None) -> bool:
    """Whether a request comes from a page of another origin, or from a page whose name was bent to this machine.

    Args:
        host: The request's Host header, which names the server as the page knows it.
        origin: Its Origin header, which browsers send with whatever can change something.

    >>> is_foreign("127.0.0.1:7071", None), is_foreign("127.0.0.1:7071", "http://127.0.0.1:7071")
    (False, False)
    >>> is_foreign("page.example:7071", None), is_foreign("127.0.0.1:7071", "http://127.0.0.1:3000")
    (True, True)
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return True
    return name not in LOOPBACK or (origin is not None and origin.lower() != f"http://{host}".lower())


@web.middleware
async def no_foreign_pages(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse what a page of another origin asks for."""
    if is_foreign(request.host, request.headers.get("Origin")):
        return web.Response(status=403, text="only for this machine, and for no web page of another origin")
    response: web.StreamResponse = await handler(request)
    return response
