"""Dropped files that nothing else brings further, found by listing what was dropped and what was written of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from shared.app.route.file_books import RECEIPTS, FileBooks, key_of, source_of
from shared.app.route.files import INCOMING, RouteFile
from shared.core.intake.readings import shown
from shared.errors import BadEvent, ContractBroken, PipelineError
from shared.ports import BlobInfo, Blobs, Clock

log = logging.getLogger(__name__)
GRACE_MS = 3_600_000  # twice the host's limit for one try of the trigger (functionTimeout)
BUDGET_S = 600.0
TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Finishes files whose last receipt could not, sends lost end markers again, and reads what no trigger brought.

    Args:
        blobs: Where files are, and where tries to read them are counted.
        file_books: Their books.
        route_file: Reads them.
        clock: Says how old they are.
    """

    blobs: Blobs
    file_books: FileBooks
    route_file: RouteFile
    clock: Clock

    def __call__(self) -> None:
        """Bring every file further that can be.

        Raises:
            Exception: What is wrong with the first file that could not be; the others are, or are told in the log.
        """
        listing = self.file_books.listing()
        unfinished = [partial(self._finish, key) for key in listing.unfinished]
        _each([*unfinished, partial(self._read_without_books, listing.known)])

    def _finish(self, key: str) -> None:
        if not self.file_books.finish(key):
            self.route_file.end_again(key)

    def _read_without_books(self, known: Collection[str]) -> None:
        """Read files without books, the oldest first; what ten minutes do not suffice for waits for the next call."""
        _each(self._without_books(known))

    def _without_books(self, known: Collection[str]) -> Iterator[Callable[[], None]]:
        began = self.clock.elapsed_s()
        for name, info in self._found(known):
            if self.clock.elapsed_s() - began >= BUDGET_S:
                break
            log.warning("%s/%s has no books an hour after it was dropped: it is read now", INCOMING, shown(name))
            yield partial(self._read, name, info)

    def _found(self, known: Collection[str]) -> list[tuple[str, BlobInfo]]:
        newest = self.clock.now_ms() - GRACE_MS
        old = [(name, info) for name, info in self.blobs.listed(INCOMING) if info.modified_ms <= newest]
        without = [(name, info) for name, info in old if key_of(source_of(name, info)) not in known]
        return sorted(without, key=lambda found: (found[1].modified_ms, found[0]))

    def _read(self, name: str, info: BlobInfo) -> None:
        """Read a file; refused is one whose reading ended `TRIES` times without a word or for a broken contract."""
        counter = f"{key_of(source_of(name, info))}/tries"
        tries = self._tries(counter)
        if tries >= TRIES:
            detail = f"reading it ended {TRIES} times without a word; drop it again in smaller parts"
            self.route_file.refuse(name, info, BadEvent("unreadable", detail))
            return
        self.blobs.write(RECEIPTS, counter, b"%d" % (tries + 1))
        try:
            self.route_file(name)
        except ContractBroken as error:  # what it needs is broken: counted, for that may last
            if tries + 1 == TRIES:
                self.route_file.refuse(name, info, BadEvent("no_answer", f"{error}; drop it again when that is mended"))
            raise
        except PipelineError:
            self.blobs.write(RECEIPTS, counter, b"%d" % tries)  # the error says what is wrong: that is no silent end
            raise

    def _tries(self, counter: str) -> int:
        raw = self.blobs.read(RECEIPTS, counter) or b"0"
        if not raw.isdigit():
            raise ContractBroken(f"{RECEIPTS}/{counter}: {raw[:20]!r} is no number of tries")
        return int(raw)


def _each(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step, then raise the first problem; the others are told here, since nobody else hears of them."""
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:  # a bug that one file trips must not hold the others up either
            if first is None:
                first = error
            else:
                log.exception("another file cannot be brought further")
    if first is not None:
        raise first
