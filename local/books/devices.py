"""The books of the devices' hub: its log is decoded again and held against progress, commits and dead letters.

The log of a hub that was created anew is gone. Of its epoch, what progress counted is held against the rest instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from local.books.account import GONE, Account, Dropped, created_anew, titled
from local.books.dead_letters import check, rejected_before
from local.eventhub import event_log
from local.eventhub.amqp.message import Message, read_message
from shared.app.route.messages import MINUTE_MS
from shared.app.route.replayed import Replayed
from shared.core.intake import progress
from shared.core.intake.envelopes.told import Told, told_by
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.progress import Progress
from shared.core.intake.values.dropped import ChannelValues, by_reason, joined
from shared.core.scenario import Scenario
from shared.core.stream.events import HUB_PREFIX
from shared.ports import BlobReader

IDENTITY = "iothub-connection-device-id"
AT_ONCE = 1000
_ENCODING = 7  # place among the properties of an AMQP message
Counts = Mapping[str, Counter[str]]


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What progress counted in some epochs; more than one where it was written before it told them apart."""

    first: int
    last: int
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    expired: int = 0
    dropped: Dropped | None = None  # not known of what was counted before values were


@dataclass
class _Logged:
    """What the log holds: `accepted_now` are readings by now that were refused when they came."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    accepted_now: int = 0
    waiting: int = 0
    values: dict[str, ChannelValues] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        return self.rejected.total() + self.accepted_now


def accounts(
    blobs: BlobReader, scenario: Scenario, logs: Path, hub: str, by_source: Counts, replays: Sequence[Replayed]
) -> Iterator[Account]:
    """One account for each epoch of each partition that ever brought something.

    Args:
        blobs: Progress and dead letters.
        scenario: Says what a message holds.
        logs: The endpoint's data folder.
        hub: Name of the devices' hub.
        by_source: What the commits say became of each source's readings.
        replays: What was fed back.
    """
    info = event_log.hub_info(logs, hub)
    partitions = info.partitions if info else 0
    routed = {progress.partition_of(name) for name in blobs.names(progress.CONTAINER, progress.PREFIX)}
    for number in sorted(routed | set(range(partitions))):
        log = event_log.read(event_log.log_path(logs, hub, number)) if number < partitions else iter(())
        for account in _Partition(blobs, number, by_source, replays).accounts(scenario, info, log):
            if account.logged or account.problems or account.notes:
                yield account


@dataclass(frozen=True)
class _Partition:
    blobs: BlobReader
    number: int
    by_source: Counts
    replays: Sequence[Replayed]

    def accounts(
        self, scenario: Scenario, info: event_log.HubInfo | None, log: Iterator[event_log.Record]
    ) -> Iterator[Account]:
        at = progress.decode(self.blobs.read(progress.CONTAINER, progress.name_of(self.number)) or b"{}")
        *old, now = _spans(at)
        oldest = next(log, None)
        until = at.next
        if created_anew(info, oldest, at.next, at.enqueued_ms):
            old, now, until = [*old, now], _Span(first=at.epoch + 1, last=at.epoch + 1), 0
        logged = self._logged(scenario, chain([oldest] if oldest else [], log), now.last, until)
        if now.first < now.last:
            rest, now = _split(now, logged)
            old.append(rest)
        yield from (self._old(span) for span in old)
        yield self._current(now, logged)

    def _source(self, epoch: int) -> str:
        return f"{HUB_PREFIX}{self.number}.{epoch}"

    def _account(self, span: _Span) -> Account:
        account = Account(titled(f"devices' partition {self.number}", span.first, span.last))
        for epoch in range(span.first, span.last + 1):
            account.counts.update(self.by_source.get(self._source(epoch), Counter()))
        account.counts["expired"] = span.expired
        return account

    def _old(self, span: _Span) -> Account:
        account, rejected = self._account(span), sum(span.rejected.values())
        account.logged, account.dropped = span.accepted + rejected, span.dropped or {}
        account.notes.append(
            f"{GONE}; the {span.accepted} readings accepted and {rejected} records rejected that progress counted are "
            "held against commits and dead letters; what the old hub held unrouted is not known"
        )
        folders = [f"{self._source(epoch)}/" for epoch in range(span.first, span.last + 1)]
        check(account, self.blobs, folders, self.replays, span.accepted, rejected)
        return account

    def _current(self, now: _Span, logged: _Logged) -> Account:
        account = self._account(now)
        account.waiting, account.logged = logged.waiting, logged.accepted + logged.refused
        found = dict(logged.rejected)
        same = logged.refused == sum(now.rejected.values()) if logged.accepted_now else found == now.rejected
        if logged.accepted != now.accepted or not same:
            claimed = f"progress says {now.accepted} {now.rejected}"
            account.problems.append(f"the log holds {logged.accepted} {found}, {claimed}")
        account.dropped = by_reason(logged.values)
        if logged.accepted == now.accepted and now.dropped not in (None, account.dropped):
            account.notes.append(
                f"the log holds dropped values {account.dropped}, progress counted {now.dropped}: which values are "
                "dropped follows from the scenario, which may have been another one then"
            )
        if logged.waiting:
            account.problems.append(f"{logged.waiting} messages wait to be routed")
        account.problems += [f"progress does not know of {source}" for source in self._unknown(now.last)]
        folders = [f"{self._source(now.last)}/"]
        check(account, self.blobs, folders, self.replays, logged.accepted, logged.refused)
        return account

    def _unknown(self, last: int) -> list[str]:
        """Sources in commits or the dead-letter of epochs that have not begun yet, as far as progress knows."""
        prefix = f"{HUB_PREFIX}{self.number}."
        dead = {name.rpartition("/")[0] for name in self.blobs.names("dead-letter", prefix)}
        known = {self._source(epoch) for epoch in range(last + 1)}
        return sorted({name for name in {*self.by_source, *dead} if name.startswith(prefix)} - known)

    def _logged(self, scenario: Scenario, log: Iterator[event_log.Record], epoch: int, until: int) -> _Logged:
        """Decode the log again, up to what was routed."""
        sums, decoder = _Logged(), Decoder(scenario)
        before = rejected_before(self.blobs, f"{self._source(epoch)}/", self.replays)
        while records := list(islice(log, AT_ONCE)):
            routed = [record for record in records if record.sequence < until]
            sums.waiting += len(records) - len(routed)
            messages = [read_message(record.message) for record in routed]
            parsed = decoder.decode_many(
                [message.body for message in messages],
                positions=[record.sequence for record in routed],
                identities=[message.annotations.get(IDENTITY) for message in messages],
                not_after_minutes=[record.enqueued_ms // MINUTE_MS for record in routed],
                told=[
                    _told(message).at(record.enqueued_ms, scenario)
                    for message, record in zip(messages, routed, strict=True)
                ],
            )
            accepted_now = len(before.intersection(parsed.readings.position.tolist()))
            sums.accepted += len(parsed.readings) - accepted_now
            sums.accepted_now += accepted_now
            sums.values = joined([sums.values, parsed.values(scenario.channel_names)])
            sums.rejected.update(rejection.reason for rejection in parsed.rejected)
        return sums


def _told(message: Message) -> Told:
    """What a message's properties tell, the content encoding among those of AMQP itself."""
    encoding = message.properties[_ENCODING] if len(message.properties) > _ENCODING else None
    system = message.annotations if encoding is None else {**message.annotations, "content-encoding": encoding}
    return told_by(system, message.application_properties)


