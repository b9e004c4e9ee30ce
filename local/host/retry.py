"""Retry policies of functions, as the Functions host applies them."""

import random
import re
from dataclasses import dataclass
from typing import Any

from local.host.worker.protos import RpcRetryOptions

# the storage SDK's own retries: its first pause is 15 s, too long for an Azurite that restarts beside us
# and Azurite is on this machine: no proxies, which the clients look for in the environment with every request
STORAGE: dict[str, Any] = {
    "initial_backoff": 0.2,
    "increment_base": 1,
    "random_jitter_range": 0.1,
    "retry_total": 3,
    "use_env_settings": False,
}
_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)")


def span_s(text: str) -> float:
    """Seconds of a .NET time span.

    >>> span_s("00:01:30"), span_s("1.00:00:00.5")
    (90.0, 86400.5)
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time span of the form hh:mm:ss")
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a failed execution is repeated.

    Args:
        limit: Repetitions at most; -1 is endless.
        minimum_s: Delay before the first repetition, in seconds.
        maximum_s: Cap of the delay; equal to `minimum_s` for a fixed delay.
    """

    limit: int
    minimum_s: float
    maximum_s: float

    @classmethod
    def of(cls, policy: RpcRetryOptions) -> "Retry":
        """A policy as the worker tells it to the host."""
        if policy.retry_strategy == "fixed_delay":
            delay_s = policy.delay_interval.total_seconds()
            return cls(limit=policy.max_retry_count, minimum_s=delay_s, maximum_s=delay_s)
        return cls(
            limit=policy.max_retry_count,
            minimum_s=policy.minimum_interval.total_seconds(),
            maximum_s=policy.maximum_interval.total_seconds(),
        )

    def allows(self, failures: int) -> bool:
        """Whether to try again after this many failures (1 = the first execution failed)."""
        return self.limit < 0 or failures <= self.limit

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after this many failures: doubled each time, capped, jittered by a fifth when growing."""
        doubled = self.minimum_s * 2.0 ** min(failures - 1, 30)
        if self.minimum_s == self.maximum_s:
            return self.minimum_s
        return min(doubled * random.uniform(0.8, 1.2), self.maximum_s)  # noqa: S311 - jitter, not a secret


NO_RETRY = Retry(limit=0, minimum_s=0.0, maximum_s=0.0)
