import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import escape

from local.demo.report.outcomes import Outcomes, rmse_by
from local.demo.report.page import Phase, demo_report
from shared.app.reports.charts.axis import Scale, plain, scale, thin, time_ticks
from shared.app.reports.charts.lines import density_chart, line_chart
from shared.app.reports.charts.parts import HEIGHT, ROWS, WIDTH, Band, Chart, Series
from shared.app.reports.charts.rows import bar_chart, dot_chart, split_bar
from shared.app.reports.file import file_report
from shared.app.reports.page import _UNSAFE, TEMPLATES, environment
from shared.core.intake.readings import Doubles, Longs
from shared.core.intake.reasons import REASONS

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></table>&amp;<!--",
    "]]>&lt;b&gt;",
    "محطة الهواء",
    "\u202egnp.exe\u2066",
    "\U0001f680\U0001f4a9/../..",
    "\x00\x1b[31m\ud800",
    "x" * 5000,
]
VOID = {"meta", "br", "hr"}
STYLE = (TEMPLATES / "style.css").read_text("utf-8")
STYLE = (TEMPLATES / "style.css").read_text("utf-8")
FULL: dict[str, object] = {
    "status": "done", "reason": None, "detail": None, "file": "spring.csv.gz", "etag": "0x8D", "rows_in": 1000,
    "rows_accepted": 990, "rows_rejected": 10, "rejected": {"future": 7, "bad_time": 3}, "applied": 950,
    "stored_late": 20, "duplicates": 20, "conflicts": 0, "redelivered": 0, "forecasts": 900, "matured": 800,
    "mae": 11.0, "rmse": 15.0, "mae_persistence": 14.0, "rmse_persistence": 20.0, "model_version": "v1",
    "devices": ["a", "b"], "new_devices": ["b"], "first": "2024-01-01T00:00:00Z", "last": "2024-02-01T00:00:00Z",
    "ignored": ["lat"], "converted": {"atmos_press": "kPa"}, "seconds": 2.0,
    "daily": [
        {"day": f"2024-01-{d:02d}", "rows": 24, "forecasts": 20, "mean_forecast": 30.0 + d, "mean_truth": 31.0,
         "mae": 5.0, "mae_persistence": 7.0} for d in range(1, 29)
    ],
}  # fmt: skip


