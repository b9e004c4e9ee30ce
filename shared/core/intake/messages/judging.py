"""Decoded records into checked readings: one sheet for all of them, times from where there are any, values in units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.core.intake.acceptance import Acceptance, Sheet, Zoning
from shared.core.intake.columns import DEVICE, FIRST_CHANNEL, TIME
from shared.core.intake.envelopes.opening import take_from_envelopes
from shared.core.intake.messages.records import Form, Kind, Records, Row, by_kind, devices_of, stamps_of
from shared.core.intake.readings import Codes, Floats, Longs, Parsed
from shared.core.intake.values.quantities import normalise, numbers, together
from shared.core.intake.values.words import understood
from shared.core.scenario import Scenario


class Judge:
    """Judges decoded records for one scenario.

    Attributes:
        converted: Channels that came in another unit, and its name.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._acceptance = Acceptance(scenario)
        self.converted: dict[str, str] = {}

    def judge(self, records: Records, zoning: Zoning) -> Parsed:
        """Accepted readings, and a rejection for every other record.

        Args:
            records: What was decoded.
            zoning: For timestamps without a zone.
        """
        rows, origins = records.rows, records.origins
        kinds = by_kind(records.kinds)
        columns = list(zip(*rows, strict=True)) or [()] * (FIRST_CHANNEL + len(self._scenario.channels))
        values, faults = self._values(columns, kinds)
        sent = [sent for _, sent, _ in origins]
        names, device = devices_of(columns[DEVICE], [each.identity for each in sent])
        stamps, limits = stamps_of(columns[TIME], kinds), np.array([each.limit for each in sent], np.int64)
        take_from_envelopes(sent, stamps, limits, live=records.live, fall_back=self._scenario.time_fallback)
        sheet = Sheet(
            position=np.array([position for position, _, _ in origins], np.int64),
            names=names,
            device=device,
            stamps=stamps,
            values=values,
            faults=faults,
            cell=lambda i, slot: sent[i].created if slot == TIME and rows[i][slot] is None else rows[i][slot],
            raw=lambda i: bytes(origins[i][2]),
            written=lambda c, found: ((rows[i][FIRST_CHANNEL + c], 1) for i in found.tolist()),
            lag=_lag(kinds, len(rows)),
            among=lambda i, reason: records.keyed[i].among(reason),
        )
        return self._acceptance.judge(sheet, zoning, limits, records.refused)

    def _values(self, columns: Sequence[Row], kinds: dict[Kind, Longs]) -> tuple[Floats, Codes | None]:
        """Values of all records, and what is wrong with them: of those that are written alike together."""
        forms: dict[object, dict[Kind, Longs]] = {(kind.form.decimal, kind.form.missing): {} for kind in kinds}
        for kind, rows in kinds.items():
            forms[kind.form.decimal, kind.form.missing][kind] = rows
        if len(forms) <= 1:
            return self._alike(columns, kinds)
        values = np.full((len(columns[TIME]), len(self._scenario.channels)), np.nan, np.float32)
        faults = np.zeros(values.shape, np.uint8)
        for same in forms.values():
            rows = np.sort(np.concatenate(list(same.values())))
            own = {kind: np.searchsorted(rows, some) for kind, some in same.items()}
            values[rows], wrong = self._alike([[column[i] for i in rows.tolist()] for column in columns], own)
            faults[rows] = 0 if wrong is None else wrong
        return values, faults if faults.any() else None

    def _alike(self, columns: Sequence[Sequence[object]], kinds: dict[Kind, Longs]) -> tuple[Floats, Codes | None]:
        values = np.full((len(columns[TIME]), len(self._scenario.channels)), np.nan, np.float32)
        faults: dict[int, Codes] = {}
        form = next((kind.form for kind in kinds), Form())
        for c, channel in enumerate(self._scenario.also_missing(form.missing).channels):
            raw, bad = numbers(columns[FIRST_CHANNEL + c], form.decimal)
            for kind, rows in kinds.items():
                values[rows, c], wrong, found = normalise(channel, raw[rows], kind.units[c])
                self.converted.update((channel.name, name) for name in found)
                if wrong is not None:
                    faults.setdefault(c, np.zeros(len(values), np.uint8))[rows] = wrong
            if bad:
                words = understood(channel, columns[FIRST_CHANNEL + c], bad)
                if (wrong := words.put(values[:, c], faults.get(c))) is not None:
                    faults[c] = wrong
        return values, together(faults, values.shape)


def _lag(kinds: dict[Kind, Longs], n: int) -> int | Longs:
    """Minutes by which each record's time is behind the beginning of what was measured, shape (n,); 0 = none is."""
    if not any(kind.form.lag for kind in kinds):
        return 0
    lag = np.zeros(n, np.int64)
    for kind, rows in kinds.items():
        lag[rows] = kind.form.lag
    return lag
