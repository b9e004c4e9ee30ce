"""What routes for machines answer; errors have one form, problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

JSON, CSV, PROBLEM = "application/json", "text/csv", "application/problem+json"


class Reply(NamedTuple):
    """An HTTP answer: its status, its body, and what kind of body that is."""

    status: int
    body: bytes
    kind: str = JSON


def problem(status: int, reason: str, detail: str) -> Reply:
    """An error.

    >>> problem(404, "no_forecast", "there is none").body
    b'{"type":"about:blank","title":"Not Found","status":404,"reason":"no_forecast","detail":"there is none"}'

    Args:
        status: HTTP status.
        reason: Code for a machine.
        detail: What was found and what is allowed or can be done; never a secret.
    """
    known = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return Reply(status, msgspec.json.encode({**known, "reason": reason, "detail": detail}), PROBLEM)
