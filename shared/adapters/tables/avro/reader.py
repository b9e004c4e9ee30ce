"""A program that turns one Avro file into lines of JSON within limits: a file that ends it ends nothing else.

It is given the file's name and its limits, and answers on its standard output: one byte once it has started, one more
once the header is fine, then a line for each record, bytes in base64. The last line of its standard error is its
verdict, in JSON; whoever reads without finding one knows that it died.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, cast

import fastavro
import msgspec

from shared.adapters.confined import STARTED, confine
from shared.core.intake.messages.json_bodies import value_of
from shared.errors import BadEvent

LARGEST_SCHEMA = 1 << 20
CODECS = ("null", "deflate", "bzip2", "xz")
_BYTES = 1 << 16  # written at once
_HEADER = {
    "type": "record", "name": "Header", "fields": [
        {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
        {"name": "meta", "type": {"type": "map", "values": "bytes"}},
        {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": 16}},
    ],
}  # fmt: skip


class Damaged(Exception):
    """The file does not hold what it says; the text says where."""


class Held:
    """A file that is never asked for more than it holds: a declared length alone takes no memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        if not 0 <= size <= max(self._left, 1):
            raise Damaged(f"{size} bytes are declared where {self._left} are left")
        part = self._file.read(size)
        self._left -= len(part)
        return part

    def tell(self) -> int:
        """Where the next bytes stand."""
        return self._file.tell()


def check_header(file: Held) -> None:
    """Refuse what the header says: a schema that is too deep or too long, or a codec that is not read.

    Raises:
        Damaged: It says so, or a type holds itself.
        BadEvent: `too_deep`, or the schema is not JSON.
    """
    meta = cast("dict[str, dict[str, bytes]]", fastavro.schemaless_reader(cast("IO[bytes]", file), _HEADER, None))[
        "meta"
    ]
    schema, codec = meta.get("avro.schema", b""), meta.get("avro.codec", b"null")
    if len(schema) > LARGEST_SCHEMA:
        raise Damaged(f"a schema of {len(schema)} bytes is longer than {LARGEST_SCHEMA}")
    check_names(value_of(schema))
    if codec.decode(errors="replace") not in CODECS:
        raise Damaged(f"its codec is none of {', '.join(CODECS)}")


def check_names(kind: object, around: frozenset[str] = frozenset()) -> None:
    """Refuse a schema whose records may hold themselves, as deep as a file likes.

    Raises:
        Damaged: It has such a type.
    """
    if isinstance(kind, list):
        for each in kind:
            check_names(each, around)
    elif isinstance(kind, dict):
        inside = around | {_short(kind.get("name"))} if "fields" in kind else around
        fields = kind["fields"] if isinstance(kind.get("fields"), list) else []
        inner = [kind.get(key) for key in ("type", "items", "values")]
        check_names([*inner, *(field.get("type") for field in fields if isinstance(field, dict))], inside)
    elif isinstance(kind, str) and _short(kind) in around:
        raise Damaged("a type of its schema holds itself")


def _short(name: object) -> str:
    """A type's name without its namespace."""
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def lines(file: Held) -> Iterator[bytes]:
    """A line of JSON for each record.

    Raises:
        Damaged: A block cannot hold as many records as it declares; each takes a byte at least.
    """
    encode = msgspec.json.Encoder(enc_hook=str).encode
    for block in fastavro.block_reader(cast("IO[bytes]", file)):
        held = cast("Any", block).bytes_.getbuffer().nbytes
        if block.num_records > held:
            raise Damaged(f"{block.num_records} records are declared in {held} bytes")
        for record in block:
            yield encode(record)


def answer(path: str, out: IO[bytes]) -> int:
    """Write the lines of one file; how many they are."""
    with open(path, "rb") as file:  # noqa: PTH123 - as little as can be imported
        check_header(Held(file))
        file.seek(0)
        out.write(b"\n")
        out.flush()
        rows, waiting = 0, bytearray()
        try:
            for line in lines(Held(file)):
                waiting += line
                waiting += b"\n"
                rows += 1
                if len(waiting) > _BYTES:
                    out.write(waiting)
                    waiting.clear()
        finally:
            out.write(waiting)
            out.flush()
    return rows


def main() -> None:
    """Read the file that the arguments name: its name, most MB of memory, most seconds."""
    path, memory_mb, seconds = sys.argv[1], *map(int, sys.argv[2:4])
    confine(memory_mb, seconds)
    out = sys.stdout.buffer
    out.write(STARTED)
    out.flush()
    try:
        verdict: dict[str, Any] = {"rows": answer(path, out)}
    except BrokenPipeError:
        verdict = {"left": "nobody reads any more"}
    except MemoryError:
        verdict = {"too_large": f"more memory than FILE_READER_MB = {memory_mb} is needed"}
    except BadEvent as error:
        verdict = {"damaged": f"its schema is {error.detail}"}
    except Exception as error:  # noqa: BLE001 - the library has no error of its own for what is damaged
        verdict = {"damaged": str(error) or type(error).__name__}
    os.write(2, b"\n" + json.dumps(verdict).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
