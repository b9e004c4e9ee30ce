"""The books of the sources: dropped files, the devices' hub, and dead letters that were fed back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from local import event_log
from local.amqp import read_message
from local.books_account import Account
from shared.app.filing import Routed
from shared.app.resubmit import Replayed
from shared.app.route_events import MINUTE_MS
from shared.core import dead_letters, progress
from shared.core.dead_letters import DeadLetter
from shared.core.events import HUB_PREFIX, REPLAY_PREFIX
from shared.core.messages import Decoder
from shared.core.scenario import Scenario
from shared.ports import BlobReader

IDENTITY = "iothub-connection-device-id"
AT_ONCE = 1000
Counts = Mapping[str, Counter[str]]


def accounts(blobs: BlobReader, scenario: Scenario, logs: Path, devices: str, by_source: Counts) -> list[Account]:
    """One account a file, a partition of the devices' hub, and a blob of dead letters that was fed back.

    Args:
        blobs: Receipts, progress and dead letters.
        scenario: Says what a message holds.
        logs: The endpoint's data folder.
        devices: Name of the devices' hub.
        by_source: What the commits say became of each source's readings.
    """
    replays = replays_of(blobs)
    found = [_file(blobs, name, by_source, replays) for name in blobs.names("receipts") if name.endswith("/route.json")]
    info = event_log.hub_info(logs, devices)
    for number in range(info.partitions if info else 0):
        account = _devices(blobs, scenario, event_log.log_path(logs, devices, number), number, by_source, replays)
        if account.logged or account.problems:
            found.append(account)
    return [*found, *(_replay(replay, by_source) for replay in replays)]


def _file(blobs: BlobReader, name: str, by_source: Counts, replays: list[Replayed]) -> Account:
    routed = msgspec.json.decode(blobs.read("receipts", name) or b"", type=Routed)
    account = Account(f"file {routed.file!r}", routed.rows_in)
    account.counts.update(by_source.get(routed.source, Counter()))
    _check(account, blobs, f"file={name.split('/')[0]}/", replays, routed.rows_accepted, sum(routed.rejected.values()))
    return account


def _devices(
    blobs: BlobReader, scenario: Scenario, log: Path, number: int, by_source: Counts, replays: list[Replayed]
) -> Account:
    """A partition of the devices' hub: its log is decoded again and held against progress, commits and dead letters."""
    at = progress.decode(blobs.read(progress.CONTAINER, progress.name_of(number)) or b"{}")
    source = f"{HUB_PREFIX}{number}.{at.epoch}"
    account = Account(f"devices' partition {number}")
    account.counts.update(by_source.get(source, Counter()))
    account.counts["expired"] = at.expired
    accepted, rejected, mended = 0, Counter[str](), 0
    decoder, refused_then = Decoder(scenario), _refused_then(blobs, f"{source}/", replays)
    for records in _groups(log):
        routed = [record for record in records if record.sequence < at.next]
        account.waiting += len(records) - len(routed)
        messages = [read_message(record.message) for record in routed]
        parsed = decoder.decode_many(
            [message.body for message in messages],
            positions=[record.sequence for record in routed],
            identities=[message.annotations.get(IDENTITY) for message in messages],
            not_after_minutes=[record.enqueued_ms // MINUTE_MS for record in routed],
        )
        better = len(refused_then.intersection(parsed.readings.position.tolist()))
        accepted, mended = accepted + len(parsed.readings) - better, mended + better
        rejected.update(rejection.reason for rejection in parsed.rejected)
    account.logged = accepted + sum(rejected.values()) + mended
    same = sum(rejected.values()) + mended == sum(at.rejected.values()) if mended else dict(rejected) == at.rejected
    if accepted != at.accepted or not same:
        account.problems.append(f"the log holds {accepted} {dict(rejected)}, progress says {at.accepted} {at.rejected}")
    if account.waiting:
        account.problems.append(f"{account.waiting} messages wait to be routed")
    _check(account, blobs, f"{source}/", replays, accepted, sum(rejected.values()) + mended)
    return account


def _refused_then(blobs: BlobReader, folder: str, replays: list[Replayed]) -> set[int]:
    """Positions of records that were refused when they came, whatever the scenario says of them by now."""
    found = {position for replay in replays if replay.blob.startswith(folder) for position in replay.positions}
    return found | {letter.position for letter in _buried(blobs, folder)}


def _buried(blobs: BlobReader, folder: str) -> list[DeadLetter]:
    """A source's dead letters, each once; a router that was killed may have written one twice."""
    found = {
        letter.position: letter
        for name in blobs.names("dead-letter", folder)
        for letter in dead_letters.decode(blobs.read("dead-letter", name) or b"")
    }
    return list(found.values())


def _check(
    account: Account, blobs: BlobReader, folder: str, replays: list[Replayed], accepted: int, rejected: int
) -> None:
    """Hold what a source accepted and rejected against the commits and the dead letters."""
    account.dead = len(_buried(blobs, folder))
    fed_back = sum(replay.records for replay in replays if replay.blob.startswith(folder))
    account.logged -= fed_back  # these arrived a second time, as a replay
    if account.dead + fed_back != rejected:
        account.problems.append(f"{rejected} records rejected, {account.dead} in the dead-letter, {fed_back} fed back")
    if account.arrived != accepted:
        account.problems.append(f"{accepted} readings accepted, {account.arrived} in commits")


def replays_of(blobs: BlobReader) -> list[Replayed]:
    """What was fed back so far."""
    return [
        msgspec.json.decode(blobs.read(progress.CONTAINER, name) or b"", type=Replayed)
        for name in blobs.names(progress.CONTAINER, REPLAY_PREFIX)
    ]


def _replay(replay: Replayed, by_source: Counts) -> Account:
    account = Account(f"replay of {replay.blob}", replay.readings)
    for source, counts in by_source.items():
        if source.startswith(f"{replay.source}."):
            account.counts.update(counts)
    if account.arrived != replay.readings:
        account.problems.append(f"{replay.readings} readings fed back, {account.arrived} in commits")
    return account


def _groups(log: Path) -> Iterator[list[event_log.Record]]:
    records = event_log.read(log)
    while group := list(islice(records, AT_ONCE)):
        yield group
