"""Dead letters as a person reads them: page by page, and nothing of what they hold is obeyed."""

from __future__ import annotations

import argparse
import io

import pytest
from rich.console import Console

from local.inspect.letters import PAGE, show
from shared.core.intake import dead_letters
from shared.core.intake.readings import Rejection
from shared.errors import ConfigError
from tests.kit import MemoryBlobs

HOSTILE = b"\x1b[2J[red]\xff\n" + b"y" * 5_000


def told(blobs: MemoryBlobs, page: int = 1, reason: tuple[str, ...] = (), prefix: str = "") -> tuple[int, str]:
    out = io.StringIO()
    given = argparse.Namespace(page=page, reason=list(reason), prefix=prefix)
    code = show(Console(file=out, width=200, highlight=False), blobs, given)
    return code, out.getvalue()


@pytest.fixture
def blobs() -> MemoryBlobs:
    blobs = MemoryBlobs()
    rejected = [Rejection(place, "timestamp", f"detail {place}", b"row %d" % place) for place in range(PAGE + 5)]
    letters = dead_letters.encode(dead_letters.letter("hub/0", each) for each in rejected)
    blobs.write("dead-letter", "hub/0.0/1.jsonl", letters)
    hostile = dead_letters.letter("file/[b]x@1", Rejection(7, "json", "not \x1b JSON", HOSTILE))
    blobs.write("dead-letter", "file=1/7.jsonl", dead_letters.encode([hostile]))
    return blobs


def test_pages_hold_every_letter_once(blobs: MemoryBlobs) -> None:
    pages = [told(blobs, page) for page in (1, 2, 3)]
    assert [code for code, _ in pages] == [0, 0, 1]
    text = "".join(page for _, page in pages)
    for place in range(PAGE + 5):
        assert text.count(f" detail {place} ") == 1
        assert text.count(f"'row {place}'") == 1
    assert pages[1][1].endswith("26 dead letters, page 2 of 2: 25 timestamp, 1 json\n")


def test_letters_are_picked_by_reason_and_by_the_name_of_their_blob(blobs: MemoryBlobs) -> None:
    for _, text in (told(blobs, reason=("json",)), told(blobs, prefix="file=")):
        assert text.endswith("1 dead letters, page 1 of 1: 1 json\n")
    assert told(blobs, reason=("zone",)) == (1, "0 dead letters, page 1 of 0: none\n")


def test_hostile_records_are_one_short_line_without_control_characters(blobs: MemoryBlobs) -> None:
    _, text = told(blobs, reason=("json",))
    assert "\x1b" not in text
    assert "[b]x@1" in text
    assert "[2J[red]" in text
    assert len(text) < 1_000


def test_what_cannot_be_read_is_named_and_hides_nothing_else(blobs: MemoryBlobs) -> None:
    blobs.write("dead-letter", "file=0/\x1b.jsonl", b"{nonsense\n")
    code, text = told(blobs, reason=("json",))
    assert (code, "\x1b" in text) == (0, False)
    assert "cannot be read" in text
    with pytest.raises(ConfigError, match="--page 0 is below 1"):
        told(blobs, page=0)
