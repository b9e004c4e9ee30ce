"""A use case as its file states it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta

from shared.core.scenario.cadence import Cadence
from shared.core.scenario.channels import Category, Channel, Name, Names, Pattern, Role, Station
from shared.core.scenario.layouts import FileLayout
from shared.core.scenario.rules import (
    ColdStart,
    DriftRules,
    GateRules,
    Loss,
    QualityRules,
    RetrainRules,
    RolloutRules,
    Search,
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A checked use case; hours are the unit of history, horizon and lateness, whatever the cadence.

    `key` names the device's column in what comes in, `names.device` what else it is called; commits and lake call
    it `device_id`. `loss` is what an error costs wherever models are compared, by the gate, its floor and the rollout:
    as MAE (absolute) or RMSE (squared). At most `maximum_devices` are ever known; one that was silent for `silent_days`
    is kept packed until it speaks again. With `time_fallback` a reading without a time, in a
    message or an envelope of Azure's, has the one at which it was made, else the one at which the hub took it. Devices
    that a pattern of `trusted_gateways` fits may speak for others. Readings of a device within the same `resolution_s`
    are one: of values that differ the first counts, and the others are conflicts.
    """

    name: Name
    title: str
    task: Literal["regression"]
    key: Annotated[str, Meta(pattern=r"\S", description="the name of a column")]
    target: str
    featurizer: Literal["hourly"]
    channels: tuple[Channel, ...]
    cadence_s: Annotated[int, Meta(ge=60, le=3600)] = 3600
    resolution_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    samples_per_hour: Annotated[int, Meta(ge=1, le=3600)] = 1
    history: Annotated[int, Meta(ge=2, le=2000)] = 121
    horizon: Annotated[int, Meta(ge=1, le=168)] = 24
    lateness: int = 24
    loss: Loss = "absolute"
    interval: Annotated[float, Meta(ge=0.5, le=0.99)] = 0.9
    zone: str = "UTC"
    time_fallback: bool = True
    trusted_gateways: tuple[Pattern, ...] = ()
    unlisted_stations: Literal["accept", "reject"] = "accept"
    maximum_devices: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    silent_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    names: Names = field(default_factory=Names)
    categories: tuple[Category, ...] = ()
    stations: dict[str, Station] = field(default_factory=dict)
    cold_start: ColdStart = field(default_factory=ColdStart)
    layouts: tuple[FileLayout, ...] = ()
    quality: QualityRules = field(default_factory=QualityRules)
    search: Search = field(default_factory=Search)
    gate: GateRules = field(default_factory=GateRules)
    drift: DriftRules = field(default_factory=DriftRules)
    retrain: RetrainRules = field(default_factory=RetrainRules)
    rollout: RolloutRules = field(default_factory=RolloutRules)

    @cached_property
    def cadence(self) -> Cadence:
        """The steps of its windows, and the ticks of its readings."""
        return Cadence(self.cadence_s, self.resolution_s)

    @cached_property
    def history_steps(self) -> int:
        """Steps in a window."""
        return self.history * self.cadence.hour

    @cached_property
    def horizon_steps(self) -> int:
        """Steps from an as-of step to the one that is forecast."""
        return self.horizon * self.cadence.hour

    @cached_property
    def lateness_steps(self) -> int:
        """Steps behind a device's newest one in which a late reading still counts."""
        return self.lateness * self.cadence.hour

    @cached_property
    def samples_per_step(self) -> int:
        """Samples that make a step complete: of those that make an hour the part that a step has, at least one."""
        return -(-self.samples_per_hour // self.cadence.hour)

    @property
    def cold_hours(self) -> int:
        """Hours of its window in which a device must have spoken, or it has too little history."""
        return min(self.cold_start.hours, self.history)

    @property
    def slots(self) -> int:
        """Steps a device's ring holds: the window of the oldest one that a late reading may still change."""
        return self.history_steps + self.lateness_steps

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """Names of the ring's columns: a channel each, two (`_u` east, `_v` north) for a circular one."""
        names: list[str] = []
        for channel in self.channels:
            names += [f"{channel.name}_u", f"{channel.name}_v"] if channel.aggregate == "circular" else [channel.name]
        return tuple(names)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in the order of every reading's values."""
        return tuple(channel.name for channel in self.channels)

    @property
    def device_names(self) -> tuple[str, ...]:
        """Names that the device's column may have: the key first, then its aliases."""
        return tuple(dict.fromkeys((self.key, *self.names.device)))

    def also_missing(self, values: tuple[float | str, ...]) -> Scenario:
        """The scenario as a source reads it that writes further values where there is none, in any channel."""
        channels = (replace(channel, missing_values=(*channel.missing_values, *values)) for channel in self.channels)
        return replace(self, channels=tuple(channels)) if values else self

    def of_role(self, role: Role) -> Channel | None:
        """The channel that has the role, if there is one."""
        return next((channel for channel in self.channels if channel.role == role), None)

    @property
    def target_channel(self) -> Channel:
        """The channel that is forecast."""
        return self.channels[self.channel_names.index(self.target)]

    @property
    def target_column(self) -> int:
        """Index of the target among the ring's columns."""
        return self.stored.index(self.target)
