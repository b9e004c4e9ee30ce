"""The guard of the checkout: whatever a test leaves there, or takes away, is named."""

from __future__ import annotations

from pathlib import Path

from tests.kit.checkout import changes, snapshot


def test_what_came_went_and_changed_is_named_and_caches_are_not(tmp_path: Path) -> None:
    for name in ("build/demo/report.html", "shared/same.py", "shared/other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = snapshot(tmp_path)
    assert changes(before, snapshot(tmp_path)) == []
    (tmp_path / "build/demo/report.html").unlink()
    (tmp_path / "build/demo").rmdir()
    (tmp_path / "shared/other.py").write_text("22")
    (tmp_path / ".airloop").mkdir()
    (tmp_path / "shared/__pycache__").mkdir()
    (tmp_path / "shared/__pycache__/same.pyc").write_text("")
    assert changes(before, snapshot(tmp_path)) == [
        "made .airloop/",
        "removed build/demo/",
        "removed build/demo/report.html",
        "changed shared/other.py",
    ]
