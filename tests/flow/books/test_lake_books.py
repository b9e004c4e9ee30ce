"""The books after landed commits were removed: what is gone is counted from the lake."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.books import recount
from local.books.recount import Books
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.lake.compaction import Compaction
from shared.errors import ContractBroken
from tests.kit import CSV, TASK, message, row
from tests.kit.whole import DEVICES, READINGS, Whole

DAY_MS = 86_400_000


def lived(folder: Path) -> tuple[Whole, DeltaLake]:
    """Messages, a file, rejections, conflicts and redelivery; then everything that may go is gone."""
    whole, lake = Whole(folder / "logs"), DeltaLake(TASK, str(folder / "lake"))
    for hour in range(14):
        whole.hear(message("a", hour), message("b", hour, pm=7.0), b"no message")
    whole.hear(message("a", 13, pm=9.0), partition=1)
    whole.drop("x.csv", "\n".join([CSV, *(row("c", hour) for hour in range(5)), row("c", 2, pm="much")]))
    whole.score()
    whole.clock.ms += 900 * DAY_MS  # events of this bench come from a later year than its clock
    before = len(whole.blobs.names("commits"))
    compaction = Compaction(task=TASK, blobs=whole.blobs, lake=lake, clock=whole.clock, retain_days=1)
    assert compaction.run()["removed"] > 3
    assert 0 < len(whole.blobs.names("commits")) < before
    return whole, lake


def recounted(whole: Whole, lake: DeltaLake | None) -> Books:
    whole.books()  # writes the logs
    return recount.recount(whole.blobs, whole.files, whole.folder, READINGS, DEVICES, lake)


def test_the_books_balance_with_the_lake_and_miss_the_removed_commits_without(tmp_path: Path) -> None:
    whole, lake = lived(tmp_path)
    assert recounted(whole, lake).problems == []
    totals = recounted(whole, lake).totals()
    assert totals["arrived"] == 14 * 3 + 1 + 6
    assert totals["dead_lettered"] == 14 + 1 + 1
    assert any("are in no commit" in problem for problem in recounted(whole, None).problems)


def test_books_over_a_damaged_lake_are_refused(tmp_path: Path) -> None:
    whole, lake = lived(tmp_path)
    next((tmp_path / "lake" / "readings").rglob("*.parquet")).unlink()
    with pytest.raises(ContractBroken, match="lake readings@"):
        recounted(whole, lake)
