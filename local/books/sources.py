"""The books of the sources: dropped files, the devices' hub, and dead letters that were fed back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from local.books import devices as books_devices
from local.books.account import Account
from local.books.dead_letters import check, rejected_before, replays_of
from shared.app.route.file_books import BEGUN, RECEIPTS, ROUTE, Routed
from shared.app.route.file_letters import folder_of_letters
from shared.app.route.replayed import Replayed
from shared.core.scenario import Scenario
from shared.ports import BlobReader

UNREAD = "it is not read to its end yet"
Counts = Mapping[str, Counter[str]]


def accounts(blobs: BlobReader, scenario: Scenario, logs: Path, devices: str, by_source: Counts) -> list[Account]:
    """One account a file, an epoch of a partition of the devices' hub, and a blob of dead letters that was fed back.

    Args:
        blobs: Receipts, progress and dead letters.
        scenario: Says what a message holds.
        logs: The endpoint's data folder.
        devices: Name of the devices' hub.
        by_source: What the commits say became of each source's readings.
    """
    replays = replays_of(blobs)
    found = list(_files(blobs, by_source, replays))
    found += books_devices.accounts(blobs, scenario, logs, devices, by_source, replays)
    return [*found, *(_replay(replay, by_source) for replay in replays)]


def _files(blobs: BlobReader, by_source: Counts, replays: Sequence[Replayed]) -> Iterator[Account]:
    """Files of which something was sent, read to their end or not."""
    names = blobs.names(RECEIPTS)
    read = {key for key, _, name in (name.partition("/") for name in names) if name == ROUTE}
    for key, _, name in (name.partition("/") for name in names):
        if name == ROUTE or (name == BEGUN and key not in read):
            routed = msgspec.json.decode(blobs.read(RECEIPTS, f"{key}/{name}") or b"", type=Routed)
            account = _file(blobs, key, routed, by_source, replays)
            if name == BEGUN:
                account.problems = [UNREAD]
            yield account


def _file(blobs: BlobReader, key: str, routed: Routed, by_source: Counts, replays: Sequence[Replayed]) -> Account:
    account = Account(f"file {routed.file!r}", routed.rows_in, dropped=routed.dropped or {})
    account.counts.update(by_source.get(routed.source, Counter()))
    accepted, rejected = routed.rows_accepted, sum(routed.rejected.values())
    if routed.abandoned:
        rejected = len(rejected_before(blobs, folder_of_letters(key), replays))  # a slow reader may have gone on
        accepted, account.logged = account.arrived, account.arrived + rejected
        account.notes.append(
            f"it was replaced or deleted when only a part of it had been read: the {accepted} readings in commits and "
            f"{rejected} records in the dead-letter are taken for that part"
        )
    if routed.letters_left_out:
        rejected, account.logged = rejected - routed.letters_left_out, account.logged - routed.letters_left_out
        account.notes.append(
            f"{routed.letters_left_out} of its rejected rows have no dead letter, being more than a file may leave"
        )
    check(account, blobs, [folder_of_letters(key)], replays, accepted, rejected)
    return account


def _replay(replay: Replayed, by_source: Counts) -> Account:
    account = Account(f"replay of {replay.blob}", replay.readings)
    for source, counts in by_source.items():
        if source.startswith(f"{replay.source}."):
            account.counts.update(counts)
    if replay.begun:
        account.logged = account.arrived
        account.notes.append(f"it died on its way: {account.arrived} of {replay.readings} readings were sent")
    elif account.arrived != replay.readings:
        account.problems.append(f"{replay.readings} readings fed back, {account.arrived} in commits")
    return account
