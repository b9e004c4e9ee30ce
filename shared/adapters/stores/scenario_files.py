"""Scenario files."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.core.scenario import Scenario, parse
from shared.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "scenarios"


def names() -> list[str]:
    """Names of the scenarios there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """The scenario `scenarios/<name>.toml`.

    Raises:
        ConfigError: There is none of that name, it is not TOML, or it breaks a rule; every problem is listed.
    """
    if name not in names():
        raise ConfigError(f"SCENARIO: {name[:80]!r} is not one of {', '.join(names())}")
    try:
        raw = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"scenarios/{name}.toml: {error}") from error
    return parse(raw)
