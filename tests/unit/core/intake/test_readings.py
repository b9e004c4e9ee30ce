"""Values, names and timestamps of readings, each against an independent reading of the same text."""

from __future__ import annotations

import math
import tracemalloc
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake.acceptance import Acceptance, Sheet, Zoning
from shared.core.intake.columns import Columns, Layout, plain
from shared.core.intake.readings import LONGEST_ID, Parsed, id_problem, shown
from shared.core.intake.reasons import REASONS
from shared.core.intake.times import zones
from shared.core.intake.times.texts import from_bytes, from_texts
from shared.core.intake.times.timestamps import ABSENT, ANCIENT, FUTURE, OK, UNZONED, Stamps, from_number, utc
from shared.core.intake.times.timestamps import BAD as BAD_TIME
from shared.core.intake.times.zones import Zone, zone
from shared.core.intake.values.quantities import BAD, OUTSIDE, missing, normalise, number, numbers
from shared.core.intake.values.units import unit_of
from shared.core.scenario import Channel, Scenario, Unit, with_overrides
from shared.errors import BadEvent

AIR = load("air_quality")
CHANNEL = {channel.name: channel for channel in AIR.channels}
FAR = 40_000_000


@pytest.mark.parametrize("text", ["a", "a/../b", "Köln #1", "'\"<b>", "🌡️", "x" * LONGEST_ID, "a.b\\c", "\u200b"])
def test_an_id_of_printable_characters_is_fit(text: str) -> None:
    assert id_problem(text) is None


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "\x7f", "\x85", "\ud800", "x" * (LONGEST_ID + 1)])
def test_an_id_with_control_characters_or_surrogates_or_without_end_is_not_fit(text: str) -> None:
    assert id_problem(text) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "'abc'"),
        ("a\nb\x00\ud800", "'a\\x0ab\\x00\\xd800'"),
        ("x" * 41, f"'{'x' * 40}...'"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1.0, "1.0"),
        (10**60, "a whole number of 200 bits"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
    ],
)
def test_a_hostile_value_is_shown_short_and_printable(value: object, text: str) -> None:
    assert shown(value) == text
    assert shown(value).isprintable()


def test_every_reason_has_one_line_for_people() -> None:
    assert all(code == code.lower() and line and "\n" not in line for code, line in REASONS.items())


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "NaN", "NAN", "-nan", "NA", "n/a", "None", "null", "-", "--", " NULL "]
)
def test_words_for_missing_are_missing_and_not_errors(text: str) -> None:
    assert math.isnan(number(text))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1.0), (" -2.5 ", -2.5), ("+.5", 0.5), ("5.", 5.0), ("1e-3", 1e-3), ("1E2", 100.0), (7, 7.0), (2.5, 2.5)],
)
def test_plain_numbers_are_read(value: object, expected: float) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999", 10**400, -(10**400), float("inf")])
def test_infinite_numbers_stay_infinite_to_be_refused_later(value: object) -> None:
    assert math.isinf(number(value))


@pytest.mark.parametrize(
    "value", ["1,5", "1_000", "0x10", "abc", "1 2", "\u0661", "²", True, False, [], {}, "--1", "e5", "."]
)
def test_what_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller gives the words
        number(value)


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(), st.booleans(), st.text(max_size=4)), max_size=30))
def test_a_column_is_read_as_its_cells_are_read_one_by_one(values: list[object]) -> None:
    column, bad = numbers(values)
    for i, value in enumerate(values):
        try:
            expected = number(value)
        except ValueError:
            expected = math.nan
            assert i in bad
        else:
            assert i not in bad
        np.testing.assert_equal(column[i], expected)


def test_a_whole_number_beyond_any_float_does_not_break_its_column() -> None:
    column, bad = numbers([1, 10**400, None])
    assert (column[0], math.isinf(column[1]), math.isnan(column[2]), bad) == (1.0, True, True, [])


@pytest.mark.parametrize(
    ("channel", "name", "factor"),
    [
        ("temp", "°C", 1.0),
        ("temp", "deg F", 0.5555555555555556),
        ("temp", "k", 1.0),
        ("pm25", "µg/m³", 1.0),
        ("pm25", "mg/m3", 1000.0),
        ("atmos_press", "KPA", 10.0),
        ("wind_spd", "km/h", 0.2777777777777778),
    ],
)
def test_a_unit_is_found_whatever_its_typography(channel: str, name: str, factor: float) -> None:
    unit = unit_of(CHANNEL[channel], name)
    assert unit is not None
    assert unit.factor == factor


