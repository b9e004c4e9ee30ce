"""The decision log on blobs: read with its chain checked, extended by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from shared.core import ledger
from shared.core.ledger import CONTAINER, Entry, Tail, blob_of, file_of, find
from shared.errors import ContractBroken, StateConflict
from shared.ports import Blobs, Clock

TRIES = 64  # each failed try means that somebody else's entry is in
ACTOR = "airloop"
Make: TypeAlias = Callable[[Sequence[Entry]], "tuple[str, Mapping[str, Any]] | None"]


class _File(msgspec.Struct, frozen=True):
    """A file as it was read: what stood there, and behind what."""

    etag: str
    raw: bytes
    before: Tail
    entries: list[Entry]
    tail: Tail


class Ledger:
    """The ledger of one scenario.

    Args:
        scenario: Name of the scenario.
        blobs: Where its files stand.
        clock: Dates the entries.
    """

    def __init__(self, scenario: str, blobs: Blobs, clock: Clock) -> None:
        self._scenario = scenario
        self._blobs = blobs
        self._clock = clock
        self._files: dict[str, _File] = {}  # what is unchanged since it was checked is not fetched again

    def entries(self) -> list[Entry]:
        """All entries, oldest first.

        Raises:
            ContractBroken: A file is not as it was written; names file, line and what differs.
        """
        return self._read()[0]

    def append(self, kind: str, key: str, data: Mapping[str, Any], actor: str = ACTOR) -> Entry:
        """Add an entry; one of the same kind and key that is there already is returned as it is.

        Raises:
            ContractBroken: The chain is broken: nothing is added to it.
            StateConflict: Others were faster time and again.
        """
        entry = self.decide(kind, lambda _: (key, data), actor)
        assert entry is not None  # noqa: S101 - there is always something to write
        return entry

    def decide(self, kind: str, make: Make, actor: str = ACTOR) -> Entry | None:
        """Add the entry that follows from the entries so far.

        Args:
            kind: Kind of the entry.
            make: Key and data of the entry from all entries so far, None for no entry. It is called again when somebody
                else wrote meanwhile; the entry's position will be the number of entries it was given.
            actor: Who decides.

        Returns:
            The entry, also when one of its kind and key was there already; None when there is nothing to write.

        Raises:
            ContractBroken: The chain is broken: nothing is added to it.
            StateConflict: Others were faster time and again.
        """
        if kind == ledger.CLOSED:
            raise ValueError(f"kind: {kind!r} is what the ledger itself closes its files with")
        for _ in range(TRIES):
            entries, tail, newest = self._read()
            made = make(entries)
            if made is None:
                return None
            key, data = made
            if (known := find(entries, kind, key)) is not None:
                return known
            now_ms = self._clock.now_ms()
            month = ledger.month_of(now_ms)
            closes = month > tail.file
            entry = (
                ledger.closing(self._scenario, tail, now_ms, month)
                if closes
                else ledger.make(self._scenario, tail, now_ms, kind, key, data, actor)
            )
            if self._write(tail.file, newest, entry) and not closes:
                return entry
        raise StateConflict(f"{CONTAINER}/{self._scenario} was written by others {TRIES} times in a row")

    def verify(self) -> int:
        """Fetch and check every file again; returns the number of entries.

        Raises:
            ContractBroken: The first broken place.
        """
        self._files.clear()
        return len(self.entries())

    def _write(self, file: str, newest: _File | None, entry: Entry) -> bool:
        """Whether an entry could be added to a file that still is as it was read."""
        raw, etag = (newest.raw, newest.etag) if newest else (b"", None)
        try:
            self._blobs.replace(CONTAINER, blob_of(self._scenario, file), raw + ledger.line(entry), etag)
        except StateConflict:
            return False
        return True

    def _read(self) -> tuple[list[Entry], Tail, _File | None]:
        """All entries, where the ledger goes on, and the file that takes the next entry if it is there."""
        entries: list[Entry] = []
        tail, newest = Tail(), None
        for blob in self._blobs.names(CONTAINER, f"{self._scenario}/"):
            file = file_of(self._scenario, blob)
            ledger.expect(self._scenario, file, tail)
            newest = self._file(blob, tail)
            entries += newest.entries
            tail = newest.tail
            newest = newest if tail.file == file else None
        return entries, tail, newest

    def _file(self, blob: str, before: Tail) -> _File:
        known = self._files.get(blob)
        if known is not None and known.before != before:
            known = None
        found = self._blobs.read_changed(CONTAINER, blob, known.etag if known else None)
        if found is None:
            if known is None:
                raise ContractBroken(f"{CONTAINER}/{blob}: vanished while it was read")
            return known
        raw, etag = found
        entries, tail = ledger.read(self._scenario, raw, before)
        self._files[blob] = _File(etag, raw, before, entries, tail)
        return self._files[blob]
