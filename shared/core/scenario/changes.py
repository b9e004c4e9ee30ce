"""What an edit of a scenario means to a store: it is taken over, needs a migration, or needs another store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.core.scenario.shape import ChannelShape, Shape

Effect = Literal["taken over", "needs a migration", "needs another store"]
SCALARS = ("target", "samples_per_hour", "history", "horizon", "lateness")
FIXED = ("name", "task", "featurizer", "cadence_s")


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs.

    Args:
        key: Its name, as in the file.
        old: Its value in the store's scenario.
        new: Its value now.
        effect: What it means.
    """

    key: str
    old: Any
    new: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} in the store, {self.new!r} in the file"


def changes(versions: Sequence[Shape], new: Shape) -> list[Change]:
    """What differs from the newest of a store's shapes, and what each difference means.

    Args:
        versions: The shapes that the store's scenario has had, oldest first.
        new: The shape that it is to have.
    """
    old = versions[-1]
    return [*_scalars(old, new), *_resolution(old, new), *_channels(versions, new), *_order(old, new)]


def _scalars(old: Shape, new: Shape) -> Iterator[Change]:
    for keys, effect in ((FIXED, "needs another store"), (SCALARS, "needs a migration")):
        for key in keys:
            if getattr(old, key) != getattr(new, key):
                yield Change(key, getattr(old, key), getattr(new, key), effect)  # type: ignore[arg-type]


def _resolution(old: Shape, new: Shape) -> Iterator[Change]:
    """Into shorter parts of the old ones times can be told apart from now on; what was told apart stays so."""
    if old.resolution_s != new.resolution_s:
        effect: Effect = "needs another store" if old.resolution_s % new.resolution_s else "taken over"
        yield Change("resolution_s", old.resolution_s, new.resolution_s, effect)


def _channels(versions: Sequence[Shape], new: Shape) -> Iterator[Change]:
    for channel in new.channels:
        before = versions[-1].channel(channel.name)
        known = next((c for shape in reversed(versions) if (c := shape.channel(channel.name))), None)
        key = f"channels.{channel.name}"
        if known is not None and known.unit != channel.unit:
            yield Change(f"{key}.unit", known.unit, channel.unit, "needs another store")
        if before is None:
            # with a role it may name or compute the features of other channels otherwise
            yield Change(key, None, "added", "taken over" if channel.role is None else "needs a migration")
            continue
        yield from _channel(key, before, channel)
    for channel in versions[-1].channels:
        if new.channel(channel.name) is None:
            yield Change(f"channels.{channel.name}", "there", None, "needs a migration")


def _channel(key: str, old: ChannelShape, new: ChannelShape) -> Iterator[Change]:
    effects: dict[str, Effect] = {
        "minimum": "taken over",
        "maximum": "taken over",
        "role": "needs a migration",
        "aggregate": "needs a migration",
    }
    for name, effect in effects.items():
        if getattr(old, name) != getattr(new, name):
            yield Change(f"{key}.{name}", getattr(old, name), getattr(new, name), effect)


def _order(old: Shape, new: Shape) -> Iterator[Change]:
    """Channels stand where they stood; new ones come after them."""
    kept = [channel.name for channel in old.channels if new.channel(channel.name)]
    now = [channel.name for channel in new.channels]
    if now[: len(kept)] != kept:
        yield Change("channels", [channel.name for channel in old.channels], now, "needs a migration")