def test_an_unknown_unit_is_none_and_case_decides_between_units_that_differ_by_it() -> None:
    assert unit_of(CHANNEL["temp"], "furlong") is None
    mine = Channel(name="x", unit="Mx", minimum=0, maximum=1, units={"mx": Unit(factor=5.0)})
    assert [u.factor for u in (unit_of(mine, "Mx"), unit_of(mine, "mx")) if u] == [1.0, 5.0]


def values_of(channel: str, raw: list[float], unit: str | None = None) -> tuple[list[float], list[int], set[str]]:
    declared = None if unit is None else unit_of(CHANNEL[channel], unit)
    values, faults, found = normalise(CHANNEL[channel], np.array(raw), declared)
    return values.tolist(), [] if faults is None else faults.tolist(), found


def test_pressure_in_kilopascal_is_recognised_value_by_value() -> None:
    values, faults, found = values_of("atmos_press", [87.6, 1013.0, 101325.0, math.nan])
    assert values[:3] == [876.0, 1013.0, 1013.25]
    assert math.isnan(values[3])
    assert (faults, found) == ([], {"kPa", "Pa"})


def test_a_declared_unit_is_believed_and_nothing_else_is_recognised() -> None:
    assert values_of("atmos_press", [876.0], "hPa") == ([876.0], [], set())
    assert values_of("atmos_press", [87.6], "hPa")[1] == [OUTSIDE]
    assert values_of("temp", [-76.0, 140.0, 50.0], "degF") == ([-60.0, 60.0, 10.0], [], set())


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (0.0, 0),
        (-0.0, 0),
        (100.0, 0),
        (100.001, OUTSIDE),
        (-0.001, OUTSIDE),
        (math.inf, BAD),
        (-math.inf, BAD),
        (1e300, OUTSIDE),
    ],
)
def test_limits_belong_to_the_range_and_infinity_is_no_value(raw: float, fault: int) -> None:
    values, faults, _ = values_of("rel_humidity", [50.0, raw])
    assert values[0] == 50.0
    assert (faults or [0, 0]) == [0, fault]
    assert math.isnan(values[1]) == bool(fault)


def test_missing_words_cover_what_tables_write() -> None:
    assert all(missing(word) for word in ("", " ", "NaT", "#N/A", "nil"))
    assert not missing("0")


def layout(*names: str, scenario: Scenario = AIR) -> Layout:
    return Columns(scenario).layout(names)


def test_names_are_found_by_alias_case_blanks_and_byte_order_mark() -> None:
    found = layout("\ufeffSite", " TS ", "Wind Speed", "PM2.5", "relative-humidity", "dewp")
    assert found.picks == (0, 1, -1, -1, 4, -1, 2, -1, 3)
    assert (found.ignored, found.channels, found.row) == (("dewp",), (2, 4, 6), -1)


@pytest.mark.parametrize(
    ("name", "channel", "unit"),
    [
        ("temp (K)", "temp", "K"),
        ("Temperature [°F]", "temp", "°F"),
        ("pressure_kpa", "atmos_press", "kpa"),
        ("rain_inch", "precip", "inch"),
        ("pm2_5_mg/m3", "pm25", "mg/m3"),
    ],
)
def test_a_unit_in_the_name_is_taken_from_brackets_or_behind_an_underscore(name: str, channel: str, unit: str) -> None:
    found = layout("site", "ts", name)
    c = AIR.channel_names.index(channel)
    assert found.picks[2 + c] == 2
    assert found.converted == {channel: unit}
    assert found.units[c] == unit_of(CHANNEL[channel], unit)


@pytest.mark.parametrize("name", ["temp (°C)", "temp_degC", "pm25 [ug/m3]"])
def test_the_channels_own_unit_in_its_name_is_no_conversion_but_a_declaration(name: str) -> None:
    found = layout(name)
    assert found.converted == {}
    assert [unit.factor for unit in found.units if unit is not None] == [1.0]


