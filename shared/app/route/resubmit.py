"""Dead letters go through route again after a fix; what fails again stays, with its attempt counted.

Letters of a commit stay as they are, because the commit names their blob: what was fed back is remembered beside them.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.app.route.replayed import Key, Replayed, key_of, source_of, sources_of
from shared.core.intake import dead_letters
from shared.core.intake.dead_letters import DeadLetter
from shared.core.intake.layouts.objects import is_for_tables, of_file
from shared.core.intake.messages.decoding import ELEMENT_BITS, Decoder
from shared.core.intake.progress import CONTAINER as PROGRESS
from shared.core.intake.readings import Parsed, Rejection, joined, shown
from shared.core.intake.reasons import REASONS
from shared.core.intake.tables import LongTable, WideTable
from shared.core.scenario import Scenario
from shared.core.stream.events import FILE_PREFIX, split
from shared.core.stream.packing import pack
from shared.errors import BadEvent, ContractBroken, PipelineError, TransientFailure
from shared.ports import Blobs, Clock, OpenTable, Stream
from shared.validation import decoded

log = logging.getLogger(__name__)
CONTAINER = "dead-letter"
COMMITTED = "partition="  # how names of blobs begin that a commit may name
LONGEST_PREFIX = 1024
MINUTE_MS = 60_000
FINAL = frozenset({"conflict", "truncated", "not_telemetry"})  # no fix makes these right: the other value counts ...


@dataclass(frozen=True, slots=True)
class _Try:
    """Letters that were read in the same way.

    Args:
        places: Where they stand in their blob.
        parsed: What came of them.
        per: Positions that each letter has room for: letter k's are from k * per on.
        several: Whether several letters may make one reading, which then has the position of the first.
    """

    places: list[int]
    parsed: Parsed
    per: int
    several: bool = False

    @property
    def refused(self) -> dict[int, Rejection]:
        """Why letters are refused again; one refused element of an array keeps its letter."""
        return {self._place(rejection.position): rejection for rejection in self.parsed.rejected}

    @property
    def gone(self) -> set[int]:
        """Letters of which nothing was refused and something accepted; only these may leave."""
        used = {self._place(position) for position in self.parsed.readings.position.tolist()}
        return (set(self.places) if self.several and used else used) - self.refused.keys()

    def _place(self, position: int) -> int:
        return self.places[position // self.per - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmit:
    """Feeds dead letters back.

    Args:
        scenario: Says what a reading is, perhaps more than it did.
        blobs: Where dead letters are.
        readings: The hub "readings".
        open_table: Reads rows of files under their header.
        clock: Limits timestamps where a letter does not.
    """

    scenario: Scenario
    blobs: Blobs
    readings: Stream
    open_table: OpenTable
    clock: Clock

    def __call__(self, prefix: str = "", reasons: Sequence[str] = ()) -> dict[str, int]:
        """Try letters again.

        Args:
            prefix: Only blobs whose name begins with it.
            reasons: Only letters with one of these reasons; none means all but `FINAL` ones.

        Returns:
            Records tried, accepted and kept.

        Raises:
            ContractBroken: A blob cannot be read; all others were tried.
        """
        sums: Counter[str] = Counter(tried=0, accepted=0, kept=0)
        seen: set[Key] = set()
        broken: list[str] = []
        for name in self.blobs.names(CONTAINER, prefix):
            raw = self.blobs.read(CONTAINER, name)
            try:
                sums.update({} if raw is None else self._blob(name, raw, reasons, seen))
            except ContractBroken as error:
                broken.append(f"{CONTAINER}/{name}: {error}")
        if broken:
            raise ContractBroken(f"{dict(sums)}; left alone: {'; '.join(broken[:10])}")
        return dict(sums)

    def asked(self, params: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """A person asks: `prefix` names blobs, `reason` lists reasons.

        Returns:
            Status and body: 200 with what became of the records, 400, 409 or 503 with what is wrong.
        """
        prefix = params.get("prefix", "")
        reasons = [reason for reason in params.get("reason", "").split(",") if reason]
        if len(prefix) > LONGEST_PREFIX or not prefix.isprintable():
            return 400, {"error": f"prefix: {shown(prefix)} is no name's beginning: at most 1024 printable characters"}
        if unknown := [reason for reason in reasons if reason not in REASONS]:
            return 400, {"error": f"reason: {shown(unknown[0])} is none of {', '.join(sorted(REASONS))}"}
        try:
            return 200, self(prefix, reasons)
        except TransientFailure as error:
            return 503, {"error": str(error)}
        except PipelineError as error:
            return 409, {"error": str(error)}

    def _blob(self, name: str, raw: bytes, reasons: Sequence[str], seen: set[Key]) -> dict[str, int]:
        found, fed_back = dead_letters.decode(raw), self._fed_back(name)
        # a router that was killed and cut its batch otherwise writes a letter twice
        lines = [line for line, letter in enumerate(found) if line not in fed_back and key_of(letter) not in seen]
        letters = [found[line] for line in lines]
        seen.update(map(key_of, found))
        tries = list(self._tried(letters, reasons))
        if not tries and (len(letters) == len(found) or name.startswith(COMMITTED)):
            return {}
        source = source_of(name, letters, [again.parsed.readings for again in tries])
        sent = sum(len(again.parsed.readings) for again in tries)
        if sent:  # what is sent has an account, even if it dies here and fares otherwise when it is tried again
            self._note(Replayed(blob=name, source=source, readings=sent, records=0, kept=0, begun=True))
        for number, again in enumerate(tries):
            for partition, readings in split(again.parsed.readings, self.readings.partitions()):
                bodies = list(
                    pack(f"{source}.{number}", self.scenario.channel_names, readings, tick_s=self.scenario.resolution_s)
                )
                self.readings.send(partition, bodies)
        tried = {place for again in tries for place in again.places}
        gone = {place for again in tries for place in again.gone}
        done = Replayed(
            blob=name,
            source=source,
            readings=sent,
            records=len(gone),
            kept=len(tried) - len(gone),
            positions=[letters[place].position for place in sorted(gone)],
        )
        if name.startswith(COMMITTED):
            done = msgspec.structs.replace(done, lines=[lines[place] for place in sorted(gone)])
        if sent:
            self._note(done)
        if not name.startswith(COMMITTED):
            self._rest(name, letters, tries, gone)
        return {"tried": len(tried), "accepted": done.records, "kept": done.kept}

    def _note(self, done: Replayed) -> None:
        self.blobs.write(PROGRESS, f"{done.source}.json", msgspec.json.encode(done))

    def _fed_back(self, name: str) -> set[int]:
        """Lines of a blob that stays as it is which were fed back before."""
        if not name.startswith(COMMITTED):
            return set()
        raws = {record: self.blobs.read(PROGRESS, record) for record in self.blobs.names(PROGRESS, sources_of(name))}
        records = [decoded(raw, Replayed, f"{PROGRESS}/{record}") for record, raw in raws.items() if raw is not None]
        return {line for record in records if record.blob == name for line in record.lines or ()}

    def _rest(self, name: str, letters: Sequence[DeadLetter], tries: Sequence[_Try], gone: Collection[int]) -> None:
        """Leave in a blob what was not fed back."""
        refused = {place: rejection for again in tries for place, rejection in again.refused.items()}
        tried = {place for again in tries for place in again.places}
        kept = [
            _again(letter, refused.get(place)) if place in tried else letter
            for place, letter in enumerate(letters)
            if place not in gone
        ]
        if kept:
            self.blobs.write(CONTAINER, name, dead_letters.encode(kept))
        else:
            self.blobs.delete(CONTAINER, name)

    def _tried(self, letters: Sequence[DeadLetter], reasons: Sequence[str]) -> Iterator[_Try]:
        """Letters that are read in the same way, and what came of them; positions count from 1 in each group."""
        groups: dict[tuple[str | None, ...], list[int]] = {}
        for place, found in enumerate(letters):
            if wanted(found, reasons):
                kind = "file" if found.source.startswith(FILE_PREFIX) else "hub"
                about = (found.source, str(found.not_after_minute)) if kind == "file" else (None, None)
                told = (found.header, found.zone, found.device, found.layout)
                groups.setdefault((kind, *about, *told), []).append(place)
        for (source, *_), places in groups.items():
            chosen = [letters[place] for place in places]
            if source == "hub":
                yield _Try(places, self._messages(chosen), 1 << ELEMENT_BITS)
            else:
                yield self._rows(places, chosen)

    def _messages(self, chosen: Sequence[DeadLetter]) -> Parsed:
        return Decoder(self.scenario).decode_many(
            [letter.original() for letter in chosen],
            positions=range(1, len(chosen) + 1),
            identities=[letter.identity for letter in chosen],
            not_after_minutes=[self._limit(letter) for letter in chosen],
            told=[letter.told for letter in chosen],
        )

    def _rows(self, places: list[int], chosen: Sequence[DeadLetter]) -> _Try:
        lines = [letter.original() for letter in chosen]
        channels = len(self.scenario.channels)
        limit, zone, header = self._limit(chosen[0]), chosen[0].zone, chosen[0].header
        if header is None and not is_for_tables(self.scenario, chosen[0].layout):
            positions = [place << ELEMENT_BITS for place in range(1, len(chosen) + 1)]
            device, layout = chosen[0].device, chosen[0].layout
            objects = of_file(self.scenario, _name(chosen[0].source), device=device, zone=zone, only=layout)
            decoder = Decoder(self.scenario, objects)
            parsed = decoder.decode_lines(lines, positions=positions, not_after_minute=limit, zone=zone)
            return _Try(places, parsed, 1 << ELEMENT_BITS)
        above = [] if header is None else [header.encode()]  # rows of a Parquet file are objects
        try:
            found = self.open_table(
                "rows.csv",
                io.BytesIO(b"\n".join([*above, *lines]) + b"\n"),
                self.scenario,
                zone=zone,
                not_after_minute=limit,
                device=chosen[0].device,
                layout=chosen[0].layout,
            )
            parts = list(_long(found))
        except BadEvent as error:
            refused = [Rejection(i, error.reason, error.detail, line) for i, line in enumerate(lines, 1)]
            return _Try(places, Parsed(joined([], channels).readings, refused), 1)
        return _Try(places, joined(parts, channels), found.per_row, several=found.layout is not None)

    def _limit(self, letter: DeadLetter) -> int:
        return letter.not_after_minute or self.clock.now_ms() // MINUTE_MS


def _name(source: str) -> str:
    """Name of the file that a letter stood in, without folders."""
    return source.removeprefix(FILE_PREFIX).rpartition("@")[0].rpartition("/")[2]


def _long(table: LongTable | WideTable) -> LongTable:
    if isinstance(table, WideTable):
        raise BadEvent("window", "rows of a wide file are answered with their file: drop it again")
    return table


def wanted(letter: DeadLetter, reasons: Sequence[str]) -> bool:
    """Whether a letter is to be tried again."""
    return letter.reason in reasons if reasons else letter.reason not in FINAL


def _again(letter: DeadLetter, new: Rejection | None) -> DeadLetter:
    """A letter that stays, with one attempt more."""
    reason, detail = (letter.reason, letter.detail) if new is None else (new.reason, new.detail)
    return msgspec.structs.replace(letter, reason=reason, detail=detail, attempt=letter.attempt + 1)
