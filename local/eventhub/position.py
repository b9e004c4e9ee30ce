"""Where a consumer starts: the selector of its source filter against the partition's log."""

import re
from typing import Any

from local.eventhub.amqp.encode import Described
from local.eventhub.amqp.errors import LinkRefused
from local.eventhub.broker import Partition

_SELECTOR = re.compile(r"amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'([^']*)'")


def start_sequence(partition: Partition, filters: Any) -> int:
    """Sequence number of the first event a consumer gets; an expired position means the oldest event kept.

    Args:
        partition: What is to be read.
        filters: The filter set of the link's source, as decoded; None and {} mean all events.

    Raises:
        LinkRefused: If a filter is not understood, or asks for a position that does not exist yet (as a checkpoint
            does that outlived its hub).
    """
    if filters is not None and not isinstance(filters, dict):
        raise LinkRefused("amqp:invalid-field", "The filter of a source is no map.")
    start = 0
    for value in (filters or {}).values():
        text = value.value if isinstance(value, Described) else value
        start = max(start, _start(partition, text))
    return max(start, partition.begin)


def _start(partition: Partition, selector: Any) -> int:
    match = _SELECTOR.fullmatch(selector.strip()) if isinstance(selector, str) else None
    if match is None:
        raise LinkRefused("amqp:invalid-field", f"The filter {str(selector)[:100]!r} is not supported.")
    kind, inclusive, text = match[1], match[2] == ">=", match[3]
    if text == "@latest":
        return partition.log.end
    try:
        value = int(text)
    except ValueError:
        raise LinkRefused("com.microsoft:argument-error", f"The {kind} {text[:100]!r} is not a number.") from None
    if kind == "enqueued-time":
        return partition.log.after_time(value, inclusive=inclusive)
    if kind == "offset":
        return _after_offset(partition, value, inclusive=inclusive)
    return _after_sequence(partition, value, inclusive=inclusive)


def _after_sequence(partition: Partition, sequence: int, *, inclusive: bool) -> int:
    start = sequence if inclusive else sequence + 1
    end = partition.log.end
    if start > end:
        raise _beyond("sequence number", sequence, end - 1)
    return start


def _after_offset(partition: Partition, offset: int, *, inclusive: bool) -> int:
    last = partition.log.last_position
    if offset > last:
        raise _beyond("offset", offset, last)
    return partition.log.after_position(offset, inclusive=inclusive)


def _beyond(what: str, supplied: int, last: int) -> LinkRefused:
    text = f"The supplied {what} '{supplied}' is invalid. The last {what} in the system is '{last}'"
    return LinkRefused("com.microsoft:argument-out-of-range", text)
