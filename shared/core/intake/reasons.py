"""Why a record or a file is not accepted."""

from __future__ import annotations

REASONS: dict[str, str] = {
    # a record: one message, one element of an array, one row
    "encoding": "not valid UTF-8, or packed otherwise than its content encoding says",
    "not_json": "not JSON",
    "not_an_object": "JSON, but neither a reading (an object) nor an array of readings",
    "empty": "nothing in it: no bytes, or an array without elements",
    "too_large": "message, array, line or file above a size limit",
    "too_deep": "JSON nested deeper than 32 levels",
    "not_telemetry": "the hub tells of a device's twin, life or connection; no device sent it",
    "columns": "the row does not have as many cells as the header, or a quote in it never ends",
    "missing_device": "no device id",
    "device_id": "the device or row id is too long, holds control characters or is not a text",
    "identity_mismatch": "the body names another device than the one that sent it",
    "unknown_station": "the scenario accepts listed stations only, and this is none of them",
    "missing_time": "no timestamp",
    "bad_time": "the timestamp is neither ISO 8601, an epoch nor a date of 12 or 14 digits",
    "no_zone": "the timestamp has no zone; by now it is read in the station's or the scenario's",
    "future": "the timestamp is later than the message or file that brought it",
    "ancient": "the timestamp is before the year 2000",
    # of the values that are dropped from a reading too; a record has one of these where no value is left
    "bad_value": "the value of a channel is not a number, or is infinite",
    "out_of_range": "the value of a channel is outside of what the scenario calls possible",
    "sentinel": "the value of a channel is one that the scenario's missing_values name",
    "no_values": "no channel has a value",
    "missing_id": "the row of a wide file has no id",
    "duplicate_id": "the id of a wide file's row stood in the file before",
    "window": "a cell of a wide file does not hold exactly one number per hour of the history",
    "poison": "reading this message failed again and again for one same reason that is not transient",
    "too_many_devices": "the scenario's maximum_devices are known, and this is none of them",
    "conflict": "another value was accepted for the same device and time before, within the scenario's resolution_s",
    # a record or a whole file
    "truncated": "the compressed file ends early or is damaged; what stood before was read",
    "duplicate_header": "two columns or keys stand for the same thing",
    "unit": "a column or key names a unit that the scenario does not know for its channel",
    # a whole file
    "empty_file": "no rows in it",
    "format": "neither CSV, Parquet nor JSON lines, or damaged beyond reading",
    "header": "no column for the device, the time or any channel",
    "zone": "the declared time zone is neither an IANA name nor an offset such as +08:00",
    "duplicate": "a file of the same bytes, to be read in the same way, was read whole before",
    "no_model": "no model is deployed that could answer it",
    "no_answer": "the deployed model gave no answer that can be used, however often it was asked",
    "unreadable": "reading it ended again and again without a word, as when it is too large for a worker",
    "replaced": "it was replaced or deleted when only a part of it had been read; that part counts",
}
