"""Messages as devices send them, and what transport, faulty firmware and bad intentions make of them, from a seed.

`python -m tests.unit.core.intake.messages.mutation COUNT FILE [FOLDER]` decodes that many and writes one line of
reasons for each, so that two versions of Python can be compared line by line; FOLDER holds further bodies to begin
with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from shared.adapters.stores.scenario_files import load
from shared.core.intake.envelopes.told import Told
from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.messages.json_bodies import DEEPEST
from shared.core.intake.readings import Parsed
from shared.core.scenario import with_overrides

AIR = with_overrides(load("air_quality"), trusted_gateways=("gw-*",))
NOW = int(np.datetime64("2026-11-20T16:00", "m").astype(np.int64))
AT_ONCE = 1000
MADE = Told(created="2026-11-20T14:58:00Z")
LONGEST_SEED = 16_384

BODIES = [
    b'{"device_id": "a", "timestamp": "2026-11-20T15:00:00Z", "temp": 12.5, "pm25": 30}',
    b'{"device_id": "a", "timestamp": 1795186800123, "temp": "-0.7", "atmos_press": 102.3, "wind_spd": "4.4"}',
    b'{"messageId": 1, "deviceId": "Raspberry Pi Web Client", "temperature": 30.8, "humidity": 63.8}',
    b'{"device_id":"a","timestamp":"2026-11-20T15:00Z","pm25":30,"temp":NaN,"t":{"a":[1,2,{"b":null}]}}',
    b'{"Site":"x","TS (UTC)":"2026-11-20T15:00","Temp [\xc2\xb0F]":"50","PM2.5":1e1}',
    b'[{"deviceId":"leaf-1","temperature":21.0,"timestamp":"2026-11-20T10:00:00Z"},{"deviceId":"leaf-2","pm25":2}]',
    b'{"d":{"id":"x"},"ts":"20261120T150000Z","readings":[{"n":"pm25","v":12.1},{"n":"temp","v":"18,5"}]}',
    '{"device_id":"Stra\u00dfe \U0001f321","timestamp":"2026-11-20 23:59:60+08:00","wind_dir":"N","pm25":"7"}'.encode(),
    b"device_id,timestamp,pm25\na,2026-11-20T15:00:00Z,30\n",
    b'{"temp":20,"ts":1795186800000000}\n{"device_id":"a","temp":19,"ts":"20261120150000"}\n\0',
    b'{"temp":-nan,"humidity":50,"pm25":nan(ind)}\0',
    b'{"Body":{"device_id":"leaf-1","temp":1},"SystemProperties":{"connectionDeviceId":"gw-1"}}',
    base64.b64decode(
        "H4sIAAAAAAACA4uuVipJzS1ILUosKS1KVbIyMtQz0FEqycxNLS5JzC1QsjI0tzQ1tDCzMDCo1alWKsg1MgUqqo0FANm+La44AAAA"
    ),
    b"",
]
DEPTHS = (2, 30, DEEPEST - 2, DEEPEST - 1, DEEPEST, DEEPEST + 1, DEEPEST + 2, 200, 900, 1000, 1100, 3000, 8000)
TOKENS = [
    b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"1.", b".5", b"+1", b"0x1F", b"1_000", b"null", b"True",
    b"undefined", b'""', b'" "', b'"nan"', b'"1e400"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x41"',
    b'"\xff"', b'"\xed\xa0\x80"', b'"\x00"', b'"\t"', b"9" * 30, b"9" * 5000, b"-" + b"9" * 400, b"1e-400", b"[]",
    b"{}", b"[1]", b'{"v":1}', b"'a'", b"//x", b'"2099-01-01T00:00Z"', b'"2026-02-30T00:00Z"', b'"2026-11-20T24:00Z"',
    b'"2026-W47-5"', b'"2026-324"', b'"0000-00-00"', b'"2026-11-20T15:00:00.123456789123Z"',
    b'"2026-11-20T15:00:00+99:99"', b'"\xd9\xa1\xd9\xa2"', b'"\xef\xbc\x91"', b'"1795186800"', b'"20261120150000"',
    b"nan", b"-nan(ind)", b"inf", b"+Infinity", b"202611201500", b"20261320150000", b"1795186800123456789",
    b"1795186800", b"1795186800123456", b"-1795186800", b'"24/11/2026"', b'"2026-11-20T15:00:00 Europe/Berlin"',
    b'"=1+1"', b'"' + b"x" * 200 + b'"', '"\u2028"'.encode(), '"\u212a"'.encode(), '"\u0130"'.encode(),
    '"\U000e0001"'.encode(),
]  # fmt: skip
BYTES = [
    b'"', b"\\", b"\\u", b"[", b"]", b"{", b"}", b",", b":", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xfe\xff", b"\r\n",
    b"\x1f\x8b", b'"temp":', b'"Temp":', b'"pm25":', b'"device_id":', b'"timestamp":', b"\\ud83d", b"\\ude00", b"e",
    b"-", b".", b" ", b"\x0b", b"\xc2\xa0", b"\0", b"}\n{", b"\n{}", b"nan", b'"Body":',
]  # fmt: skip
STARTS = frozenset({b'"', b"t", b"f", b"n", b"-", b"[", b"{", b"N", *(b"%d" % digit for digit in range(10))})
KEYS = (b"device_id", b"deviceId", b"timestamp", b"temp", b"pm25", b"humidity", b"wind_dir", b"atmos_press")
ENCODED = re.compile(rb'"body(?:_base64)?": ?"([A-Za-z0-9+/]+={0,2})"', re.IGNORECASE)
Choice = TypeVar("Choice")


def seeds_of(folder: str | None) -> list[bytes]:
    """Bodies to begin with: ours, and as many of a folder."""
    further = further_seeds(Path(folder)) if folder else []
    return BODIES * (1 + len(further) // len(BODIES)) + further


def further_seeds(folder: Path) -> list[bytes]:
    """Bodies in a folder's files of JSON: whole ones that are small enough, their lines, and bodies in their texts."""
    found: list[bytes] = []
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        found += [raw] if b"{" in raw and len(raw) <= LONGEST_SEED else []
        lines = [line for line in raw.splitlines()[:50] if b"{" in line and len(line) <= LONGEST_SEED]
        found += [*lines, *(base64.b64decode(body) for line in lines for body in ENCODED.findall(line))]
    return found


