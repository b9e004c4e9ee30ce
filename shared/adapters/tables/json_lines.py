"""Files of JSON lines: one reading a line, through the decoder of messages."""

from __future__ import annotations

from collections.abc import Iterator

from shared.adapters.tables.lines import Lines, original
from shared.adapters.tables.source import LONGEST_LINE, Source, blocks
from shared.core.intake.messages import Decoder
from shared.core.intake.readings import Parsed, Rejection
from shared.core.intake.tables import Progress
from shared.core.scenario import Scenario

_BOM = b"\xef\xbb\xbf"


def long_parts(
    scenario: Scenario, source: Source, zone: str | None, not_after: int, chunk_rows: int, progress: Progress
) -> Iterator[Parsed]:
    """Checked stretches of a file of JSON lines; see `open.open_table`."""
    decoder = Decoder(scenario)
    seen = 0
    for block in blocks(source):
        lines = Lines(block)
        damaged = source.problem is not None and not block.endswith(b"\n")
        for low in range(0, len(lines), chunk_rows):
            high = min(low + chunk_rows, len(lines))
            part = lines.part(low, high)
            parsed = _part(decoder, part, seen + 1, zone, not_after, cut=damaged and high == len(lines))
            seen += len(part)
            progress.rows += len(parsed.readings) + len(parsed.rejected)
            progress.bytes_read = source.bytes_read
            yield parsed
        progress.ignored, progress.converted = tuple(decoder.ignored), decoder.converted
    progress.bytes_read = source.bytes_read
    if source.problem is not None:
        progress.problem = f"{source.reason}: {source.problem}; {progress.rows} rows were read"


def _part(decoder: Decoder, lines: Lines, first: int, zone: str | None, not_after: int, *, cut: bool) -> Parsed:
    refused = []
    texts, positions = [], []
    for i in range(len(lines)):
        line = lines[i].removeprefix(_BOM) if first + i == 1 else lines[i]
        if len(line) > LONGEST_LINE:
            detail = f"the line is longer than {LONGEST_LINE} bytes"
            refused.append(Rejection(first + i, "too_large", detail, original(lines, i)))
        elif cut and i == len(lines) - 1:
            refused.append(Rejection(first + i, "truncated", "the file is damaged in this row", line))
        elif line and not line.isspace():
            texts.append(line)
            positions.append(first + i)
    parsed = decoder.decode_lines(texts, positions=positions, not_after_minute=not_after, zone=zone)
    rejected = sorted([*parsed.rejected, *refused], key=lambda rejection: rejection.position)
    return Parsed(parsed.readings, rejected)