@pytest.mark.parametrize(
    "name", ["temp_max", "station_pm25", "(K)", "x (K)", "temp(K)(K)", "t" * 200, "temp_" * 30, "", "()"]
)
def test_names_that_only_resemble_are_ignored(name: str) -> None:
    assert layout("site", "ts", name).ignored == (name,)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("temp", "temp"), "duplicate_header"),
        (("temp", "Temperature"), "duplicate_header"),
        (("pm25", "pm2.5 (ug/m3)"), "duplicate_header"),
        (("ts", "TS"), "duplicate_header"),
        (("site", " site"), "duplicate_header"),
        (("temp (R)",), "unit"),
        (("temp ()",), "unit"),
    ],
)
def test_two_names_for_one_thing_and_unknown_units_are_refused(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(BadEvent) as refused:
        layout(*names)
    assert refused.value.reason == reason


def test_of_several_device_names_the_one_listed_first_in_the_scenario_is_used() -> None:
    found = layout("station", "ts", "device_id", "time", "temp")
    assert found.picks[:2] == (2, 1)
    assert found.ignored == ("station", "time")


def test_the_scenarios_key_is_the_devices_column_before_its_aliases() -> None:
    shops = with_overrides(AIR, key="Store ID")
    assert layout("device_id", "store-id", "ts", scenario=shops).picks[0] == 1
    assert layout("site", "ts", scenario=shops).picks[0] == 0
    assert layout("store-id", "ts").picks[0] == -1


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("utc", "UTC"),
        ("timestamp (UTC)", "UTC"),
        ("time [+08:00]", "+08:00"),
        ("datetime_utc", "UTC"),
        ("ts (ms)", None),
        ("ts", None),
        ("time (+99:00)", None),
    ],
)
def test_the_name_of_the_time_may_declare_its_zone(name: str, declared: str | None) -> None:
    found = layout("site", name, "temp")
    assert (found.picks[1], found.zone) == (1, declared)


def test_a_name_that_ends_like_a_zone_but_is_no_time_is_ignored() -> None:
    assert layout("made_utc", "made (UTC)").ignored == ("made_utc", "made (UTC)")
    assert plain(' "A b" ') == "a_b"


ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/New_York"]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MOMENTS = st.datetimes(datetime(2000, 1, 2), datetime(2037, 12, 31))  # noqa: DTZ001 - local clocks are the point


def minute_of(moment: datetime) -> int:
    return math.floor((moment - EPOCH) / timedelta(minutes=1))


def minutes(texts: list[str], name: str = "UTC", not_after: int = FAR) -> tuple[list[int], list[int]]:
    found, fault = utc(from_texts(texts), [zone(name)], np.zeros(len(texts), np.int32), not_after)
    return found.tolist(), fault.tolist()


WRITTEN = {
    "%Y-%m-%d %H:%M:%S": True,
    "%Y-%m-%dT%H:%M": True,
    "%Y/%m/%d %H:%M:%S.%f": True,
    "%Y%m%dT%H%M%S": True,
    "%Y-%m-%dT%H:%M:%S,%f": True,
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(MOMENTS, st.sampled_from(list(WRITTEN)), st.sampled_from(ZONES)), min_size=1, max_size=40))
def test_local_times_agree_with_the_standard_library_row_by_row(rows: list[tuple[datetime, str, str]]) -> None:
    texts = [moment.strftime(layout_) for moment, layout_, _ in rows]
    names = sorted({name for _, _, name in rows})
    which = np.array([names.index(name) for _, _, name in rows], np.int32)
    found, fault = utc(from_texts(texts), [zone(name) for name in names], which, FAR)
    expected = [minute_of(moment.replace(tzinfo=ZoneInfo(name), fold=0)) for moment, _, name in rows]
    assert found.tolist() == expected
    assert not fault.any()


