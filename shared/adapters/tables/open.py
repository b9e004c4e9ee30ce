"""Opens a dropped file, whatever it is: CSV, Parquet, Avro or JSON, gzipped or not, long or wide."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.adapters.tables.arranged import files as arranged
from shared.adapters.tables.arranged import finding
from shared.adapters.tables.arranged.objects import Objects
from shared.adapters.tables.avro import files as avro
from shared.adapters.tables.csv import files as csv_files
from shared.adapters.tables.csv.header import Header, read_header, with_decimal_sign
from shared.adapters.tables.csv.lines import split
from shared.adapters.tables.json import array as json_array
from shared.adapters.tables.json import lines as json_lines
from shared.adapters.tables.json.documents import Documents
from shared.adapters.tables.limits import DEFAULTS, FileLimits
from shared.adapters.tables.parquet import files as parquet
from shared.adapters.tables.source import LONGEST_LINE, Bytes, Source, blocks
from shared.adapters.tables.wide import files as tables_wide
from shared.core.intake.acceptance import Zoning
from shared.core.intake.columns import DEVICE, TIME, Columns, Layout, plain, unknown_unit
from shared.core.intake.envelopes.carriers import Carrier
from shared.core.intake.layouts import objects as objects_of
from shared.core.intake.readings import shown
from shared.core.intake.tables import LongTable, Progress, WideChunk, WideTable
from shared.core.scenario import Scenario
from shared.errors import BadEvent

__all__ = ["LongTable", "WideChunk", "WideTable", "open_table"]

_OTHERWISE = ("header", "duplicate_header", "unit")  # reasons for which a file may have a layout
_BOM = b"\xef\xbb\xbf"
_UTF_16, _UTF_32 = (b"\xff\xfe", b"\xfe\xff"), (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or ZIP archive: save the sheet as CSV UTF-8, unpack the archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV UTF-8",
    **dict.fromkeys(_UTF_32, "UTF-32 text: save it as UTF-8"),
    b"\x28\xb5\x2f\xfd": "Zstandard data: unpack it, or pack it with gzip",
    b"BZh": "bzip2 data: unpack it, or pack it with gzip",
    b"\xfd7zXZ": "xz data: unpack it, or pack it with gzip",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a file is to be read; see `open_table`."""

    name: str
    scenario: Scenario
    zoning: Zoning
    zone: str | None
    not_after: int
    chunk_rows: int
    device: str | None
    layout: str | None


def open_table(
    name: str,
    stream: BinaryIO,
    scenario: Scenario,
    *,
    zone: str | None,
    not_after_minute: int,
    chunk_rows: int = 50_000,
    limits: FileLimits = DEFAULTS,
    device: str | None = None,
    layout: str | None = None,
) -> LongTable | WideTable:
    """Recognise a file by its content, by its name where the content leaves it open, and read it as a stream.

    A row's position is its number: lines (or Parquet rows) from 1, behind the header, blank lines counted.

    Args:
        name: Of the file; hostile, only its suffix is looked at, and whether it fits a layout.
        stream: Its bytes from the beginning; need not be seekable. Memory does not grow with its length.
        scenario: Names, units, limits and stations.
        zone: Declared for timestamps without one; None takes the station's, else the scenario's.
        not_after_minute: Minute since 1970 of the file itself; later readings are refused as `future`.
        chunk_rows: Most rows in a stretch.
        limits: How large it may be, and what reading it may take.
        device: Of all rows, where no column says it.
        layout: Name of the one that it was read with before; None chooses.

    Raises:
        BadEvent: The file as a whole cannot be used: `empty_file`, `format`, `encoding`, `header`, `duplicate_header`,
            `unit`, `zone`, `truncated` or `too_large`. Iterating raises `format` or `too_large` when a Parquet file's
            first rows are damaged or beyond the limits.
        TransientFailure: The process that decodes Parquet files does not start.
    """
    zoning = Zoning(scenario, zone, in_order=True)
    asked = _Asked(name.rpartition("/")[2], scenario, zoning, zone, not_after_minute, chunk_rows, device, layout)
    source = _source(stream, limits)
    head = source.peek(2 * LONGEST_LINE)
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        _refuse_nothing(source)
    if head.startswith(b"PAR1"):
        return _parquet(parquet.ParquetSource(source, limits), asked)
    if head.startswith(avro.MAGIC):
        unpacked = avro.AvroSource(source, limits)
        return _json(unpacked, blocks(unpacked), asked)
    text = head.removeprefix(_BOM).lstrip()
    for magic, what in _FOREIGN.items():
        if text.startswith(magic):
            raise BadEvent("format", f"{what}; CSV, Parquet, Avro and JSON are read, also gzipped")
    suffix = name.casefold().removesuffix(".gz").rpartition(".")[2]
    if suffix in ("parquet", "pq"):
        raise BadEvent("format", f"the name ends in {suffix}, but it does not begin as a Parquet file")
    if text.startswith((b"{", b"[")) or suffix in ("jsonl", "ndjson", "json"):
        return _json(source, _found(source, text, asked), asked)
    return _csv(source, head, asked)


