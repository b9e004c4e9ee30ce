"""The log of a partition: a file of records that only grows, with a CRC for each.

Layout: 16 bytes of file header, then per record `length u32, crc u32, enqueued_ms i64, message`, big-endian. The CRC
covers the sequence number too, which is the record's place in the file. A record's position in the file serves as the
event's offset: it grows, and nothing but the log can guess it.

What is here works offline and beside a running endpoint; `partition_log.PartitionLog` belongs to the endpoint alone.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.errors import ConfigError, ContractBroken

MAGIC = b"AIRLOOP-LOG\x00\x00\x00\x00\x01"  # the last four bytes are the format version
MAX_MESSAGE = 2 << 20  # bytes; above anything the endpoint accepts, so that a torn length is recognised

HEAD = struct.Struct(">IIq")
_SEED = struct.Struct(">qqI")


class Record(NamedTuple):
    """One event as the log keeps it; `message` is the AMQP message that consumers get (`local.eventhub.amqp`)."""

    sequence: int
    enqueued_ms: int
    message: bytes


class HubInfo(NamedTuple):
    """A hub as its directory describes it; `created_at_ms` tells a recreated hub from its predecessor."""

    name: str
    partitions: int
    created_at_ms: int


class Place(NamedTuple):
    """Before a record: its position in the file, and its sequence number."""

    position: int = len(MAGIC)
    sequence: int = 0


START = Place()


def log_path(data: Path, hub: str, partition: int) -> Path:
    """Where the log of a partition lies in a data directory."""
    return data / hub / f"{partition:04d}.log"


def hub_info(data: Path, hub: str) -> HubInfo | None:
    """What the data directory says about a hub; None if it has none of that name.

    Raises:
        ContractBroken: If the description cannot be read.
    """
    path = data / hub / "hub.json"
    try:
        found = json.loads(path.read_text())
        return HubInfo(str(found["name"]), int(found["partitions"]), int(found["created_at_ms"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ContractBroken(f"{path} does not describe a hub") from error


def create_hub(data: Path, hub: str, partitions: int) -> HubInfo:
    """The hub's description, written now if the directory has none.

    Raises:
        ConfigError: If the hub exists with another number of partitions.
    """
    info = hub_info(data, hub)
    if info is None:
        info = HubInfo(hub, partitions, time.time_ns() // 1_000_000)
        (data / hub).mkdir(parents=True, exist_ok=True)
        draft = data / hub / "hub.json.new"
        draft.write_text(json.dumps(info._asdict()) + "\n")
        draft.replace(data / hub / "hub.json")
    if info.partitions != partitions:
        raise ConfigError(f"hub {hub} in {data} has {info.partitions} partitions, not {partitions}")
    return info


def read(path: Path) -> Iterator[Record]:
    """All complete records of a log file in their order; a torn last one is left out.

    Raises:
        ContractBroken: If the file is not a log, or a record that is not the last is damaged.
    """
    with path.open("rb", buffering=1 << 20) as file:
        for _, record in scan(file, path, START):
            yield record


def end_of(path: Path, known: Place = START) -> Place:
    """Where a log file ends: only what follows a place that is known is read.

    Raises:
        ContractBroken: If the file is not a log, or a record that is not the last is damaged.
    """
    with path.open("rb", buffering=1 << 20) as file:
        for position, record in scan(file, path, known):
            known = Place(position + HEAD.size + len(record.message), record.sequence + 1)
    return known


def scan(file: BinaryIO, path: Path, place: Place) -> Iterator[tuple[int, Record]]:
    """Complete records behind a place, each with its position in the file."""
    size = os.fstat(file.fileno()).st_size
    if size < len(MAGIC):
        return
    if file.read(len(MAGIC)) != MAGIC:
        raise ContractBroken(f"{path} is not an event log of version 1")
    position, sequence = place
    file.seek(position)
    while position + HEAD.size <= size:
        length, crc, enqueued_ms = HEAD.unpack(file.read(HEAD.size))
        end = position + HEAD.size + length
        torn = end > size and length <= MAX_MESSAGE
        message = b"" if torn or length > MAX_MESSAGE else file.read(length)
        if torn or length > MAX_MESSAGE or crc != checksum(sequence, enqueued_ms, message):
            if torn or end == size or _only_zeros(file, position + HEAD.size):
                return
            raise ContractBroken(f"{path}: record {sequence} at byte {position} is damaged and is not the last one")
        yield position, Record(sequence, enqueued_ms, message)
        position, sequence = end, sequence + 1


def checksum(sequence: int, enqueued_ms: int, message: bytes) -> int:
    """CRC of a record, its place in the file included."""
    return zlib.crc32(message, zlib.crc32(_SEED.pack(sequence, enqueued_ms, len(message))))


def _only_zeros(file: BinaryIO, start: int) -> bool:
    """Whether a power cut left a hole: the file grew, but its last blocks were never written."""
    file.seek(start)
    return all(not any(chunk) for chunk in iter(lambda: file.read(1 << 16), b""))
