"""The decision log: entries that carry the hash of the one before, in files that name the one after.

A file is closed by an entry of kind CLOSED that names the next one. Two writers whose clocks stand in different months
therefore never write to two files at once, and a clock that runs backwards changes nothing in the order. The chain
begins in FIRST, which holds nothing but the name of the first month's file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from shared.errors import ContractBroken
from shared.validation import decoded

CONTAINER = "ledger"
FIRST = "0000-00"
CLOSED = "closed"
ORIGIN = "0" * 64  # what the first entry gives as the hash before it
MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was decided or done.

    Args:
        scenario: Name of the scenario.
        position: Its place in the ledger, from 0, without gaps.
        at_ms: Wall time in milliseconds since 1970; may run backwards, the position never does.
        kind: What it is, such as "decision"; with the key its identity.
        key: What it is about, such as a job's name.
        actor: Who did it.
        data: Plain JSON.
        previous: Hash of the entry before, hexadecimal.
        hash: SHA-256 over all other fields as JSON with sorted keys, hexadecimal.
    """

    scenario: str
    position: int
    at_ms: int
    kind: str
    key: str
    actor: str
    data: dict[str, Any]
    previous: str
    hash: str


class Tail(msgspec.Struct, frozen=True):
    """Where a ledger goes on.

    Args:
        position: Place of the next entry.
        previous: Hash of the newest entry.
        file: Name of the file that takes the next entry, without ending; a closed one never does.
    """

    position: int = 0
    previous: str = ORIGIN
    file: str = FIRST


def month_of(at_ms: int) -> str:
    """Year and month (UTC) of a time in milliseconds since 1970, such as "2026-11"."""
    return datetime.fromtimestamp(at_ms // 1000, timezone.utc).strftime("%Y-%m")


def blob_of(scenario: str, file: str) -> str:
    """Name of a file's blob."""
    return f"{scenario}/{file}.jsonl"


def file_of(scenario: str, blob: str) -> str:
    """Name of the file that a blob holds.

    Raises:
        ContractBroken: A ledger has no such file.
    """
    file = blob.removeprefix(f"{scenario}/").removesuffix(".jsonl")
    if blob != blob_of(scenario, file) or not MONTH.fullmatch(file):
        raise ContractBroken(f"{CONTAINER}/{blob}: not a ledger's file, these are named YYYY-MM.jsonl")
    return file


def make(scenario: str, tail: Tail, at_ms: int, kind: str, key: str, data: Mapping[str, Any], actor: str) -> Entry:
    """The entry that follows on `tail`; NaN becomes null, structs and tuples become what JSON has for them."""
    body = {
        "scenario": scenario,
        "position": tail.position,
        "at_ms": at_ms,
        "kind": kind,
        "key": key,
        "actor": actor,
        "data": msgspec.json.decode(msgspec.json.encode(data)),
        "previous": tail.previous,
    }
    return Entry(**body, hash=_hash(body))


def closing(scenario: str, tail: Tail, at_ms: int, following: str) -> Entry:
    """The entry that closes a file and names the next."""
    return make(scenario, tail, at_ms, CLOSED, tail.file, {"next": following}, "airloop")


def after(tail: Tail, entry: Entry) -> Tail:
    """Where the ledger goes on behind an entry."""
    file = entry.data["next"] if entry.kind == CLOSED else tail.file
    return Tail(entry.position + 1, entry.hash, file)


def line(entry: Entry) -> bytes:
    """An entry as its line of the file: the one and only way to write it."""
    return msgspec.json.encode(entry, order="deterministic") + b"\n"


def read(scenario: str, raw: bytes, tail: Tail) -> tuple[list[Entry], Tail]:
    """Entries of the file that `tail` names, and where the ledger goes on behind them.

    Raises:
        ContractBroken: A byte is not as it was written; names file, line and what differs.
    """
    name = f"{CONTAINER}/{blob_of(scenario, tail.file)}"
    file, entries = tail.file, []
    for number, text in enumerate(_lines(name, raw), 1):
        where = f"{name} line {number}"
        if tail.file != file:
            raise ContractBroken(f"{where}: the file was closed by the line before")
        entry = _entry(where, text)
        _check(where, entry, scenario, tail)
        entries.append(entry)
        tail = after(tail, entry)
    return entries, tail


def expect(scenario: str, file: str, tail: Tail) -> None:
    """Check that a file is the one that comes next.

    Raises:
        ContractBroken: It is not.
    """
    if file != tail.file:
        wanted = blob_of(scenario, tail.file)
        raise ContractBroken(f"{CONTAINER}/{blob_of(scenario, file)}: comes next, but {wanted} should")


def find(entries: Sequence[Entry], kind: str, key: str) -> Entry | None:
    """The entry of a kind with a key, None when there is none."""
    return next((entry for entry in reversed(entries) if entry.kind == kind and entry.key == key), None)


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def _lines(name: str, raw: bytes) -> list[bytes]:
    *lines, rest = raw.split(b"\n")
    if rest:
        raise ContractBroken(f"{name} line {len(lines) + 1}: has no end")
    if not lines:
        raise ContractBroken(f"{name}: is empty")
    return lines


def _entry(where: str, text: bytes) -> Entry:
    entry = decoded(text, Entry, where)
    if line(entry) != text + b"\n":
        raise ContractBroken(f"{where}: is not written as a ledger writes it")
    return entry


def _check(where: str, entry: Entry, scenario: str, tail: Tail) -> None:
    body = {name: getattr(entry, name) for name in Entry.__struct_fields__ if name != "hash"}
    wanted = {"scenario": scenario, "position": tail.position, "previous": tail.previous, "hash": _hash(body)}
    for name, value in wanted.items():
        if (found := getattr(entry, name)) != value:
            raise ContractBroken(f"{where}: {name} is {found!r}, the chain gives {value!r}")
    if entry.kind == CLOSED and not _follows(tail.file, entry.data.get("next")):
        raise ContractBroken(f"{where}: next is {entry.data.get('next')!r}, no month after {tail.file}")


def _follows(file: str, following: object) -> bool:
    return isinstance(following, str) and bool(MONTH.fullmatch(following)) and following > file
