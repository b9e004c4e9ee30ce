"""The training jobs of a stack, ended with it."""

import contextlib
import time
from pathlib import Path

from shared.adapters.jobs.folder import SUPERVISOR, JobFolder
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.processes import SYSTEM
from shared.adapters.stores.clock import WallClock


def stop_jobs(root: Path, patience_s: float = 25.0) -> None:
    """End the training jobs of a stack and wait until they have: without its stores they could only fail later."""
    folder = root / "jobs"
    found = [JobFolder(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    running = [job for job in found if job.is_held(SUPERVISOR)]
    for job in running:
        LocalJobs(folder, "", WallClock()).cancel(job.path.name)
    deadline = time.monotonic() + patience_s
    while any(job.is_held(SUPERVISOR) for job in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    for job in running:
        if job.is_held(SUPERVISOR):
            with contextlib.suppress(OSError, ValueError):
                SYSTEM.ask_to_end(int((job.path / SUPERVISOR).read_text("utf-8")))