class Outline(HTMLParser):
    """Elements in order with their attributes, and the text; fails on tags that do not match."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, tuple(key for key, _ in attrs)))
        self.values += [(name, key, value or "") for key, value in attrs]
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def fill(template: str, **context: object) -> str:
    """What a line of a template makes of values."""
    return environment(TEMPLATES).from_string(template).render(context)


def draw(chart: Chart) -> str:
    return fill('{% from "charts.html" import chart %}{{ chart(it) }}', it=chart)


def text(value: str) -> str:
    """A text as a page shows it."""
    return _UNSAFE.sub("\ufffd", str(escape(value)))


def every_text(name: str) -> dict[str, object]:
    """A summary in which everything that may come from outside is `name`."""
    return {
        **FULL, "file": name, "etag": name, "detail": name, "rejected": {name: 7, "future": 1}, "model_version": name,
        "devices": [name, name], "new_devices": [name], "ignored": [name], "converted": {name: name}, "first": name,
        "last": name, "status": "incomplete", "reason": name,
        "daily": [{"day": name, "rows": name, "mae": name}, {"day": "2024-01-02", "mean_truth": 3.0}],
    }  # fmt: skip


PLAIN = Outline(file_report(every_text("plain")))


def hours(count: int, first: int = 473352) -> Longs:
    return np.arange(first, first + count, dtype=np.int64)


def line(values: list[float] | Doubles) -> Series:
    return Series("made", np.asarray(values, dtype=np.float64))


def outcomes(devices: list[str], days: int, seed: int = 0) -> Outcomes:
    draw = np.random.default_rng(seed)
    size = len(devices) * days * 24
    truth = draw.gamma(2.0, 15.0, size).astype(np.float32)
    forecast = (0.7 * truth + 8 + draw.normal(0, 5, size)).astype(np.float32)
    return Outcomes(
        devices=devices,
        device=np.repeat(np.arange(len(devices), dtype=np.int32), days * 24),
        hour=np.tile(hours(days * 24), len(devices)),
        forecast=forecast,
        lower=forecast - 12,
        upper=forecast + 12,
        truth=truth,
        persistence=np.where(draw.random(size) < 0.1, np.nan, truth + draw.normal(0, 15, size)).astype(np.float32),
        damped=(truth + draw.normal(0, 12, size)).astype(np.float32),
    )


def safe(source: str) -> Outline:
    """The outline of a page, after checking that nothing in it runs or comes from elsewhere."""
    outline = Outline(source)
    assert {name for name, _ in outline.tags} <= {
        "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "span", "svg",
        "path", "rect", "g", "h1", "h2", "p", "dl", "dt", "dd", "figure", "figcaption", "strong", "b", "i", "small",
        "ul", "ol", "li", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "bdi", "code",
    }  # fmt: skip
    keys = {key for _, attributes in outline.tags for key in attributes}
    assert not {key for key in keys if key.startswith("on")}
    assert not keys & {"src", "href", "xlink:href", "action", "srcdoc", "background"}
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    return outline


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text_in_every_place(name: str) -> None:
    source = file_report(every_text(name))
    outline = safe(source)
    assert outline.tags == safe(file_report(every_text("plain"))).tags
    source.encode("utf-8")
    shown = text(name)[:20]
    assert shown in source


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60).filter(lambda name: name not in REASONS))
@example("Z")
def test_no_text_whatever_changes_the_structure_of_a_page(name: str) -> None:
    assert Outline(file_report(every_text(name))).tags == PLAIN.tags


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_device_stays_text_in_the_demo_report(name: str) -> None:
    phases = [Phase(name, [name], 1.0)]
    source = demo_report({"rmse": 1.0, "model_version": name}, outcomes([name, "b"], 3), phases=phases, title=name)
    plain_one = demo_report({"rmse": 1.0, "model_version": "a"}, outcomes(["a", "b"], 3), phases=phases, title="a")
    assert safe(source).tags == safe(plain_one).tags
    source.encode("utf-8")


def test_marks_that_turn_the_reading_direction_are_replaced_and_names_isolated() -> None:
    source = file_report({**FULL, "file": "a\u202eb\u2069c"})
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", source)
    assert '<bdi class="id">a\ufffdb\ufffdc</bdi>' in source


def test_markup_is_escaped_unless_it_was_built() -> None:
    shown = fill('{% macro made() %}<i></i>{% endmacro %}<p title="{{ it }}">{{ it }}{{ made() }}</p>', it='"<')
    assert shown == '<p title="&#34;&lt;">&#34;&lt;<i></i></p>'


def test_a_value_that_a_template_expects_is_never_left_out_in_silence() -> None:
    with pytest.raises(UndefinedError, match="tilte"):
        fill("{{ it.tilte }}", it=draw(line_chart("x", hours(0), [])))


def test_a_page_says_what_it_needs_nothing_and_adapts() -> None:
    outline = safe(file_report({}))
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in outline.values
    assert ("meta", "content", "width=device-width,initial-scale=1") in outline.values
    assert ("html", "lang", "en") in outline.values
    assert "prefers-color-scheme" in STYLE
    assert "@media print" in STYLE


def test_every_drawing_speaks_or_is_hidden_from_screen_readers() -> None:
    source = file_report(FULL) + demo_report({"rmse": 2.0}, outcomes(["a"], 5))
    for attributes, after in re.findall(r"<svg([^>]*)>(<title>)?", source):
        assert "aria-label=" in attributes or "aria-hidden=" in attributes or after


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_words_and_lines_stand_out_from_their_ground(mode: int) -> None:
    block = re.findall(r":root \{([^}]*)\}", STYLE)[mode]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block))
    for ground in ("paper", "card"):
        for name, least in {
            "ink": 7,
            "muted": 4.5,
            "good": 4.5,
            "warn": 4.5,
            "bad": 4.5,
            "model": 4.5,
            "baseline": 3,
        }.items():
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)


@given(st.dictionaries(
    st.sampled_from(sorted(FULL)),
    st.one_of(st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(), st.text(max_size=9), st.just([]),
              st.just({}), st.just([None, {"day": "2024-13-01"}, {"day": "9999-12-31", "mae": 1.0}, 3])),
))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_report_is_made_from_whatever_a_summary_holds(changes: Mapping[str, object]) -> None:
    Outline(file_report({**FULL, **changes}))
    Outline(file_report(changes))


def test_a_file_report_tells_the_numbers() -> None:
    words = " ".join(safe(file_report(FULL, title="PM2.5", unit="ug/m3")).words)
    for shown in ("spring.csv.gz", "1,000", "99.0 %", "25.0 % below persistence", "µg/m³", "atmos_press from kPa"):
        assert shown in words
    assert REASONS["future"] in words
    assert "500 rows a second" in words


def test_a_refused_file_is_told_why() -> None:
    words = " ".join(
        Outline(file_report({"status": "refused", "reason": "header", "detail": "columns are a, b"})).words
    )
    assert "Refused" in words
    assert "No column for the device, the time or any channel" in words
    assert "columns are a, b" in words


def test_pages_of_long_files_stay_small() -> None:
    first = np.datetime64("2010-01-01")
    daily = [{**FULL["daily"][0], "day": str(first + i)} for i in range(3650)]  # type: ignore[index]
    rejected = {code: i + 1 for i, code in enumerate(REASONS)}
    assert len(file_report({**FULL, "daily": daily, "rejected": rejected})) < 300_000
    assert len(demo_report({"rmse": 2.0}, outcomes([f"device-{i}" for i in range(120)], 90))) < 300_000


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 120.0, ["0", "25", "50", "75", "100"]),
        (-2.0, 2.0, ["\u22122", "\u22121", "0", "1", "2"]),
        (980.0, 1030.0, ["980", "990", "1,000", "1,010", "1,020", "1,030"]),
        (0.0, 0.25, ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in Scale(low, high).ticks()] == labels


def test_an_axis_holds_its_values_and_nothing_breaks_it() -> None:
    assert scale(np.array([3.0, 97.0])) == Scale(0.0, 100.0)
    assert scale(np.array([1001.0, 1019.0, np.nan]), zero=False) == Scale(1000.0, 1020.0)
    assert scale(np.array([np.nan])) == Scale(0.0, 1.0)
    assert scale(np.array([0.0, 0.0])) == Scale(0.0, 1.0)
    assert plain(math.inf) == "\u2013"


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (24, ["1 Jan", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "2 Jan"]),
        (7 * 24, ["1 Jan", "2 Jan", "3 Jan", "4 Jan", "5 Jan", "6 Jan", "7 Jan", "8 Jan"]),
        (182 * 24, ["Jan 2024", "Feb", "Mar", "Apr", "May", "Jun", "Jul"]),
        (5 * 366 * 24, ["2024", "2025", "2026", "2027", "2028", "2029"]),
    ],
)
def test_time_ticks_fit_the_span(span: int, labels: list[str]) -> None:
    ticks = time_ticks(473352, 473352 + span)
    assert [tick.label for tick in ticks] == labels
    assert all(0 <= tick.at <= 1 for tick in ticks)


@settings(max_examples=60, deadline=None)
@given(st.integers(-10_000, 700_000), st.integers(1, 400_000))
def test_time_ticks_are_few_and_inside(first: int, span: int) -> None:
    ticks = time_ticks(first, first + span)
    assert len(ticks) <= 10
    assert all(0 <= tick.at <= 1 for tick in ticks)


def drawn(chart: str, kind: str) -> str:
    found = re.search(rf'<path d="([^"]*)" class="{kind}"', chart)
    assert found is not None
    return found.group(1)


def test_a_line_breaks_where_values_are_missing_and_a_lone_value_is_a_dot() -> None:
    chart = draw(line_chart("x", hours(7), [line([0, 10, math.nan, 5, math.nan, 2, 4])]))
    path = drawn(chart, "line model")
    assert path == "M0 2000L667 0M2000 1000h0M3333 1600L4000 1200"


def test_a_line_lies_where_its_values_are() -> None:
    path = drawn(draw(line_chart("x", hours(3), [line([0.0, 25.0, 100.0])])), "line model")
    assert path == f"M0 {HEIGHT}L{WIDTH // 2} {HEIGHT * 3 // 4}L{WIDTH} 0"


def test_thinning_keeps_extremes_gaps_and_order() -> None:
    values = np.sin(np.arange(100_000) / 700.0)
    values[54_321], values[70_000] = 9.0, -9.0
    values[30_000:33_000] = np.nan
    x, y = thin(np.arange(100_000, dtype=np.float64), values)
    assert len(x) <= 1200
    assert (np.diff(x) > 0).all()
    assert (np.nanmax(y), np.nanmin(y)) == (9.0, -9.0)
    assert np.isnan(y[(x > 30_200) & (x < 32_800)]).all()
    assert np.isfinite(y[(x < 29_900) | (x > 33_100)]).all()


def test_a_band_is_drawn_behind_and_only_where_both_ends_are_known() -> None:
    lower, upper = np.array([1.0, 2, np.nan, 2, 1]), np.array([5.0, 6, 7, 6, 5])
    chart = draw(line_chart("x", hours(5), [line([3, 4, 5, 4, 3])], band=Band("interval", lower, upper)))
    assert drawn(chart, "band").count("Z") == 2
    assert chart.index('class="band"') < chart.index('class="line model"')
    assert "interval: 1.00 to 5.00" in chart


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_a_chart_of_nothing_says_so(values: list[float]) -> None:
    assert "Nothing to show yet." in draw(line_chart("x", hours(len(values)), [line(values)]))
    nothing = np.array(values)
    assert "Nothing to show yet." in draw(density_chart("x", nothing, nothing))


def test_a_chart_of_one_moment_is_drawn() -> None:
    assert drawn(draw(line_chart("x", hours(1), [line([4.0])])), "line model") == "M2000 0h0"


def test_hovering_tells_time_and_values() -> None:
    chart = draw(line_chart("x", hours(3), [line([1, math.nan, 3])], unit="mm"))
    assert "<title>1 Jan 2024 00:00\nmade: 1.00 mm</title>" in chart
    assert "1 Jan 2024 01:00\nmade: \u2013 mm" in chart


def test_bars_are_as_long_as_their_values() -> None:
    chart = draw(bar_chart("x", ["a", "b", "c", "d"], [50, 200, 0, math.nan]))
    assert re.findall(r'<rect width="(\d+)"', chart) == ["250", "1000", "0", "0"]
    assert ">200<" in chart


def test_only_the_first_rows_are_drawn_and_the_rest_is_said() -> None:
    labels = [f"device {i}" for i in range(100)]
    for chart in (draw(bar_chart("x", labels, [1.0] * 100)), draw(dot_chart("x", labels, [line([1.0] * 100)]))):
        assert chart.count('role="listitem"') == ROWS
        assert f"The first {ROWS} of 100 are shown." in chart


def test_dots_lie_on_the_axis_and_missing_ones_are_left_out() -> None:
    floor = Series("floor", np.array([10.0, np.nan]), "baseline")
    chart = draw(dot_chart("x", ["a", "b"], [floor, line([5.0, 2.5])], limits=(0.0, 10.0), mark=7.5))
    assert re.findall(r'M([\d.]+) 10h0" class="dot (\w+)"', chart) == [
        ("1000.0", "baseline"), ("1000.0", "hole"), ("500.0", "model"), ("250.0", "model")
    ]  # fmt: skip
    assert chart.count('d="M750 0V20" class="mark"') == 2
    assert "floor \u2013, made 2.50" in chart


def test_density_counts_every_pair_once() -> None:
    rng = np.random.default_rng(1)
    truth = rng.gamma(2, 20, 5000)
    truth[:7] = np.nan
    chart = draw(density_chart("x", truth, truth + rng.normal(0, 5, 5000)))
    outside = int(re.findall(r"(\d+) of 4,993 pairs lie outside", chart)[0])
    assert 0 < outside < 50
    cells = "".join(re.findall(r'd="([^"]*)" class="cell"', chart))
    assert cells.count("M") > 100
    assert len(set(re.findall(r"M\d+ \d+", cells))) == cells.count("M")


def test_a_divided_bar_adds_up() -> None:
    chart = draw(split_bar("x", [("kept", 75), ("nothing", 0), ("lost", 25)]))
    assert re.findall(r'x="([\d.]+)" width="([\d.]+)"', chart) == [("0.0", "750.0"), ("750.0", "250.0")]
    assert "nothing" not in chart


def test_a_long_table_is_cut_and_says_so() -> None:
    shown = file_report({"daily": [{"day": f"day {i}", "rows": i} for i in range(450)]})
    assert shown[shown.index("<thead") : shown.index("</tbody>")].count("<tr") == 401
    assert "50 more rows are not shown." in shown


def test_errors_by_group_use_the_same_rows_for_all_three() -> None:
    made = outcomes(["a", "b", "c"], 10)
    errors, rows = rmse_by(made.device, 3, made)
    for device in range(3):
        fair = [i for i in range(len(made.truth)) if made.device[i] == device and not math.isnan(made.persistence[i])]
        assert rows[device] == len(fair)
        for found, values in zip(errors, (made.forecast, made.damped, made.persistence), strict=True):
            expected = math.sqrt(sum((float(values[i]) - float(made.truth[i])) ** 2 for i in fair) / len(fair))
            assert found[device] == pytest.approx(expected, rel=1e-6)


def test_a_demo_report_tells_how_much_better_the_model_was() -> None:
    summary = {
        "rmse": 15.0, "rmse_damped": 20.0, "rmse_persistence": 25.0, "mae": 11.0, "interval_coverage": 0.887,
        "books_balance": True, "rows_in": 1234, "score_rows_per_second": 9876.0, "elapsed_seconds": 61.0,
    }  # fmt: skip
    phases = [Phase("Trained", ["six candidates"], 12.0)]
    words = " ".join(safe(demo_report(summary, outcomes(["a", "b"], 20), phases=phases)).words)
    for shown in ("25.0 % below damped persistence", "40.0 % below", "88.7 %", "9,876", "1 min 1 s", "12.0 s"):
        assert shown in words
    assert "every reading is accounted for" in words
    broken = " ".join(Outline(demo_report({**summary, "books_balance": False}, outcomes(["a"], 2))).words)
    assert "readings are missing" in broken


def test_a_demo_without_outcomes_still_makes_a_page() -> None:
    made = outcomes(["a"], 0)
    assert "The run" in " ".join(safe(demo_report({}, made)).words)
