"""The books of the sources: dropped files, the devices' hub, and dead letters that were fed back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from local.books import devices as books_devices
from local.books.account import Account
from local.books.dead_letters import check, replays_of
from shared.app.route.file_books import Routed
from shared.app.route.resubmit import Replayed
from shared.core.scenario import Scenario
from shared.ports import BlobReader

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
    found = [_file(blobs, name, by_source, replays) for name in blobs.names("receipts") if name.endswith("/route.json")]
    found += books_devices.accounts(blobs, scenario, logs, devices, by_source, replays)
    return [*found, *(_replay(replay, by_source) for replay in replays)]


def _file(blobs: BlobReader, name: str, by_source: Counts, replays: Sequence[Replayed]) -> Account:
    routed = msgspec.json.decode(blobs.read("receipts", name) or b"", type=Routed)
    account = Account(f"file {routed.file!r}", routed.rows_in)
    account.counts.update(by_source.get(routed.source, Counter()))
    folder = f"file={name.split('/')[0]}/"
    check(account, blobs, [folder], replays, routed.rows_accepted, sum(routed.rejected.values()))
    return account


def _replay(replay: Replayed, by_source: Counts) -> Account:
    account = Account(f"replay of {replay.blob}", replay.readings)
    for source, counts in by_source.items():
        if source.startswith(f"{replay.source}."):
            account.counts.update(counts)
    if account.arrived != replay.readings:
        account.problems.append(f"{replay.readings} readings fed back, {account.arrived} in commits")
    return account
