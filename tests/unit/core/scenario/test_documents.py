"""docs/your-data.md tells every key and every built-in layout."""

from __future__ import annotations

import re

from shared.core.intake.layouts.builtin import BUILTIN
from tests import ROOT
from tests.kit.edits import keys

DOCUMENT = (ROOT / "docs" / "your-data.md").read_text("utf-8")


def rows_below(heading: str) -> list[str]:
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)


def test_every_key_has_a_row() -> None:
    told = [row.strip("`") for row in rows_below("Every key")]
    assert sorted(told) == sorted({"layouts" if key.startswith("layouts.") else key for key in keys()})


def test_every_built_in_layout_has_a_row() -> None:
    told = [name for row in rows_below("Files") for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(told) == sorted(layout.name for layout in BUILTIN)
