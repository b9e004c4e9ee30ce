"""Jobs in memory, for tests: they end when they are told to."""

from __future__ import annotations

import threading

from shared.core.retrain.job_spec import JobSpec, JobState
from shared.errors import PipelineError


class MemoryJobs:
    """A dictionary of jobs.

    `specs` holds what was submitted by name, `submissions` counts every call, `failing` is raised by the next calls as
    long as it is set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.specs: dict[str, JobSpec] = {}
        self.states: dict[str, JobState] = {}
        self.submissions: list[str] = []
        self.cancelled: list[str] = []
        self.failing: PipelineError | None = None

    def submit(self, spec: JobSpec) -> None:
        """Start a job; nothing happens when there is already one of that name."""
        with self._lock:
            self._answer()
            self.submissions.append(spec.name)
            self.specs.setdefault(spec.name, spec)
            self.states.setdefault(spec.name, "running")

    def status(self, name: str) -> JobState | None:
        """How a job stands, None when there is none of that name."""
        with self._lock:
            self._answer()
            return self.states.get(name)

    def cancel(self, name: str) -> None:
        """Ask a job to stop; nothing happens when it is unknown or has ended."""
        with self._lock:
            self._answer()
            self.cancelled.append(name)
            if self.states.get(name) in {"queued", "running"}:
                self.states[name] = "canceled"

    def _answer(self) -> None:
        if self.failing is not None:
            raise self.failing