def _source(stream: BinaryIO, limits: FileLimits) -> Source:
    """The file's bytes, as UTF-8 where its first ones say that it is UTF-16."""
    source = Source(stream, limits)
    mark = source.peek(4)
    if mark.startswith(_UTF_16) and mark not in _UTF_32:
        source.decode("utf-16")
    return source


def _refuse_nothing(source: Source) -> None:
    if source.problem is not None:
        raise BadEvent(source.reason, f"{source.problem}, before the first row")
    raise BadEvent("empty_file", f"{source.bytes_read} bytes, none of them a row")


def _objects(asked: _Asked) -> objects_of.Objects:
    return objects_of.of_file(asked.scenario, asked.name, device=asked.device, zone=asked.zone, only=asked.layout)


def _found(source: Source, text: bytes, asked: _Asked) -> Iterator[bytes]:
    """Lines of a JSON file, whatever it is."""
    if text.startswith(b"["):
        return json_array.blocks(source, Carrier(Columns(asked.scenario)))
    found = Documents(_objects(asked)).blocks(source, text) if text.startswith(b"{") else None
    return found or blocks(source)


def _json(source: Bytes, found: Iterator[bytes], asked: _Asked) -> LongTable:
    names, lines = Objects(found, source).begun()
    plan = finding.of_objects(asked.scenario, asked.name, names, asked.device, asked.layout)
    if plan is not None:
        return lines.table(asked.scenario, plan, asked.zone, asked.not_after, asked.chunk_rows)
    return LongTable(
        lambda progress: json_lines.long_parts(
            _objects(asked), source, lines.blocks, asked.zoning, asked.not_after, asked.chunk_rows, progress
        ),
        Progress(),
    )


def _csv(source: Source, head: bytes, asked: _Asked) -> LongTable | WideTable:
    file = finding.Beginning(asked.name, head, asked.device)
    if found := finding.declared(asked.scenario, file, asked.layout):
        return _arranged(source, head, found, asked)
    try:
        line, end = _first_line(source, head)
        header = read_header(line, Columns(asked.scenario))
        wide = header.layout.picks[TIME] < 0 and header.layout.row >= 0 and _has_windows(header, head[end:])
        if not wide:
            _require(asked.scenario, header.layout, asked.device)
    except BadEvent as error:
        found = finding.built_in(asked.scenario, file) if error.reason in _OTHERWISE else None
        if found is None:
            told = finding.elsewhere(asked.scenario, file) if error.reason == "header" else ""
            raise BadEvent(error.reason, error.detail + told) from error
        return _arranged(source, head, found, asked)
    rest = head[len(source.read(end)) :]
    if not rest.strip():
        _refuse_header_only(source, rest)
    if wide:
        return tables_wide.wide_csv(asked.scenario, header, source, asked.chunk_rows)
    header = with_decimal_sign(header, rest)
    return LongTable(
        lambda progress: csv_files.long_parts(
            asked.scenario, header, source, asked.zoning, asked.not_after, asked.chunk_rows, progress
        ),
        Progress(header=header.text, ahead=head.count(b"\n", 0, end)),
    )


def _arranged(source: Source, head: bytes, found: finding.Found, asked: _Asked) -> LongTable:
    if found.plan.source.encoding != "utf-8":
        source.decode(found.plan.source.encoding)
    source.read(found.begin)
    if not head[found.begin :].strip():
        _refuse_header_only(source, head[found.begin :])
    ahead = head.count(b"\n", 0, found.begin)
    return arranged.text(asked.scenario, found, source, ahead, asked.zone, asked.not_after, asked.chunk_rows)


