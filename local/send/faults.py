"""Which faults are wished for, and how many."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How much goes wrong; shares are of readings, those of `skew` and `stuck` of devices.

    Args:
        resend: Sent again, the same body, up to 12 hours later: duplicates.
        conflict: Sent again with another value: conflicts.
        reorder: Delivered up to 6 hours late, within the lateness: applied.
        late: Delivered when the lateness is over: stored, not applied.
        garbage: Followed by a message that nobody can use, each kind in turn.
        skew: Clock 80 years ahead for 12 readings: rejected as `future`.
        stuck: Target frozen for 48 readings: applied.
        backlog_h: Hours that each tenth device is silent, then it sends them all at once, in order: applied; 0 = none.

    Raises:
        ValueError: A share is not between 0 and 1, or the first four are more than 1 together.
    """

    resend: float = 0.0
    conflict: float = 0.0
    reorder: float = 0.0
    late: float = 0.0
    garbage: float = 0.0
    skew: float = 0.0
    stuck: float = 0.0
    backlog_h: int = 0

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"{field.name} {getattr(self, field.name)} is not a share between 0 and 1")
        if self.backlog_h < 0:
            raise ValueError(f"backlog of {self.backlog_h} hours is negative")
        if self.resend + self.conflict + self.reorder + self.late > 1:
            raise ValueError("resend, conflict, reorder and late are more than 1 together")
