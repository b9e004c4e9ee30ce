"""The composition root: what stands behind the ports, and which of them each use case works with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from shared.wiring.application import Application
from shared.wiring.ports import CONTAINERS, Ports, connect, loading

__all__ = ["CONTAINERS", "Application", "Ports", "build", "loading"]


def build(env: Mapping[str, str]) -> Application:
    """The application; touches no network and loads no model."""
    return Application(partial(connect, env))
