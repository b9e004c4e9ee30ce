"""The part of a scenario that gives stored numbers their meaning, as stores keep it beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from shared.core.scenario.cadence import MINUTE_S
from shared.core.scenario.channels import Aggregate, Channel, Role
from shared.core.scenario.scenario import Scenario
from shared.errors import ContractBroken
from shared.validation import decoded

CONTAINER, NAME = "models", "scenario.json"
FORMAT = 1


class ChannelShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel's stored numbers mean."""

    name: str
    unit: str
    minimum: float
    maximum: float
    role: Role | None
    aggregate: Aggregate


class Shape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the numbers in commits, states and models of a scenario mean; its other keys may change freely."""

    name: str
    task: str
    featurizer: str
    target: str
    cadence_s: int
    samples_per_hour: int
    history: int
    horizon: int
    lateness: int
    resolution_s: int = MINUTE_S
    channels: tuple[ChannelShape, ...]

    def channel(self, name: str) -> ChannelShape | None:
        """A channel by its name."""
        return next((channel for channel in self.channels if channel.name == name), None)


class _Document(msgspec.Struct, frozen=True):
    format: int
    versions: list[Shape]


def shape_of(scenario: Scenario) -> Shape:
    """The shape of a scenario."""
    channels = tuple(
        ChannelShape(
            name=c.name,
            unit=c.unit,
            minimum=float(c.minimum),
            maximum=float(c.maximum),
            role=c.role,
            aggregate=c.aggregate,
        )
        for c in scenario.channels
    )
    own = {name: getattr(scenario, name) for name in Shape.__struct_fields__ if name != "channels"}
    return Shape(**own, channels=channels)


def as_was(scenario: Scenario, shape: Shape) -> Scenario:
    """The scenario with the shape it had; what does not belong to a shape is as it is now."""
    channels = tuple(Channel(**msgspec.structs.asdict(channel)) for channel in shape.channels)
    own = {name: getattr(shape, name) for name in Shape.__struct_fields__}
    return replace(scenario, **{**own, "channels": channels})


def encode(versions: Sequence[Shape]) -> bytes:
    """The shapes that a store's scenario has had, oldest first."""
    return msgspec.json.format(msgspec.json.encode(_Document(FORMAT, list(versions))), indent=2)


def decode(raw: bytes) -> list[Shape]:
    """Read them back.

    Raises:
        ContractBroken: Not such a document, or of another format.
    """
    found = decoded(raw, _Document, f"{CONTAINER}/{NAME}")
    if found.format != FORMAT or not found.versions:
        raise ContractBroken(
            f"{CONTAINER}/{NAME}: format {found.format} with {len(found.versions)} versions is not {FORMAT}"
        )
    return found.versions


def meaning(scenario: Scenario) -> dict[str, str]:
    """What a model rests on, by key: under another value of one of these its answers would mean something else."""
    keys = ("task", "featurizer", "target", "cadence_s", "samples_per_hour", "history", "horizon")
    channels = {f"channels.{c.name}": ", ".join((c.unit, c.aggregate, c.role or "no role")) for c in scenario.channels}
    return {**{key: str(getattr(scenario, key)) for key in keys}, **channels}