def _spans(at: Progress) -> Iterator[_Span]:
    """What each epoch added to the counts, as far as progress tells epochs apart; the current one comes last."""
    before = progress.Ended(epoch=-1, messages=0, accepted=0, rejected={}, expired=0)
    for mark in progress.anew(at).ended:
        yield _Span(
            first=before.epoch + 1,
            last=mark.epoch,
            accepted=mark.accepted - before.accepted,
            rejected=_difference(mark.rejected, before.rejected),
            expired=mark.expired - before.expired,
            dropped=_dropped(mark.dropped or {}, before.dropped or {}) if at.days else None,
        )
        before = mark


def _dropped(now: Dropped, before: Dropped) -> Dropped:
    left = {name: _difference(reasons, before.get(name, {})) for name, reasons in now.items()}
    return {name: reasons for name, reasons in left.items() if reasons}


def _split(span: _Span, logged: _Logged) -> tuple[_Span, _Span]:
    """The current epoch as its log tells it, and what its count leaves for those before it."""
    rest = _Span(
        first=span.first,
        last=span.last - 1,
        accepted=span.accepted - logged.accepted,
        rejected={"any": sum(span.rejected.values()) - logged.refused},
        expired=span.expired,
    )
    found = dict(logged.rejected) if not logged.accepted_now else {"any": logged.refused}
    return rest, _Span(first=span.last, last=span.last, accepted=logged.accepted, rejected=found)


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    left = {reason: now.get(reason, 0) - before.get(reason, 0) for reason in {**before, **now}}
    return {reason: count for reason, count in left.items() if count}
