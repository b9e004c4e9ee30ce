"""What the tests of routing share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.whole import Whole


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    """An application whose books balance in the end, whatever a test did."""
    found = Whole(tmp_path / "logs")
    yield found
    found.score()
    assert found.books().problems == []
