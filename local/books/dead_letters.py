"""What the dead-letter still holds of a source, and what was fed back from there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from local.books.account import Account
from shared.app.route.replayed import Replayed
from shared.core.intake import dead_letters, progress
from shared.core.stream.events import REPLAY_PREFIX
from shared.ports import BlobReader


def replays_of(blobs: BlobReader) -> list[Replayed]:
    """What was fed back so far."""
    return [
        msgspec.json.decode(blobs.read(progress.CONTAINER, name) or b"", type=Replayed)
        for name in blobs.names(progress.CONTAINER, REPLAY_PREFIX)
    ]


def rejected_before(blobs: BlobReader, folder: str, replays: Sequence[Replayed]) -> set[int]:
    """Positions of records that were refused when they came, whatever the scenario says of them by now."""
    return _replayed(folder, replays) | _dead_lettered(blobs, folder)


def check(
    account: Account,
    blobs: BlobReader,
    folders: Sequence[str],
    replays: Sequence[Replayed],
    accepted: int,
    rejected: int,
) -> None:
    """Hold what a source accepted and rejected against the commits and the dead letters.

    Args:
        account: The source's; gets what stands in the dead-letter, and its problems.
        blobs: Where dead letters are.
        folders: Prefixes of the names of its dead letters, one for each epoch.
        replays: What was fed back.
        accepted: Readings that it accepted.
        rejected: Records that it rejected.
    """
    shares = [_shares(blobs, folder, replays) for folder in folders]
    account.dead, fed_back = sum(dead for dead, _ in shares), sum(fed for _, fed in shares)
    account.logged -= fed_back  # these arrived a second time, as a replay
    if account.dead + fed_back != rejected:
        account.problems.append(f"{rejected} records rejected, {account.dead} in the dead-letter, {fed_back} fed back")
    if account.arrived != accepted:
        account.problems.append(f"{accepted} readings accepted, {account.arrived} in commits")


def _shares(blobs: BlobReader, folder: str, replays: Sequence[Replayed]) -> tuple[int, int]:
    """Records in the dead-letter and records fed back, each once however many blobs hold it.

    A router that was killed, or a slower rival, may have written a letter twice; a crash while letters are fed back
    leaves the second one, which is fed back again.
    """
    fed = _replayed(folder, replays)
    unnamed = sum(found.records for found in replays if found.blob.startswith(folder) and not found.positions)
    return len(_dead_lettered(blobs, folder) - fed), len(fed) + unnamed


def _replayed(folder: str, replays: Sequence[Replayed]) -> set[int]:
    return {position for found in replays if found.blob.startswith(folder) for position in found.positions}


def _dead_lettered(blobs: BlobReader, folder: str) -> set[int]:
    names = blobs.names("dead-letter", folder)
    return {letter.position for name in names for letter in dead_letters.decode(blobs.read("dead-letter", name) or b"")}
