"""What holds for every template, those of later pages included."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from local.demo.report import page as demo
from shared.app.reports.drift import drift_report
from shared.app.reports.file import file_report
from shared.app.reports.gate import gate_report
from shared.app.reports.page import TEMPLATES
from shared.core.gate.evidence import Model
from shared.core.gate.judge import judge
from tests.kit.data.gate_world import SCENARIO, facts
from tests.unit.app.reports.test_pages import HOSTILE, every_text, outcomes, safe
from tests.unit.app.reports.test_pages_drift import BASELINE, KINDS, replace_name
from tests.unit.app.reports.test_pages_drift import judge as check
from tests.unit.app.reports.test_pages_gate import BAD

CHECKED = check(KINDS["device"])


def gate(name: str) -> str:
    model = Model(version=name, sha256=name, trained_until=0)
    about = facts(challenger=model, champion=model, damage=name, unknown_features=(name,))
    return gate_report(judge(SCENARIO, dataclasses.replace(BAD, devices=(name, "b", "c")), about), title=name)


def loop(name: str) -> str:
    summary = {
        "rmse": 1.0, "model_version": name, "mae_by_phase": {name: 1.0}, "quarantined": [name, name], "jobs": [name],
        "promoted_version": name, "rolled_back": name, "refused": name, "books_balance": name,
    }  # fmt: skip
    phases = [demo.Phase(name, [name], 1.0)]
    return demo.demo_report(summary, outcomes([name, "b"], 3), phases=phases, title=name, unit=name[:20])


PAGES: dict[str, Callable[[str], str]] = {
    "file.html": lambda name: file_report(every_text(name), title=name, unit=name[:20]),
    "gate.html": gate,
    "drift.html": lambda name: drift_report(
        replace_name(CHECKED, name), BASELINE, KINDS["device"], title=name, unit=name[:20]
    ),
    "demo.html": loop,
}


def test_every_page_is_filled_with_hostile_text_below() -> None:
    found = chain(TEMPLATES.glob("*.html"), demo.TEMPLATES.glob("*.html"))
    assert {path.name for path in found if '{% extends "page.html" %}' in path.read_text("utf-8")} == set(PAGES)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("page", list(PAGES))
def test_hostile_text_stays_text_in_every_template(page: str, name: str) -> None:
    source = PAGES[page](name)
    assert safe(source).tags == safe(PAGES[page]("plain")).tags
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", source)
    assert len(source.encode("utf-8")) < 300_000


@pytest.mark.parametrize("path", [*TEMPLATES.iterdir(), *demo.TEMPLATES.iterdir()], ids=lambda path: path.name)
def test_no_template_trusts_a_value_or_asks_the_network(path: Path) -> None:
    trusting = r"\|\s*safe|autoescape|<script|https?:|url\(|@import|\ssrc=|\shref="
    assert not re.search(trusting, path.read_text("utf-8"))
