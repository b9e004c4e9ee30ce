"""Mutated messages: none lets an exception escape, each is accepted or refused once, and the reasons are known ones.

The suite takes a few thousand; MUTATED_MESSAGES asks for more, MUTATED_FOLDER names a folder of further bodies.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter

import numpy as np
import pytest

from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.messages.json_bodies import DEEPEST
from shared.core.intake.reasons import REASONS
from tests.unit.core.intake.messages.mutation import AIR, NOW, decoded, messages, seeds_of

COUNT = int(os.environ.get("MUTATED_MESSAGES", "6000"))
FOLDER = os.environ.get("MUTATED_FOLDER")


def test_each_mutated_message_is_accepted_or_refused_once_and_keeps_its_bytes() -> None:
    reasons: Counter[str] = Counter()
    for batch, parsed in decoded(COUNT, COUNT, seeds_of(FOLDER)):
        taken, refused = parsed.readings.position.tolist(), [r.position for r in parsed.rejected]
        assert taken == sorted(set(taken))
        assert refused == sorted(set(refused))
        assert not set(taken) & set(refused)
        assert {position >> 16 for position in taken + refused} == set(range(len(batch)))
        assert np.isfinite(parsed.readings.values).any(axis=1).all()
        assert not np.isinf(parsed.readings.values).any()
        for rejection in parsed.rejected:
            assert rejection.detail.isprintable()
            message = batch[rejection.position >> 16]
            assert rejection.raw in message or (message.startswith(b"\x1f\x8b") and b'"Body":' in rejection.raw)
        reasons.update(rejection.reason for rejection in parsed.rejected)
        reasons["accepted"] += len(taken)
    assert reasons.keys() <= REASONS.keys() | {"accepted"}
    assert len(reasons) > 16, "the mutations reach what can be reached"
    assert reasons["accepted"] > COUNT // 20


def test_a_seed_gives_the_same_messages_in_every_version() -> None:
    """What two versions of Python make of them can be compared line by line only then."""
    found = list(messages(7, 200))
    assert found == list(messages(7, 200))
    assert found != list(messages(8, 200))
    assert hashlib.sha256(b"\n".join(found)).hexdigest()[:16] == "eed9f536baabcfd7"


OPEN = {
    "lists": "[",
    "objects": '{"a":',
    "lists and texts": '["]",',
    "escapes": '["\\"]",',
    "backslashes": '["\\\\", "]",',
}
CLOSE = {"[": "]", "{": "}"}


@pytest.mark.parametrize("opening", OPEN.values(), ids=OPEN)
@pytest.mark.parametrize("array", [False, True])
def test_levels_are_counted_outside_of_texts_and_the_limit_is_ours(opening: str, array: bool) -> None:
    """The decoder's own limit is the interpreter's, which differs between versions."""
    allowed = DEEPEST - 1 - array
    for levels, reason in ((allowed, "missing_device"), (allowed + 1, "too_deep"), (5000, "too_deep")):
        note = opening * levels + "1" + CLOSE[opening[0]] * levels
        body = f'{{"note":{note}}}'.encode()
        assert reasons_of(b"[" + body + b"]" if array else body) == [reason]
        assert reasons_of(body[: len(body) // 2]) == ["too_deep" if levels == 5000 else "not_json"]


@pytest.mark.parametrize(
    "note",
    ['"' + "[" * 5000 + '"', '"\\"' + "[{" * 5000 + '"', '["' + "[" * 5000 + '\\\\"]', "[" + "[]," * 5000 + "{}]"],
)
def test_many_brackets_that_are_not_deep_are_fine(note: str) -> None:
    assert reasons_of(f'{{"note":{note}}}'.encode()) == ["missing_device"]


def reasons_of(body: bytes) -> list[str]:
    parsed = Decoder(AIR).decode(body, position=1, identity=None, not_after_minute=NOW)
    return [rejection.reason for rejection in parsed.rejected]