OFFSETS = st.integers(-14 * 60, 14 * 60)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(MOMENTS, OFFSETS, st.sampled_from(["{s}{h:02}:{m:02}", "{s}{h:02}{m:02}", " {s}{h:02}:{m:02}"])),
        max_size=30,
    )
)
def test_written_offsets_agree_with_the_standard_library_row_by_row(rows: list[tuple[datetime, int, str]]) -> None:
    texts, expected = [], []
    for moment, offset, form in rows:
        hours, rest = divmod(abs(offset), 60)
        texts.append(f"{moment:%Y-%m-%dT%H:%M:%S}" + form.format(s="-" if offset < 0 else "+", h=hours, m=rest))
        expected.append(minute_of(moment.replace(tzinfo=timezone(timedelta(minutes=offset)))))
    assert minutes(texts) == (expected, [OK] * len(rows))


@pytest.mark.parametrize("name", ZONES)
def test_every_quarter_hour_of_two_years_agrees_with_zoneinfo(name: str) -> None:
    start = minute_of(datetime(2006, 1, 1, tzinfo=timezone.utc))
    local = np.arange(start, start + 2 * 366 * 1440, 15)
    found = Zone(name).offsets(local)
    known = ZoneInfo(name)
    for minute, offset in zip(local[::7].tolist(), found[::7].tolist(), strict=True):
        moment = (EPOCH + timedelta(minutes=minute)).replace(tzinfo=known)
        assert moment.utcoffset() == timedelta(minutes=offset)


def test_an_ambiguous_time_is_its_first_occurrence_and_one_that_does_not_exist_moves_forward() -> None:
    first, gap, behind = minutes(["2023-10-29 02:30", "2023-03-26 02:30", "2023-03-26 03:30"], "Europe/Berlin")[0]
    assert first == minute_of(datetime(2023, 10, 29, 0, 30, tzinfo=timezone.utc))
    assert gap == behind == minute_of(datetime(2023, 3, 26, 1, 30, tzinfo=timezone.utc))


def test_a_zone_that_changes_within_an_hour_is_read_minute_by_minute() -> None:
    """Newfoundland set its clocks at one minute past midnight until 2011."""
    found, _ = minutes(["2010-03-14 00:00", "2010-03-14 00:01", "2010-03-14 01:02"], "America/St_Johns")
    assert np.diff(found).tolist() == [1, 1]


SAME = minute_of(datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:30:59Z",
        "2026-03-01 12:30:00 UTC",
        "2026-03-01t12:30z",
        " 2026-03-01T20:30+08:00 ",
        "2026-03-01T20:30+08",
        "20260301T123059.999Z",
        "2026-03-01T12:30:60Z",
        str(SAME * 60 + 59),
        str(SAME * 60_000 + 59_999),
        f"{SAME * 60}.75",
        f"+{SAME * 60}",
    ],
)
def test_one_minute_is_read_from_each_way_of_writing_it(text: str) -> None:
    assert minutes([text]) == ([SAME], [OK])


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "01/03/2026 12:30",
        "2026-02-29T12:30Z",
        "2026-13-01T12:30Z",
        "2026-00-01T12:30Z",
        "2026-03-00T12:30Z",
        "2026-03-01T12:60Z",
        "2026-03-01T12:30:61Z",
        "2026-03-01T12:30+24:00",
        "2026-03-01T12:30+08:60",
        "0000-01-01T00:00Z",
        "2026-03/01T12:30Z",
        "yesterday",
        "٢٠٢٦-03-01T12:30Z",
        "2026-03-01T12:30Z" + " " * 40,
        "9" * 400,
        "inf",
        "\x00",
        "2026-03-01T12:30 CET",
    ],
)
def test_what_is_no_timestamp_is_a_bad_one_and_its_neighbours_stay_right(text: str) -> None:
    found, fault = minutes(["2026-03-01T12:30Z", text, "2026-03-01T12:30Z"])
    assert fault == [OK, BAD_TIME, OK]
    assert found[0] == found[2] == SAME


@pytest.mark.parametrize("text", ["", " ", "null", "NaN", "NaT", "none", "-"])
def test_words_for_missing_are_a_missing_timestamp(text: str) -> None:
    assert minutes([text, "2026-03-01T12:30Z"])[1] == [ABSENT, OK]


def test_many_ways_of_writing_in_one_column_are_each_read() -> None:
    texts = [f"2026-03-01T12:30:0{k}Z" for k in range(3)]
    texts += ["x" * k for k in range(1, 14)] + [str(SAME * 60), f"2026-03-01 12:30:00.{'0' * 9}Z", f"{SAME * 60}.5"]
    found, fault = minutes(texts)
    assert fault == [OK] * 3 + [BAD_TIME] * 13 + [OK] * 3
    assert set(found[:3] + found[-3:]) == {SAME}


