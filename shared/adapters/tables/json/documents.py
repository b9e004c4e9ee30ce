"""JSON documents as lines of JSON, in bounded memory: objects over several lines, and arrays of readings in an object.

The readings are the elements of the first array in the object, or in an object of its, that holds any: of objects
({"results": [{...}]}), or of rows under a list of names ({"fields": [...], "data": [[...]]}). A device that the object
names beside them is that of those that name none, and what it calls its fields ({"channel": {"field1": "Level"}}) is
what they are called.
Brackets are followed here and not by a streaming parser, so that a dead letter has the bytes that were sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from shared.adapters.tables.json.array import TOKEN, elements, line_of
from shared.adapters.tables.source import BLOCK, LONGEST_LINE, Bytes
from shared.core.intake.columns import DEVICE, Columns
from shared.core.intake.envelopes.envelope import opener_of
from shared.core.intake.layouts.builtin import BUILTIN
from shared.core.intake.layouts.documents import document_names
from shared.core.intake.layouts.objects import Objects, flat
from shared.core.intake.messages.json_bodies import value_of
from shared.errors import BadEvent

_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*:\s*\Z', re.DOTALL)
_LONGEST_KEY = 100
_BLANKS = b" \t\r\n\xef\xbb\xbf"
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_IN_OBJECT, _IN_INNER = 2, 3  # brackets open in an array that is a value of the document's object, or of one in it
_NAMES = ("fields", "columns")
_MOST_ARRAYS, _MOST_KEYS = 16, 200  # of an object, among which the readings are looked for
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_row = msgspec.json.Decoder(list[msgspec.Raw]).decode
_names = msgspec.json.Decoder(list[str]).decode
_labels = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What an object says of the readings that it wraps.

    Args:
        fields: Names of a row's cells, none where the readings are objects.
        device: Key and value that name the device, empty where the object names none.
        called: Names of fields, by the keys that stand for them.
    """

    fields: tuple[str, ...] = ()
    device: dict[str, msgspec.Raw] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)

    def reading(self, element: bytes) -> bytes:
        """One element as an object of its own; as it stands where it is no reading."""
        if not (self.fields or self.device or self.called):
            return element
        try:
            found = dict(zip(self.fields, _row(element), strict=True)) if self.fields else _object(element)
        except ValueError:
            return element
        return msgspec.json.encode({**self.device, **{self.called.get(key, key): found[key] for key in found}})


