"""Files of JSON lines: one reading or one envelope a line, through the decoder of messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from shared.adapters.tables.csv.lines import Lines, original
from shared.adapters.tables.source import LONGEST_LINE, Bytes
from shared.core.intake.acceptance import Zoning
from shared.core.intake.layouts.objects import Objects
from shared.core.intake.messages.decoding import ELEMENT_BITS, Decoder
from shared.core.intake.readings import Parsed, Rejection
from shared.core.intake.tables import Progress

_BOM = b"\xef\xbb\xbf"


def long_parts(
    objects: Objects,
    source: Bytes,
    found: Iterator[bytes],
    zoning: Zoning,
    not_after: int,
    chunk_rows: int,
    progress: Progress,
) -> Iterator[Parsed]:
    """Checked stretches of a file of JSON lines, given as blocks of whole lines; see `open.open_table`."""
    decoder = Decoder(objects.scenario, objects)
    progress.device = objects.device
    seen = more = 0
    for block in found:
        lines = Lines(block)
        damaged = source.problem is not None and not block.endswith(b"\n")
        for low in range(0, len(lines), chunk_rows):
            high = min(low + chunk_rows, len(lines))
            part = lines.part(low, high)
            texts, positions = _records(part, seen + 1, cut=damaged and high == len(lines))
            seen += len(part)
            for parsed in decoder.line_parts(
                texts, positions=positions, not_after_minute=not_after, zoning=zoning, most=chunk_rows
            ):
                numbered, more = _numbered(parsed, more)
                progress.rows += len(parsed.readings) + len(parsed.rejected)
                progress.bytes_read = source.bytes_read
                yield numbered
        progress.ignored, progress.converted = tuple(decoder.ignored), decoder.converted
        _tell_layouts(progress, decoder.layouts)
    progress.bytes_read = source.bytes_read
    if source.problem is not None:
        progress.problem = f"{source.reason}: {source.problem}; {progress.rows} rows were read"


def _tell_layouts(progress: Progress, layouts: dict[str, dict[str, str]]) -> None:
    progress.layout = ", ".join(layouts) or None
    progress.why = "the keys of its objects" if layouts else ""
    for meaning in layouts.values():
        progress.meaning.update(meaning)


def _records(lines: Lines, first: int, *, cut: bool) -> tuple[list[bytes | Rejection], list[int]]:
    """Lines that hold something, and their positions with room for an envelope's readings between them."""
    texts: list[bytes | Rejection] = []
    positions = []
    for i in range(len(lines)):
        position = (first + i) << ELEMENT_BITS
        line = lines[i].removeprefix(_BOM) if first + i == 1 else lines[i]
        if len(line) > LONGEST_LINE:
            detail = f"the line is longer than {LONGEST_LINE} bytes"
            texts.append(Rejection(position, "too_large", detail, original(lines, i)))
        elif cut and i == len(lines) - 1:
            texts.append(Rejection(position, "truncated", "the file is damaged in this row", line))
        elif line and not line.isspace():
            texts.append(line)
        else:
            continue
        positions.append(position)
    return texts, positions


def _numbered(parsed: Parsed, more: int) -> tuple[Parsed, int]:
    """Records by row number: that of their line, and one more for each further reading that stood in a line before.

    Args:
        parsed: With positions that leave room between lines.
        more: Further readings so far.
    """
    refused = np.array([rejection.position for rejection in parsed.rejected], np.int64)
    places = np.sort(np.concatenate((parsed.readings.position, refused)))
    further = more + np.cumsum((places & (1 << ELEMENT_BITS) - 1) > 0)
    rows = (places >> ELEMENT_BITS) + further
    position = rows[np.searchsorted(places, parsed.readings.position)]
    at = rows[np.searchsorted(places, refused)].tolist()
    rejected = [replace(rejection, position=row) for rejection, row in zip(parsed.rejected, at, strict=True)]
    numbered = replace(parsed, readings=replace(parsed.readings, position=position), rejected=rejected)
    return numbered, int(further[-1]) if len(further) else more
