"""Values that were dropped from readings: how many of a channel's, for which reasons, and which ones most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

MOST_TEXTS = 32  # distinct values that are counted at once
NAMED = 3


class ChannelValues(msgspec.Struct, frozen=True):
    """What became of one channel's values in a stretch of a source.

    Args:
        given: Values that were there, dropped or not.
        reasons: How many were dropped, by reason.
        texts: Dropped values as a message shows them, and how often each was seen; of more than `MOST_TEXTS` the most
            frequent, with the count of one that was forgotten added to that of the one in its place.
    """

    given: int = 0
    reasons: dict[str, int] = {}
    texts: dict[str, int] = {}

    @property
    def dropped(self) -> int:
        """How many were dropped."""
        return sum(self.reasons.values())

    @property
    def frequent(self) -> dict[str, int]:
        """The three that were dropped most often."""
        return dict(Counter(self.texts).most_common(NAMED))


Values: TypeAlias = Mapping[str, ChannelValues]
NOTHING = ChannelValues()


def joined(parts: Iterable[Values]) -> dict[str, ChannelValues]:
    """Stretches of one source as one."""
    sums: dict[str, ChannelValues] = {}
    for part in parts:
        for name, of in part.items():
            sums[name] = _both(sums[name], of) if name in sums else of
    return sums


def _both(one: ChannelValues, other: ChannelValues) -> ChannelValues:
    given = one.given + other.given
    if not other.reasons:
        return msgspec.structs.replace(one, given=given)
    texts = dict(one.texts)
    for text, count in other.texts.items():
        if text not in texts and len(texts) >= MOST_TEXTS:  # "space saving" of Metwally, Agrawal and El Abbadi, 2005
            count += texts.pop(min(texts, key=texts.__getitem__))
        texts[text] = texts.get(text, 0) + count
    return ChannelValues(given, sums_of([one.reasons, other.reasons]), texts)


def sums_of(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts by name, added up."""
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    return dict(sums)


def by_reason(values: Values) -> dict[str, dict[str, int]]:
    """Dropped values by channel and reason; channels without any are left out."""
    return {name: dict(of.reasons) for name, of in values.items() if of.reasons}


def warnings(values: Values, share: float) -> list[str]:
    """A line for each channel of which more than a share was dropped."""
    return [_warning(name, of) for name, of in values.items() if of.dropped > share * of.given]


def _warning(name: str, of: ChannelValues) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in of.reasons.items())
    most = ", ".join(f"{text} ({count:,})" for text, count in of.frequent.items())
    share = 100 * of.dropped / of.given
    return f"{name}: {of.dropped:,} of {of.given:,} values ({share:.1f} %) were dropped, {reasons}; most often {most}"
