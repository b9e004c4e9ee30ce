"""Which rows the hourly featurizer works on, derived from the scenario's channels."""

from __future__ import annotations

from dataclasses import dataclass

from shared.core.scenario import Channel, Role, Scenario

SPANS = (6, 12, 24, 72, 120)  # hours that end with the as-of step; nested


@dataclass(frozen=True, slots=True)
class Scalar:
    """A channel with a mean and extremes: unit, limits, role, and whether it is an amount per hour, such as rain."""

    name: str
    unit: str
    low: float
    high: float
    role: Role | None
    amount: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """A circular channel as a vector: prefix of its features, and the speed (None: 1) that weighs its unit vectors."""

    name: str
    channel: str
    speed: str | None
    unit: str
    high: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows of the working table, in this order: u and v of each circular channel; scalars, amounts last; flows.

    A flow has three rows: u and v times speed, and the speed where the direction is known. Columns that a later
    featurizer adds, such as aggregates over an area, become rows here and a block of features of their own. `history`
    counts steps, `hour` those in an hour, `spans` hours.
    """

    history: int
    hour: int
    target: Scalar
    stored: tuple[str, ...]
    spans: tuple[int, ...]
    scalars: tuple[Scalar, ...]
    flows: tuple[Flow, ...]
    presence: dict[str, str]  # channel -> the row that tells whether it is missing
    rows: dict[str, int]

    @property
    def moving(self) -> tuple[Scalar, ...]:
        """The scalars that are levels, not amounts: they come first."""
        return tuple(scalar for scalar in self.scalars if not scalar.amount)

    @property
    def first(self) -> int:
        """Row of the first scalar."""
        return 2 * len(self.flows)

    @property
    def measured(self) -> int:
        """Number of rows that hold measured values: all before the first flow."""
        return self.first + len(self.scalars)

    def of_role(self, role: Role) -> Scalar | None:
        """The scalar whose channel has a role, None where no channel has it."""
        return next((scalar for scalar in self.scalars if scalar.role == role), None)

    def holds(self, hours: int) -> bool:
        """Whether the window reaches so many hours back."""
        return hours * self.hour < self.history

    def place(self, name: str, hours: int) -> int:
        """Index of a row `hours` before the as-of step when steps, oldest first, and rows are one axis."""
        return (self.history - 1 - hours * self.hour) * len(self.rows) + self.rows[name]


def plan(scenario: Scenario) -> Plan:
    """Lay out the rows for the channels that the scenario has."""
    turning = [c for c in scenario.channels if c.aggregate == "circular"]
    circular = [c.name for c in turning]
    straight = sorted((c for c in scenario.channels if c.aggregate != "circular"), key=lambda c: c.aggregate == "sum")
    scalars = tuple(Scalar(c.name, c.unit, c.minimum, c.maximum, c.role, c.aggregate == "sum") for c in straight)
    flows = tuple(_flow(channel, scalars) for channel in turning)
    names = [f"{name}_{part}" for name in circular for part in ("u", "v")]
    names += [scalar.name for scalar in scalars]
    names += [f"{flow.name}.{part}" for flow in flows for part in ("u", "v", "speed")]
    return Plan(
        history=scenario.history_steps,
        hour=scenario.cadence.hour,
        target=next(scalar for scalar in scalars if scalar.name == scenario.target),
        stored=scenario.stored,
        spans=tuple(span for span in SPANS if span <= scenario.history),
        scalars=scalars,
        flows=flows,
        presence={c.name: f"{c.name}_u" if c.name in circular else c.name for c in scenario.channels},
        rows={name: row for row, name in enumerate(names)},
    )


def _flow(channel: Channel, scalars: tuple[Scalar, ...]) -> Flow:
    """The direction of the wind is weighed by its speed where that is measured."""
    for scalar in scalars:
        if channel.role == "wind_direction" and scalar.role == "wind_speed":
            return Flow("wind", channel.name, scalar.name, scalar.unit, scalar.high)
    return Flow(channel.name, channel.name, None, "1", 1.0)
