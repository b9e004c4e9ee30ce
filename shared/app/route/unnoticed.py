"""Dropped files that no trigger brought, or none could read to its end: found by listing what was dropped."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from shared.app.route.file_books import RECEIPTS, key_of, source_of
from shared.app.route.files import INCOMING, RouteFile
from shared.errors import BadEvent, ContractBroken, PipelineError
from shared.ports import BlobInfo, Blobs, Clock

log = logging.getLogger(__name__)
GRACE_MS = 3_600_000  # twice the host's limit for one try of the trigger (functionTimeout)
BUDGET_S = 600.0
TRIES = 5


@dataclass(frozen=True, slots=True)
class MissedFiles:
    """Files of the container "incoming" of which no books exist an hour after they were dropped.

    Args:
        blobs: Where they are, and where tries are counted.
        route_file: Reads them.
        clock: Says how old they are.
    """

    blobs: Blobs
    route_file: RouteFile
    clock: Clock

    def read(self, known: Collection[str]) -> None:
        """Read them, the oldest first; what ten minutes do not suffice for waits for the next call.

        A file whose reading ended `TRIES` times without a word, as when the worker died of it, is refused.

        Args:
            known: Keys of files that have books.

        Raises:
            PipelineError: The first file that could not be read for now; the others are.
        """
        began, problems = self.clock.elapsed_s(), []
        for name, info in self._found(known):
            if self.clock.elapsed_s() - began >= BUDGET_S:
                break
            log.warning("%s/%s has no books an hour after it was dropped: it is read now", INCOMING, name[:200])
            try:
                self._read(name, info)
            except PipelineError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _found(self, known: Collection[str]) -> list[tuple[str, BlobInfo]]:
        newest = self.clock.now_ms() - GRACE_MS
        old = [(name, info) for name, info in self.blobs.listed(INCOMING) if info.modified_ms <= newest]
        missed = [(name, info) for name, info in old if key_of(source_of(name, info)) not in known]
        return sorted(missed, key=lambda found: (found[1].modified_ms, found[0]))

    def _read(self, name: str, info: BlobInfo) -> None:
        counter = f"{key_of(source_of(name, info))}/tries"
        tries = self._tries(counter)
        if tries >= TRIES:
            detail = f"reading it ended {TRIES} times without a word; drop it again in smaller parts"
            self.route_file.refuse(name, info, BadEvent("unreadable", detail))
            return
        self.blobs.write(RECEIPTS, counter, b"%d" % (tries + 1))
        try:
            self.route_file(name)
        except PipelineError:
            self.blobs.write(RECEIPTS, counter, b"%d" % tries)  # it said what was wrong: that is no silent end
            raise

    def _tries(self, counter: str) -> int:
        raw = self.blobs.read(RECEIPTS, counter) or b"0"
        if not raw.isdigit():
            raise ContractBroken(f"{RECEIPTS}/{counter}: {raw[:20]!r} is no number of tries")
        return int(raw)
