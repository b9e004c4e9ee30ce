"""What a training job is asked for with, and how it stands."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from shared.errors import ConfigError

JobState = Literal["queued", "running", "completed", "failed", "canceled"]
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A training job to start.

    Args:
        name: Its identity: letters, digits, - and _, at most 255 characters.
        scenario: Name of the scenario; also the name of the experiment.
        reason: Why it is started, one word.
        dataset: Dataset version, such as `lake@12`.
        champion: Version of the deployed model, None when there is none.
        timeout_h: Hours that it may run before the place of jobs ends it.
        tags: What else is to stand beside the job.
    """

    name: str
    scenario: str
    reason: str
    dataset: str
    champion: str | None = None
    timeout_h: float = 12.0
    tags: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a run's or a folder's."""
        if not JOB_NAME.fullmatch(self.name):
            raise ConfigError(f"job name {self.name[:80]!r}: only letters, digits, - and _, at most 255 characters")
