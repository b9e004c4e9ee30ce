"""Scenario files."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.core.scenario import Scenario, parse
from shared.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[3] / "scenarios"
ENDING = ".toml"  # of a path; a name has none


def names() -> list[str]:
    """Names of the scenarios there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scenario:
    """The scenario `scenarios/<name>.toml`, or that of a file anywhere, named by its path.

    Args:
        name: A name, or a path that ends in `.toml`.

    Raises:
        ConfigError: There is none of that name or no such file, it is not TOML, or it breaks a rule; every problem is
            listed.
    """
    if name.endswith(ENDING):
        return _read(Path(name), name[:200])
    if name not in names():
        raise ConfigError(f"SCENARIO: {name[:80]!r} is not one of {', '.join(names())}, nor a path to a {ENDING} file")
    return _read(FOLDER / f"{name}{ENDING}", f"scenarios/{name}{ENDING}")


def _read(path: Path, shown: str) -> Scenario:
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"SCENARIO: {shown}: {error.strerror or type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{shown}: {error}") from error