class Documents:
    """Recognises documents by the beginning of a file, for the names of one scenario and the layouts of the file."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._scenario = objects.scenario
        self._columns = Columns(objects.scenario)

    def blocks(self, source: Bytes, head: bytes, size: int = BLOCK) -> Iterator[bytes] | None:
        """A file of documents as blocks of whole lines, None where it is one of lines.

        A document that does not end is told as a problem of the source, and its last reading lacks its line end.

        Args:
            source: At the file's beginning.
            head: What was read ahead of it, from its first bracket on.
            size: Bytes read at once.
        """
        reader = _Reader(self)
        first = reader.step(head, 0)
        line = head.find(b"\n")
        wrapped = reader.wrapping is not None
        return _blocks(source, _Reader(self), size) if wrapped or -1 < line < (first or len(head)) else None

    def wrapping(self, before: bytes, data: bytes, place: int, depth: int) -> Wrapping | None:
        """What an object says of the array that begins at `place`, None where that holds no readings.

        Args:
            before: The object up to that array.
            data: What has been read, from anywhere before `place` on.
            place: Behind the array's bracket.
            depth: Brackets that are open there; where it is one of an inner object's, its elements need a channel.
        """
        key = _KEY.search(before, max(0, len(before) - _LONGEST_KEY))
        first, _, _ = elements(data, place, 1)
        if key is None or not first:
            return None
        try:
            outer = _object(before.lstrip(_BLANKS) + b"[]" + b"}" * (depth - 1))
            found = self._said(outer, first[0])
            inner = self._columns.layout(tuple(_object(found.reading(first[0]))))
            own = self._columns.layout(tuple(outer))
            planned = self._plan(found.reading(first[0]))
        except (ValueError, BadEvent):
            return None
        known = planned or bool(inner.channels) or (depth == _IN_OBJECT and any(pick >= 0 for pick in inner.picks))
        return found if known and not own.channels and opener_of(tuple(outer)) is None else None

    def _plan(self, reading: bytes) -> bool:
        """Whether a layout of the file finds channels in a reading as it stands."""
        value = value_of(reading)
        plan = self._objects.plan(tuple(flat(value)), value) if isinstance(value, dict) else None
        return plan is not None and bool(plan.layout.channels)

    def _said(self, outer: dict[str, msgspec.Raw], first: bytes) -> Wrapping:
        rows = first.startswith(b"[")
        fields = next((tuple(_names(outer[name])) for name in _NAMES if rows and name in outer), ())
        labels = _labels(outer["channel"]) if "channel" in outer else {}
        labelled = {key: str(name) for key, name in labels.items() if re.fullmatch(r"field\d+", key)}
        bare = Wrapping(fields, called=labelled).reading(first)
        names = [labelled.get(name, name) for name in (*outer, *_object(bare))]
        layouts = () if self._plan(bare) else (*self._scenario.layouts, *BUILTIN)
        meant = document_names(self._scenario, layouts, names)
        place = self._columns.layout([meant.get(name, name) for name in outer]).picks[DEVICE]
        device = {} if place < 0 else {self._scenario.key: list(outer.values())[place]}
        if not device and labels.get("id") is not None:
            device = {self._scenario.key: msgspec.Raw(msgspec.json.encode(str(labels["id"])))}
        return Wrapping(fields, device, {**meant, **{key: meant.get(name, name) for key, name in labelled.items()}})


def _blocks(source: Bytes, reader: _Reader, size: int) -> Iterator[bytes]:
    rest = b""
    while part := source.read(size):
        rest = reader.take(rest + part)
        if reader.lines:
            yield b"".join(line + b"\n" for line in reader.lines)
        if len(rest) > LONGEST_LINE:
            source.reason, source.problem = "too_large", f"a value is longer than {LONGEST_LINE} bytes"
            break
    if source.problem is None and (reader.wrapping or reader.behind or b"{" in rest or b"[" in rest):
        source.problem = "the JSON document does not end"
    if rest.strip() and not reader.behind:
        yield line_of(rest)[: LONGEST_LINE + 1]


class _Reader:
    """Follows the brackets of documents, one after the other.

    Attributes:
        lines: Readings found by the newest `take`.
        wrapping: Of the array of readings that is open.
        around: Brackets that are open around it.
        behind: Brackets that are open behind such an array.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.lines: list[bytes] = []
        self.wrapping: Wrapping | None = None
        self.around = self.behind = 0

    def take(self, data: bytes) -> bytes:
        """Find readings; what of the data cannot be told yet."""
        self.lines, place, before = [], 0, -1
        while place != before:
            before, place = place, self.step(data, place)
        return data[place:]

    def step(self, data: bytes, place: int) -> int:
        """Read one thing: where the next one begins, `place` where that cannot be told yet."""
        if self.wrapping is not None:
            return self._elements(data, place, self.wrapping)
        return self._pass_over(data, place) if self.behind else self._object(data, place)

    def _elements(self, data: bytes, place: int, wrapping: Wrapping) -> int:
        found, place, ended = elements(data, place)
        self.lines += [wrapping.reading(element) for element in found if element]
        if ended:
            self.wrapping, self.behind = None, self.around
        return place

    def _pass_over(self, data: bytes, place: int) -> int:
        for token in TOKEN.finditer(data, place):
            if token[0] == b'"':  # of a text that does not end here
                break
            self.behind += _STEPS.get(token[0], 0)
            place = token.end()
            if self.behind == 0:
                break
        return place

    def _object(self, data: bytes, place: int) -> int:
        """One object, or up to the array of readings in it."""
        depth = arrays = keys = 0
        for token in TOKEN.finditer(data, place):
            sign = token[0]
            if sign == b'"':
                break
            depth += _STEPS.get(sign, 0)
            keys += sign == b"," and depth == 1
            inside = sign == b"[" and _IN_OBJECT <= depth <= _IN_INNER
            arrays += inside
            if inside and arrays <= _MOST_ARRAYS and keys <= _MOST_KEYS:
                self.wrapping = self._documents.wrapping(data[place : token.start()], data, token.end(), depth)
                if self.wrapping is not None:
                    self.around = depth - 1
                    return token.end()
            if depth <= 0 and sign in b"]}":
                self.lines.append(line_of(data[place : token.end()]).strip(_BLANKS))
                return token.end()
        return place