def test_epochs_are_told_apart_by_their_size_and_never_overflow() -> None:
    stamps = from_number(np.array([0.0, 60.0, -1.0, 1e11, 1e11 - 1, math.nan, math.inf, 1e300, -1e300]))
    assert stamps.local[:5].tolist() == [0, 1, -1, 1_666_666, 1_666_666_666]
    assert stamps.fault.tolist() == [OK] * 5 + [ABSENT, BAD_TIME, OK, OK]
    edges = from_number(np.array([1e14 - 100, 1e14, 1e17 - 100_000, 1e17, -1e14]))
    assert edges.local.tolist() == [1_666_666_666, 1_666_666, 1_666_666_666, 1_666_666, -1_666_667]
    assert minutes(["9" * 30, "1" * 18])[1] == [FUTURE, ANCIENT]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))  # noqa: DTZ001 - the zone is put on afterwards
def test_an_instant_is_one_in_every_unit_and_as_a_compact_date(when: datetime) -> None:
    seconds = int(when.replace(tzinfo=timezone.utc).timestamp())
    expected = seconds // 60
    whole = [seconds * unit for unit in (1, 1_000, 1_000_000, 1_000_000_000)]
    dates = [when.strftime(form) for form in ("%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S987")]
    for texts, offset in ((list(map(str, whole)), 0), (dates, UNZONED)):
        for stamps in (from_texts(texts), from_number(np.array(texts, np.float64))):
            assert (set(stamps.local.tolist()), set(stamps.offset.tolist())) == ({expected}, {offset})
            assert stamps.fault.tolist() == [OK] * len(texts)


def test_the_future_begins_five_minutes_after_the_source_and_the_ancient_before_2000() -> None:
    texts = ["2026-03-01T12:35Z", "2026-03-01T12:36Z", "2000-01-01T00:00Z", "1999-12-31T23:59Z", "9999-12-31T23:59Z"]
    assert minutes(texts, not_after=SAME)[1] == [OK, FUTURE, OK, ANCIENT, FUTURE]
    assert minutes(["9999-12-31 23:59", "0001-01-01 00:00"], "Europe/Berlin", SAME)[1] == [FUTURE, ANCIENT]


def test_a_time_without_zone_needs_one() -> None:
    assert minutes(["2026-03-01 20:30"], "+08:00") == ([SAME], [OK])
    assert from_texts(["2026-03-01 12:30"]).offset.tolist() == [UNZONED]


@pytest.mark.parametrize(
    ("name", "offset"),
    [("+08:00", 480), ("-0330", -210), ("+8", 480), ("UTC+8", 480), ("Z", 0), ("utc", 0), ("Asia/Kolkata", 330)],
)
def test_a_zone_is_named_or_a_fixed_offset(name: str, offset: int) -> None:
    assert zone(name).offsets(np.array([SAME])).tolist() == [offset]


def test_what_is_kept_of_zones_does_not_grow_with_zones_and_years() -> None:
    """A table of two centuries for each zone once took 3.5 MB, and 256 zones were kept."""
    names = sorted(available_timezones())[::12]
    moments = np.arange(minute_of(datetime(2001, 1, 1, 12, tzinfo=timezone.utc)), FAR * 2, 366 * 1440)
    tracemalloc.start()
    for name in names:
        found, known = zone(name).offsets(moments), ZoneInfo(name)
        moment = (EPOCH + timedelta(minutes=int(moments[-1]))).replace(tzinfo=known)
        assert moment.utcoffset() == timedelta(minutes=int(found[-1]))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(names) * len(moments) > 5 * zones._PAGES
    assert kept < 12_000_000


