"""What a process that decodes a file says of it in its last line, or what is said where it died."""

from __future__ import annotations

import subprocess
from typing import IO, Any

import msgspec

from shared.adapters.confined import check_left_alone
from shared.adapters.tables.limits import FileLimits
from shared.errors import BadEvent


def verdict(process: subprocess.Popen[bytes], said: IO[bytes], what: str, limits: FileLimits) -> BadEvent | None:
    """What a process says of a file in the last line of `said`; None when it read all of it.

    Args:
        process: Waited for.
        said: Its standard error.
        what: Kind of the file, in words.
        limits: Named where it died.

    Raises:
        TransientFailure: It was ended from outside, not by the file.
    """
    process.wait()
    said.seek(0)
    try:
        found = msgspec.json.decode(said.read().strip().rpartition(b"\n")[2], type=dict[str, Any])
    except msgspec.DecodeError:
        return died(process, what, limits)
    if "too_large" in found:
        return BadEvent("too_large", f"{_a(what)} beyond the limits: {_printable(found['too_large'])}")
    return damaged_file(what, found["damaged"]) if "damaged" in found else None


def died(process: subprocess.Popen[bytes], what: str, limits: FileLimits) -> BadEvent:
    """A file that ended its reader.

    Raises:
        TransientFailure: It was ended from outside, not by the file.
    """
    check_left_alone("the reader of a file", process)
    told = f"FILE_READER_MB = {limits.reader_mb}, FILE_READER_S = {limits.reader_s}"
    return BadEvent("format", f"{_a(what)} that ended its reader (code {process.wait()}; {told})")


def damaged_file(what: str, text: str) -> BadEvent:
    """A damaged file, in its reader's words."""
    return BadEvent("format", f"a damaged {what}: {_printable(text)}")


def end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    """Leave nothing behind, whoever stopped reading and when."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, said):
        if pipe is not None:
            pipe.close()


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "AEIOU" else f"a {what}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.partition("\n")[0][:200])
