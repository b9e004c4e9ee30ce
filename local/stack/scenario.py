"""Which scenario the commands are about: the running stack's, or the one that SCENARIO names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.stack.programs import PROJECT
from shared.adapters.stores import scenario_files
from shared.core.scenario import Scenario
from shared.errors import ConfigError

NAME = "SCENARIO"
TEMPLATE = PROJECT / "local.settings.json.template"


def chosen(own: Path = PROJECT / "local.settings.json") -> Scenario:
    """The scenario that SCENARIO names in the environment, else in the user's settings file, else in its template.

    Args:
        own: The user's settings file, which need not exist.

    Raises:
        ConfigError: There is no scenario of that name (lists those there are), or a settings file is damaged.
    """
    return scenario_files.load(named(own))


def named(own: Path = PROJECT / "local.settings.json") -> str:
    """Its name, or the whole path of its file; arguments and errors as for `chosen`."""
    return _wanted() or _whole(_written(own)) or _written(TEMPLATE)


def of_stack(running: Mapping[str, Any]) -> Scenario:
    """The scenario of a running stack, whatever the settings files say by now.

    Args:
        running: Its description, as in stack.json.

    Raises:
        ConfigError: SCENARIO in the environment names another one.
    """
    name, wanted = running.get("scenario"), _wanted()
    if name is None:
        return chosen()
    if wanted not in ("", name):
        raise ConfigError(f"{NAME}: the stack runs {name}, not {wanted[:80]!r}; stop it first, or leave {NAME} out")
    return scenario_files.load(name)


def _wanted() -> str:
    return _whole(os.environ.get(NAME, "").strip())


def _whole(value: str) -> str:
    """A name as it is, a path from the root on: the programs of a stack run in other folders."""
    return str(Path(value).resolve()) if value.endswith(scenario_files.ENDING) else value


def _written(path: Path) -> str:
    """What a settings file says, nothing where there is none."""
    try:
        return str(json.loads(path.read_text("utf-8"))["Values"].get(NAME, "")).strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} is not a settings file: {error}") from error
