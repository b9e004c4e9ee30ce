"""What the host reads before it starts: local.settings.json and host.json."""

import json
import logging
from pathlib import Path
from typing import Any

from local.host.functions import HostError

log = logging.getLogger("host")


def apply_settings(path: Path, environment: dict[str, str]) -> None:
    """Put the Values of a local.settings.json into the environment; what is set there already stays, as in Core Tools.

    Raises:
        HostError: The file cannot be read or is not of that form.
    """
    try:
        values = json.loads(path.read_text("utf-8")).get("Values", {})
    except (OSError, ValueError, AttributeError) as error:
        raise HostError(f"{path} is not a settings file: {error}") from error
    for name, value in values.items():
        if not isinstance(value, str):
            raise HostError(f"{path}: the value of {name} is not a string")
        if environment.setdefault(name, value) != value:
            log.info("%s is set in the environment, which wins over %s", name, path.name)


def read_host_json(app_dir: Path) -> dict[str, Any]:
    """The app's host.json, empty when there is none.

    Raises:
        HostError: It is not JSON.
    """
    path = app_dir / "host.json"
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from error
    return found