def messages(seed: int, count: int, seeds: Sequence[bytes] = BODIES) -> Iterator[bytes]:
    """That many messages; the same for the same arguments, in every version of Python."""
    source = random.Random(seed)
    for _ in range(count):
        data = _one_of(source, seeds)
        for _ in range(_one_of(source, (0, 1, 1, 1, 2, 2, 3, 5))):
            data = _one_of(source, MUTATIONS)(source, data)
        yield data


def _one_of(source: random.Random, choices: Sequence[Choice]) -> Choice:
    return choices[source.randrange(len(choices))]


def _put(data: bytes, at: int, until: int, new: bytes) -> bytes:
    return data[:at] + new + data[until:]


def _value(source: random.Random, data: bytes) -> bytes:
    """Something else stands where a value begins."""
    places = [
        place for place in range(1, len(data)) if data[place - 1] in b":,[ " and data[place : place + 1] in STARTS
    ]
    at = _one_of(source, places or [0])
    end = at
    while end < len(data) and data[end] not in b",}]":
        end += 1
    return _put(data, at, end, _one_of(source, TOKENS))


def _deep(source: random.Random, data: bytes) -> bytes:
    """Brackets about as deep as is allowed, or far deeper, closed or not, between others or in a text."""
    opening, closing = _one_of(source, ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"]":', b"}]"), (b'["[", ', b"]")))
    depth = _one_of(source, DEPTHS) // (2 if opening.startswith(b"[{") else 1)
    nest = opening * depth + b"1" + closing * (depth if source.randrange(4) else depth // 2)
    if not source.randrange(6):
        nest = json.dumps(nest.decode()).encode()
    at = data.find(b":", source.randrange(len(data) + 1)) + 1
    return _put(data, at, at, nest + _one_of(source, (b",", b', "b":', b"")))


def _bytes(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    return _put(data, at, at + _one_of(source, (0, 0, 1, 4)), _one_of(source, BYTES))


def _bit(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    return _put(data, at, at + 1, bytes([data[at] ^ 1 << source.randrange(8)])) if at < len(data) else data


def _cut(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    return _put(data, at, at + source.randrange(1, 12), b"") if source.randrange(4) else data[:at]


def _copy(source: random.Random, data: bytes) -> bytes:
    """A part stands somewhere else once more: keys twice, texts in texts."""
    at, start = source.randrange(len(data) + 1), source.randrange(len(data) + 1)
    return _put(data, at, at, data[start : start + source.randrange(1, 60)])


def _array(source: random.Random, data: bytes) -> bytes:
    """An array of it, with something else among the elements."""
    parts = [data] * source.randrange(1, 4)
    parts.insert(source.randrange(len(parts) + 1), _one_of(source, (*TOKENS, *BODIES)))
    return b"[" + b",".join(parts) + _one_of(source, (b"]", b"]", b"]", b",]", b"", b"] x"))


def _key(source: random.Random, data: bytes) -> bytes:
    """A key is written otherwise, or is another one."""
    old = _one_of(source, KEYS)
    return data.replace(old, _one_of(source, (*KEYS, old.upper(), old.title(), b"x" * 300, b"\\u0070m25", b"")), 1)


Change: TypeAlias = Callable[[random.Random, bytes], bytes]
MUTATIONS: Sequence[Change] = (_value, _value, _value, _deep, _bytes, _bytes, _bit, _cut, _copy, _array, _key)


def decoded(seed: int, count: int, seeds: Sequence[bytes] = BODIES) -> Iterator[tuple[Sequence[bytes], Parsed]]:
    """Messages, a batch at a time, and what the decoder of the air scenario makes of them; every third has a sender.

    Some were told to be made earlier or to be none of a device's; what begins as if it was packed was told to be.
    """
    decoder, source = Decoder(AIR), messages(seed, count, seeds)
    while batch := list(islice(source, AT_ONCE)):
        yield (
            batch,
            decoder.decode_many(
                batch,
                positions=range(len(batch)),
                identities=[_SENDERS[place % 6] for place in range(len(batch))],
                not_after_minutes=[NOW] * len(batch),
                told=[_told(body, place) for place, body in enumerate(batch)],
            ),
        )


_SENDERS = ("a", None, None, "gw-1", None, None)


def _told(body: bytes, place: int) -> Told:
    if body.startswith(b"\x1f\x8b"):
        return Told(encoding="gzip")
    return MADE if place % 5 == 0 else Told(telemetry=place % 101 != 0)


def words(batch: Sequence[bytes], parsed: Parsed) -> Iterator[str]:
    """What became of each message: its digest, readings accepted, and reasons of records refused."""
    accepted = Counter(position >> 16 for position in parsed.readings.position.tolist())
    refused: dict[int, list[str]] = {}
    for rejection in parsed.rejected:
        refused.setdefault(rejection.position >> 16, []).append(rejection.reason)
    for place, body in enumerate(batch):
        digest = hashlib.sha256(body).hexdigest()[:12]
        yield f"{digest} {accepted[place]} {' '.join(refused.get(place, []))}"


def main() -> None:
    """Decode many, and write down what became of each."""
    count, path, *folder = sys.argv[1:]
    seeds = seeds_of(folder[0] if folder else None)
    reasons: Counter[str] = Counter()
    with Path(path).open("w") as out:
        for batch, parsed in decoded(1, int(count), seeds):
            reasons.update(rejection.reason for rejection in parsed.rejected)
            reasons["accepted"] += len(parsed.readings)
            out.writelines(f"{line}\n" for line in words(batch, parsed))
    sys.stdout.write(json.dumps({"python": sys.version.split()[0], "messages": int(count), **reasons}) + "\n")


if __name__ == "__main__":
    main()
