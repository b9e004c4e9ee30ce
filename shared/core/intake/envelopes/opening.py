"""What envelopes say of the records that came out of them: who sent them, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.core.intake.envelopes.envelope import Envelope
from shared.core.intake.envelopes.instants import UNKNOWN, seconds_of
from shared.core.intake.messages.identities import Identities
from shared.core.intake.messages.records import Sent
from shared.core.intake.readings import Longs
from shared.core.intake.times.timestamps import ABSENT, OK, Stamps
from shared.errors import BadEvent


def check_telemetry(*, telemetry: bool) -> None:
    """Refuse what no device sent.

    Raises:
        BadEvent: `not_telemetry`.
    """
    if not telemetry:
        raise BadEvent("not_telemetry", "the hub tells of a device's twin, life or connection")


def through(envelope: Envelope, sent: Sent, identities: Identities) -> Sent:
    """What is known of a record once its envelope has been opened; the innermost envelope tells the time.

    Raises:
        BadEvent: `not_telemetry`, no device sent it; `identity_mismatch`, the envelope names another device than the
            one that sent it.
    """
    check_telemetry(telemetry=envelope.telemetry)
    identity = None if sent.identity is None else identities.speaker(envelope.identity, sent.identity)
    times = (envelope.created, envelope.enqueued)
    if times == (None, None):
        times = (sent.created, sent.enqueued)
    return Sent(identity or envelope.identity, sent.limit, *times)


def take_from_envelopes(sent: Sequence[Sent], stamps: Stamps, limits: Longs, *, live: bool, fall_back: bool) -> None:
    """Lower each record's limit to its enqueued time, and give those without a time one that is known of them.

    Args:
        sent: What is known of each record, n of them.
        stamps: Their times, changed.
        limits: Minutes since 1970 that brought them, changed, int64, shape (n,).
        live: Whether the limits are the minutes in which the hub took the records.
        fall_back: Whether a record without a time takes the time of its making, else the enqueued time.
    """
    enqueued = seconds_of([each.enqueued for each in sent])
    np.copyto(limits, np.minimum(limits, enqueued // 60), where=enqueued != UNKNOWN)
    absent = np.flatnonzero(stamps.fault == ABSENT)
    if not fall_back or not len(absent):
        return
    taken = np.where(enqueued // 60 == limits, enqueued, limits * 60) if live else enqueued
    created = seconds_of([sent[i].created for i in absent.tolist()])
    seconds = np.where(created == UNKNOWN, taken[absent], created)
    known = np.flatnonzero(seconds != UNKNOWN)
    minute, second = np.divmod(seconds[known], 60)
    fault = np.full(len(known), OK, np.uint8)
    stamps.put(absent[known], Stamps(minute, np.zeros(len(known), np.int64), fault, second))
