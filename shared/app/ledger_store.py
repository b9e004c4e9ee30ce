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

    def append(self, kind: str, key: str, data: Mapping[str, Any]) -> Entry:
        """Add an entry; one of the same kind and key that is there already is returned as it is.

        Raises:
            ContractBroken: The chain is broken: nothing is added to it.
            StateConflict: Others were faster time and again.
        """
        entry = self.decide(kind, lambda _: (key, data))
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
        _check(kind)
        for _ in range(TRIES):
            entries, tail, newest = self._read()
            made = make(entries)
            if made is None:
                return None
            key, data = made
            if (known := find(entries, kind, key)) is not None:
                return known
            if added := self._add(tail, newest, kind, {key: data}, actor):
                return added[0]
        raise self._too_late()

    def extend(self, kind: str, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Add entries of one kind by their keys, all in one write; those that are there already stay as they are.

        Raises:
            ContractBroken: The chain is broken: nothing is added to it.
            StateConflict: Others were faster time and again.
        """
        _check(kind)
        for _ in range(TRIES):
            entries, tail, newest = self._read()
            known = {entry.key for entry in entries if entry.kind == kind}
            missing = {key: each for key, each in data.items() if key not in known}
            if not missing or self._add(tail, newest, kind, missing, ACTOR):
                return
        raise self._too_late()

    def verify(self) -> int:
        """Fetch and check every file again; returns the number of entries.

        Raises:
            ContractBroken: The first broken place.
        """
        self._files.clear()
        return len(self.entries())

    def _add(
        self, tail: Tail, newest: _File | None, kind: str, data: Mapping[str, Mapping[str, Any]], actor: str
    ) -> list[Entry]:
        """The entries as they were added, none when somebody else wrote first or a file had to be closed before."""
        now_ms, added, at = self._clock.now_ms(), list[Entry](), tail
        month = ledger.month_of(now_ms)
        if month > tail.file:
            self._write(tail.file, newest, [ledger.closing(self._scenario, tail, now_ms, month)])
            return []
        for key, each in data.items():
            added.append(ledger.make(self._scenario, at, now_ms, kind, key, each, actor))
            at = ledger.after(at, added[-1])
        return added if self._write(tail.file, newest, added) else []

    def _too_late(self) -> StateConflict:
        return StateConflict(f"{CONTAINER}/{self._scenario} was written by others {TRIES} times in a row")

    def _write(self, file: str, newest: _File | None, added: Sequence[Entry]) -> bool:
        """Whether entries could be added to a file that still is as it was read."""
        raw, etag = (newest.raw, newest.etag) if newest else (b"", None)
        lines = b"".join(map(ledger.line, added))
        try:
            self._blobs.replace(CONTAINER, blob_of(self._scenario, file), raw + lines, etag)
        except StateConflict:
            return False
        return True

    def _read(self) -> tuple[list[Entry], Tail, _File | None]:
        """All entries, where the ledger goes on, and the file that takes the next entry if it is there."""
        entries: list[Entry] = []
        tail, newest = Tail(), None
        for blob, info in self._blobs.listed(CONTAINER, f"{self._scenario}/"):  # tells what changed, in one request
            file = file_of(self._scenario, blob)
            ledger.expect(self._scenario, file, tail)
            newest = self._file(blob, info.etag, tail)
            entries += newest.entries
            tail = newest.tail
            newest = newest if tail.file == file else None
        return entries, tail, newest

    def _file(self, blob: str, etag: str, before: Tail) -> _File:
        known = self._files.get(blob)
        if known is not None and known.before != before:
            known = None
        if known is not None and known.etag == etag:
            return known
        found = self._blobs.read_changed(CONTAINER, blob, None)
        if found is None:
            raise ContractBroken(f"{CONTAINER}/{blob}: vanished while it was read")
        raw, etag = found
        entries, tail = ledger.read(self._scenario, raw, before)
        self._files[blob] = _File(etag, raw, before, entries, tail)
        return self._files[blob]


def _check(kind: str) -> None:
    if kind == ledger.CLOSED:
        raise ValueError(f"kind: {kind!r} is what the ledger itself closes its files with")