def _parquet(file: parquet.ParquetSource, asked: _Asked) -> LongTable | WideTable:
    scenario = asked.scenario
    if not file.rows:
        raise BadEvent("empty_file", "a Parquet file without rows")
    try:
        chosen = finding.by_names(scenario, asked.name, file.names, asked.device, asked.layout)
        if chosen is not None:
            return arranged.parquet(scenario, chosen, file, asked.zone, asked.not_after, asked.chunk_rows)
        layout = Columns(scenario).layout(file.names)
        if layout.picks[TIME] < 0 and layout.row >= 0 and tables_wide.parquet_windows(file, layout):
            return tables_wide.wide_parquet(scenario, layout, file, asked.chunk_rows)
        _require(scenario, layout, asked.device)
    except BadEvent as error:
        known = (
            finding.known_names(scenario, file.names, asked.device, asked.layout)
            if error.reason in _OTHERWISE
            else None
        )
        if known is None:
            raise
        return arranged.parquet(scenario, known, file, asked.zone, asked.not_after, asked.chunk_rows)
    parquet.records_of(scenario, layout, file.names, file.empty(layout.picks), Progress())
    return LongTable(
        lambda progress: parquet.long_parts(
            scenario, layout, file, asked.zoning, asked.not_after, asked.chunk_rows, progress
        ),
        Progress(bytes_read=file.bytes_read),
    )


def _first_line(source: Source, head: bytes) -> tuple[bytes, int]:
    """The header's line, and how many bytes are read with it."""
    start = len(head) - len(head.removeprefix(_BOM).lstrip(b"\r\n"))
    end = head.find(b"\n", start)
    if end < 0 and source.problem is not None:
        raise BadEvent(source.reason, f"{source.problem}, before the first row")
    line = head[start:] if end < 0 else head[start:end].removesuffix(b"\r")
    if len(line) > LONGEST_LINE:
        raise BadEvent("header", f"the first line is longer than {LONGEST_LINE} bytes")
    if b"\r" in line.removesuffix(b"\r"):
        raise BadEvent("format", "the lines end in CR alone; they must end in LF or CR LF")
    return line, len(head) if end < 0 else end + 1


def _has_windows(header: Header, rest: bytes) -> bool:
    try:
        cells = split(rest.lstrip().partition(b"\n")[0].decode(errors="replace"), header.delimiter)
    except csv.Error:
        return False
    found = [header.layout.picks[2 + c] for c in header.layout.channels]
    return any("," in cells[i] for i in found if i < len(cells))


def _require(scenario: Scenario, layout: Layout, device: str | None) -> None:
    """Check that a long table's header has what a reading needs; what a told `device` needs none for is not missed."""
    there = (layout.picks[DEVICE] >= 0, layout.picks[TIME] >= 0, bool(layout.channels))
    wanted = (
        ("the device", scenario.device_names, "or tell it: --device, or {device} in files of a layout"),
        ("the time", scenario.names.time, "or time in a layout"),
        ("any channel", scenario.channel_names, "or channels in a layout, or stations for a column a station"),
    )
    absent = [
        f"no column for {what} (one of {', '.join(names)}; {otherwise})"
        for found, (what, names, otherwise) in zip(there, wanted, strict=True)
        if not found and not (what == "the device" and device is not None and not all(there[1:]))
    ]
    if absent:
        other = [name for name in layout.ignored if plain(name) not in map(plain, scenario.names.ignored)]
        found = ", ".join(shown(name) for name in other[:12])
        raise BadEvent("header", "; ".join(absent) + (f"; not known: {found}" if found else ""))
    for channel, name, unit in layout.unfit:
        raise BadEvent("unit", f"column {shown(name)}: {unknown_unit(channel, unit)}")


def _refuse_header_only(source: Source, head: bytes) -> None:
    if len(head) >= LONGEST_LINE:
        return  # blank as far as was read ahead, rows may follow
    if source.problem is not None:
        raise BadEvent(source.reason, f"{source.problem}, before the first row")
    raise BadEvent("empty_file", "a header without rows")