@pytest.mark.parametrize(
    "name",
    ["Mars/Base", "", "../etc/passwd", "+25:00", "+08:75", "America", "\ud800", "a" * 300, "/etc/passwd", "x\x00"],
)
def test_what_is_no_zone_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(BadEvent) as refused:
        zone(name)
    assert refused.value.reason == "zone"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_a_timestamp_or_a_fault(texts: list[bytes]) -> None:
    bounds = np.cumsum([0, *map(len, texts)])
    stamps = from_bytes(np.frombuffer(b"".join(texts), np.uint8), bounds)
    assert set(stamps.fault.tolist()) <= {OK, ABSENT, BAD_TIME}
    assert all(
        fault == ABSENT
        for text, fault in zip(texts, stamps.fault.tolist(), strict=True)
        if len(text) <= 48 and not text.strip(b" \t\r\n\v\f")
    )


def judge(rows: list[tuple[str | None, str, float]], scenario: Scenario = AIR) -> Parsed:
    names = [name for name, _, _ in rows if name is not None]
    values = np.full((len(rows), len(scenario.channels)), np.nan, np.float32)
    values[:, scenario.channel_names.index("pm25")] = [value for _, _, value in rows]
    index = iter(range(len(names)))
    sheet = Sheet(
        position=np.arange(1, len(rows) + 1),
        names=names,
        device=np.array([-1 if name is None else next(index) for name, _, _ in rows], np.int32),
        stamps=from_texts([text for _, text, _ in rows]),
        values=values,
        faults=None,
        cell=lambda i, slot: rows[i][slot],
        raw=lambda i: repr(rows[i]).encode(),
        written=lambda *_: (),
    )
    return Acceptance(scenario).judge(sheet, Zoning(scenario, None), SAME)


def test_ids_that_differ_in_blanks_at_their_ends_are_one_device() -> None:
    parsed = judge([("b ", "2026-03-01 12:00", 1.0), ("a", "2026-03-01 12:00", 2.0), (" b", "2026-03-01 12:01", 3.0)])
    assert parsed.readings.devices == ("b", "a")
    assert parsed.readings.device.tolist() == [0, 1, 0]


def test_only_devices_with_accepted_readings_are_listed() -> None:
    parsed = judge([("a", "", 1.0), ("b", "2026-03-01 12:00", 2.0), ("c", "2026-03-01 12:00", math.nan)])
    assert (parsed.readings.devices, parsed.readings.device.tolist()) == (("b",), [0])
    assert [(r.position, r.reason) for r in parsed.rejected] == [(1, "missing_time"), (3, "no_values")]


def test_the_first_reason_is_the_devices_then_the_times() -> None:
    parsed = judge(
        [
            ("", "x", math.nan),
            (None, "x", math.nan),
            ("a\x00", "x", 1.0),
            ("a", "x", math.nan),
            ("a", "2027-01-01 00:00", 1.0),
        ]
    )
    assert [r.reason for r in parsed.rejected] == [
        "missing_device",
        "missing_device",
        "device_id",
        "bad_time",
        "future",
    ]
    assert parsed.rejected[-1].detail == "'2027-01-01 00:00' is later than 2026-03-01T12:30Z, when it arrived"


def test_stations_keep_their_own_zone_and_others_get_the_scenarios() -> None:
    rows: list[tuple[str | None, str, float]] = [
        (name, "2026-03-01 12:00", 1.0) for name in ("Dongsi", "x", "Changping")
    ]
    assert np.diff(judge(rows).readings.minute).tolist() == [480, -480]
    elsewhere = judge(rows, with_overrides(AIR, zone="Asia/Tokyo"))
    assert np.diff(elsewhere.readings.minute).tolist() == [-60, 60]


def test_a_scenario_may_accept_listed_stations_only() -> None:
    listed = with_overrides(AIR, unlisted_stations="reject")
    parsed = judge([("Dongsi", "2026-03-01 12:00", 1.0), ("x", "2026-03-01 12:00", 1.0)], listed)
    assert parsed.readings.devices == ("Dongsi",)
    assert [(r.reason, r.detail) for r in parsed.rejected] == [
        ("unknown_station", "'x' is not a station of air_quality")
    ]


def test_a_wrong_declared_zone_is_refused_at_once() -> None:
    with pytest.raises(BadEvent, match="zone"):
        Zoning(AIR, "Mars/Base")


def test_nothing_gives_nothing() -> None:
    parsed = judge([])
    assert (len(parsed.readings), parsed.readings.devices, parsed.rejected) == (0, (), [])
    assert len(Stamps.blank(0).local) == 0
