"""The stack as several commands use it: made for a folder, asked, and waited for."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.stack import scenario
from local.stack.process import StackError
from local.stack.stack import Stack
from local.stack.workspace import Workspace
from shared.wiring import CONTAINERS

POLL_S, CHECK_S = 0.2, 2.0
FIRE_S, LONGEST_ERROR = 1800.0, 4000
PATIENCE_S, ANSWER_S = 300.0, 60.0
UPLOADED = "the file stays in incoming/ and is read when the stack goes on"
SETTINGS = {"MODEL_REFRESH_S": "1"}


def new_stack(root: Path, settings: Mapping[str, str] = SETTINGS) -> Stack:
    """The stack of a folder, not yet started.

    Raises:
        ConfigError: SCENARIO names none that there is.
    """
    scenario.chosen()
    values = {**settings, scenario.NAME: scenario.named()}
    return Stack(root, template=scenario.TEMPLATE, settings=values, containers=CONTAINERS)


def await_summary(
    space: Workspace, source: str, stack: Stack | None = None, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """A dropped file's summary, once it is there.

    Args:
        space: The stack's stores.
        source: The file.
        stack: Its processes, when they are ours.
        patience_s: How long nothing at all may move.

    Raises:
        StackError: The stack ended meanwhile, stands still, or says why it cannot work.
    """
    before, moved, checked = "", time.monotonic(), 0.0
    while (folder := space.folder_of_report(source)) is None:
        if stack is not None:
            stack.check()
        time.sleep(POLL_S)
        if time.monotonic() < checked + CHECK_S:
            continue
        checked = time.monotonic()
        space.check(UPLOADED)
        health = get(f"{space.host_url}/api/health")
        if "error" in health:  # of settings or scenario, or of a store: nothing is read before it is gone
            raise StackError(f"the application cannot work: {health['error']}; {UPLOADED}")
        now = str(health.get("partitions"))
        before, moved = (before, moved) if now == before else (now, checked)
        if checked - moved > patience_s:
            raise StackError(
                f"nothing moved for {patience_s:.0f} s: `python -m local status` names the last error of each "
                f"function, {space.root / 'logs' / 'host.log'} tells more; {UPLOADED}"
            )
    return {**space.summary(folder), "folder": folder}


def get(url: str) -> dict[str, Any]:
    """A JSON page of the host.

    Raises:
        StackError: It does not answer, or not with such a page.
    """
    return _answer(urllib.request.Request(url))  # noqa: S310 - the host's own loopback address


def post(url: str, **query: str) -> dict[str, Any]:
    """What a route of the host answers that does something.

    Raises:
        StackError: It does not answer, or not with a JSON page.
    """
    return _answer(urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}", method="POST"))  # noqa: S310


def fire_function(host_url: str, name: str) -> str | None:
    """Run a function now and wait for it; what went wrong, None when all went well.

    Raises:
        StackError: The host does not answer.
    """
    address = f"{host_url}/admin/functions/{urllib.parse.quote(name, safe='')}?wait=true"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, b"{}", method="POST"), timeout=FIRE_S):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return error.read(LONGEST_ERROR).decode("utf-8", "replace")
    except OSError as error:
        raise StackError(f"the host does not answer at {address}: {error}") from error


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        return _own_page(error)
    except (OSError, ValueError) as error:
        raise StackError(f"the host does not answer at {request.full_url}: {error}") from error
    return found


def _own_page(error: urllib.error.HTTPError) -> dict[str, Any]:
    """What an answer other than 200 says, when it is one of the application's own."""
    try:
        found = json.load(error)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StackError(f"the host answered {error.code} {error.reason} at {error.url}; its log says why") from error
    return found
