"""The HTTP route of a manual retrain: what a person may ask for, and the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from shared.app.loop.retraining import Retraining
from shared.core.retrain.signals import Signals
from shared.errors import PipelineError

log = logging.getLogger(__name__)

LONGEST_REASON = LONGEST_ACTOR = 200


def retrain_request(
    retraining: Retraining, signals: Callable[[], Signals], params: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    """A person asks for a job over HTTP.

    Args:
        retraining: Decides and launches.
        signals: What the newest check found.
        params: `reason`, 1 to 200 printable characters; `dry_run`, true or false (the default).
        headers: With lower-case names. Who asks: `x-ms-client-principal-name`, which the platform's sign-in sets, or
            else `x-actor`.

    Returns:
        Status and body: 202 a job was decided, 200 the answer of a dry run, 409 refused, 400 what is wrong.
    """
    reason, dry_run = params.get("reason", "").strip(), params.get("dry_run", "false")
    actor, wrong_actor = _actor(headers)
    problems = [
        *_wrong("reason", reason, LONGEST_REASON),
        *wrong_actor,
        *([] if dry_run in {"true", "false"} else ["dry_run: is neither true nor false"]),
    ]
    if problems:
        return 400, {"error": "; ".join(problems)}
    found = retraining.consider(signals(), actor, reason, dry_run=dry_run == "true")
    body: dict[str, Any] = {
        "launch": found.decision.launch,
        "reasons": found.decision.reasons,
        "refusals": found.decision.refusals,
        "position": found.entry.position if found.entry else None,
        "job": found.job,
        "dry_run": found.entry is None,
        "submitted": False,
    }
    if found.job is None:
        return (200 if found.entry is None else 409), body
    try:
        retraining.launch()
    except PipelineError as error:  # it is decided: timers submit it as soon as that works
        log.warning("%s is not submitted yet: %s", found.job, error)
        return 202, body
    return 202, {**body, "submitted": True}


def actor_of(headers: Mapping[str, str]) -> str:
    """Who asks over HTTP.

    Args:
        headers: With lower-case names. `x-ms-client-principal-name` is set by the platform's sign-in; without it
            `x-actor` counts, which anyone who holds the route's key may set.

    Raises:
        ValueError: The name is too long or not printable.
    """
    actor, problems = _actor(headers)
    if problems:
        raise ValueError("; ".join(problems))
    return actor


def _actor(headers: Mapping[str, str]) -> tuple[str, list[str]]:
    actor = headers.get("x-ms-client-principal-name") or headers.get("x-actor") or "http"
    return actor, _wrong("actor", actor, LONGEST_ACTOR)


def _wrong(name: str, text: str, longest: int) -> list[str]:
    if 1 <= len(text) <= longest and text.isprintable():
        return []
    return [f"{name}: needs 1 to {longest} printable characters"]
