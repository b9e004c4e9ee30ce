"""When to try again what was refused for good: ever later, as only a person can mend it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from shared.errors import PipelineError, TransientFailure
from shared.ports import Clock

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 10 * 60.0, 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits after refusals, kept in memory: a restart, which every changed setting brings, tries at once.

    Args:
        clock: Its elapsed time counts.
    """

    clock: Clock
    _waits: dict[str, tuple[float, float]] = field(default_factory=dict)  # until when, and how long it was

    def due(self, what: str) -> bool:
        """Whether to try now."""
        return what not in self._waits or self.clock.elapsed_s() >= self._waits[what][0]

    def failed(self, what: str, error: PipelineError) -> None:
        """Note a failure: what may pass by itself is tried again at once, a refusal after twice the wait before."""
        if isinstance(error, TransientFailure):
            return
        wait_s = min(2 * self._waits[what][1], LONGEST_S) if what in self._waits else FIRST_S
        self._waits[what] = self.clock.elapsed_s() + wait_s, wait_s
        log.warning("%s is tried again in %.0f min, or after a restart: %s", what, wait_s / 60, error)

    def done(self, what: str) -> None:
        """Forget it."""
        self._waits.pop(what, None)
