"""Decoded records as columns of one batch: devices, times, and rows of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from shared.core.intake.json_bodies import Body
from shared.core.intake.quantities import missing, numbers
from shared.core.intake.readings import Ints, Longs, Rejection, shown
from shared.core.intake.time_texts import from_texts
from shared.core.intake.timestamps import BAD as BAD_TIME
from shared.core.intake.timestamps import UNZONED, Stamps, from_epoch
from shared.core.intake.zones import zone
from shared.core.scenario import Unit
from shared.errors import BadEvent

_LONGEST_INTEGER = 400
Row: TypeAlias = tuple[object, ...]
Kind: TypeAlias = tuple[tuple[Unit | None, ...], str | None]


@dataclass(slots=True)
class Records:
    """What was decoded: rows of (device, time, channels ...), their kinds, and (position, identity, limit, body)."""

    rows: list[Row] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    origins: list[tuple[int, str | None, int, Body]] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)

    def refuse(self, position: int, reason: str, detail: str, body: Body) -> None:
        """Keep a record that is not accepted."""
        self.refused.append(Rejection(position, reason, detail, bytes(body)))


def by_kind(kinds: list[Kind]) -> dict[Kind, Longs]:
    """Rows of each kind."""
    known = {id(kind): kind for kind in kinds}  # few objects stand for many records, and a kind is slow to hash
    rows: dict[Kind, list[int]] = {kind: [] for kind in known.values()}
    if len(rows) == 1:
        return {kinds[0]: np.arange(len(kinds))}
    places = {place: rows[kind] for place, kind in known.items()}
    for i, kind in enumerate(kinds):
        places[id(kind)].append(i)
    return {kind: np.array(indices, np.int64) for kind, indices in rows.items()}


def check_identity(claimed: object, identity: str) -> None:
    """Check that a body names the device that the hub authenticated, or none.

    Raises:
        BadEvent: `identity_mismatch`.
    """
    if claimed is None or (isinstance(claimed, str) and (missing(claimed) or claimed.strip() == identity)):
        return
    if not (type(claimed) is int and claimed.bit_length() < _LONGEST_INTEGER and str(claimed) == identity):
        raise BadEvent("identity_mismatch", f"sent by {shown(identity)}, the body says {shown(claimed)}")


def devices_of(cells: Sequence[object], identities: Sequence[str | None]) -> tuple[list[str], Ints]:
    """Distinct ids and the index of each record's own; -1 where the id is absent or no text."""
    places: dict[str, int] = {}
    device = np.full(len(cells), -1, np.int32)
    for i, (cell, identity) in enumerate(zip(cells, identities, strict=True)):
        name = cell if identity is None else identity
        if type(name) is int and name.bit_length() < _LONGEST_INTEGER:
            name = str(name)
        if isinstance(name, str):
            device[i] = places.setdefault(name, len(places))
    return list(places), device


def stamps_of(cells: Sequence[object], kinds: dict[Kind, Longs]) -> Stamps:
    """Timestamps in any form, with the zones that their keys declare."""
    stamps = _read_times(cells)
    for (_, declared), rows in kinds.items():
        if declared is not None:
            bare = rows[stamps.offset[rows] == UNZONED]
            stamps.offset[bare] = zone(declared).offsets(stamps.local[bare])
    return stamps


def _read_times(cells: Sequence[object]) -> Stamps:
    if set(map(type, cells)) == {str}:
        return from_texts(cells)  # type: ignore[arg-type]
    stamps = Stamps.blank(len(cells))
    texts = [i for i, cell in enumerate(cells) if isinstance(cell, str)]
    stamps.put(np.array(texts, np.int64), from_texts([str(cells[i]) for i in texts]))
    others = np.array([i for i, cell in enumerate(cells) if not isinstance(cell, str)], np.int64)
    epochs, bad = numbers([cells[i] for i in others.tolist()])
    stamps.put(others, from_epoch(epochs))
    stamps.fault[others[bad]] = BAD_TIME
    return stamps
