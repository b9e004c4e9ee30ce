"""The log of a partition: what was committed is there, in order and whole, whatever happened to the file."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.eventhub.event_log import MAGIC, HubInfo, Record, create_hub, hub_info, log_path, read
from local.eventhub.partition_log import PartitionLog
from shared.errors import ConfigError, ContractBroken

HEAD = 16  # bytes before the message of a record


@contextmanager
def opened(path: Path, *, fsync: bool = False) -> Iterator[PartitionLog]:
    log = PartitionLog(path, fsync=fsync)
    try:
        yield log
    finally:
        log.close()


def write(path: Path, *messages: bytes, enqueued_ms: int = 1000) -> None:
    with opened(path) as log:
        for number, message in enumerate(messages):
            log.append(enqueued_ms + number, message)
        log.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0000.log"


@pytest.mark.parametrize("fsync", [False, True])
def test_events_are_there_after_the_commit_and_not_before(path: Path, fsync: bool) -> None:
    with opened(path, fsync=fsync) as log:
        log.append(5, b"one")
        log.append(6, b"")
        assert (log.end, log.next_sequence, log.read_run(0, 9, 9)) == (0, 2, [])
        assert list(read(path)) == []
        log.commit()
        assert (log.end, log.next_sequence, log.read_run(0, 9, 999)) == (2, 2, [b"one", b""])
        assert list(read(path)) == [Record(0, 5, b"one"), Record(1, 6, b"")]


def test_an_empty_log_says_so(path: Path) -> None:
    with opened(path) as log:
        assert (log.end, log.last_position, log.last_enqueued_ms, log.earliest_next_ms) == (0, -1, 0, 0)
        assert log.read_run(0, 10, 10) == []
    assert list(read(path)) == []
    assert path.read_bytes() == MAGIC


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.binary(max_size=50), max_size=4).map(lambda group: ("commit", group)),
            st.just(("reopen", [])),
            st.integers(1, 60).map(lambda size: ("tear", [b"x" * size])),
        ),
        max_size=15,
    )
)
def test_any_run_of_commits_reopenings_and_torn_tails_keeps_exactly_what_was_committed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[bytes]]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "0000.log"
    expected: list[Record] = []
    log = PartitionLog(path)
    for step, group in steps:
        if step == "commit":
            for message in group:
                expected.append(Record(len(expected), log.earliest_next_ms + 1, message))
                log.append(expected[-1].enqueued_ms, message)
            log.commit()
            continue
        log.append(log.earliest_next_ms + 1, b"never committed")
        log.close()
        if step == "tear":
            with path.open("ab") as file:
                file.write((b"\x00\x00\x01\x00" + b"\xff" * 60)[: len(group[0])])
        log = PartitionLog(path)
        assert log.torn_bytes == sum(map(len, group))
    log.close()
    assert list(read(path)) == expected


def test_a_file_that_ends_at_any_byte_of_its_last_record_loses_that_record_only(path: Path) -> None:
    write(path, b"first", b"second", b"the last one")
    whole = path.read_bytes()
    start = len(whole) - HEAD - len(b"the last one")
    for size in range(start, len(whole)):
        path.write_bytes(whole[:size])
        assert [record.message for record in read(path)] == [b"first", b"second"]
        with opened(path) as log:
            assert (log.end, log.torn_bytes) == (2, size - start)
            log.append(log.earliest_next_ms, b"next")
            log.commit()
        assert [tuple(record) for record in read(path)][2:] == [(2, 1001, b"next")]


@pytest.mark.parametrize("size", range(len(MAGIC)))
def test_a_file_that_was_cut_while_it_was_made_is_an_empty_log(path: Path, size: int) -> None:
    path.write_bytes(MAGIC[:size])
    assert list(read(path)) == []
    write(path, b"first")
    assert [record.message for record in read(path)] == [b"first"]


@pytest.mark.parametrize("size", [1, HEAD, 5000])
def test_a_hole_of_zeros_at_the_end_is_a_torn_record(path: Path, size: int) -> None:
    write(path, b"first")
    with path.open("ab") as file:
        file.write(bytes(size))
    with opened(path) as log:
        assert (log.end, log.torn_bytes) == (1, size)


def test_a_damaged_last_record_is_cut_off(path: Path) -> None:
    write(path, b"first", b"last")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with opened(path) as log:
        assert (log.end, log.torn_bytes) == (1, HEAD + 4)


@pytest.mark.parametrize("at", [0, 4, 8, HEAD, HEAD + 4], ids=["length", "crc", "time", "message", "end"])
def test_damage_before_the_last_record_is_refused_loudly_and_nothing_is_cut(path: Path, at: int) -> None:
    write(path, b"first", b"second", b"third")
    damaged = bytearray(path.read_bytes())
    damaged[len(MAGIC) + at] ^= 0x80
    path.write_bytes(damaged)
    with pytest.raises(ContractBroken, match="record 0 at byte 16 is damaged"):
        list(read(path))
    with pytest.raises(ContractBroken):
        PartitionLog(path)
    assert path.read_bytes() == damaged


def test_a_record_that_was_taken_out_of_the_middle_is_noticed(path: Path) -> None:
    write(path, b"first", b"second", b"third")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(MAGIC)] + whole[len(MAGIC) + HEAD + 5 :])
    with pytest.raises(ContractBroken):
        list(read(path))


def test_a_file_of_another_kind_is_refused(path: Path) -> None:
    path.write_bytes(b"something else, and longer than the header")
    with pytest.raises(ContractBroken, match="is not an event log"):
        PartitionLog(path)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As on a full disk, writes beyond this size fail or fall short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_half_way_leaves_the_log_as_it_was(path: Path) -> None:
    write(path, b"first")
    size = path.stat().st_size
    with opened(path) as log:
        log.append(1001, b"x" * 100)
        log.append(1002, b"y" * 100)
        with no_file_beyond(size + 150), pytest.raises(OSError, match="File too large"):
            log.commit()
        assert (log.end, log.next_sequence, path.stat().st_size) == (1, 1, size)
        log.append(1003, b"second")
        log.commit()
        assert log.read_run(0, 9, 999) == [b"first", b"second"]
    assert [(record.sequence, record.message) for record in read(path)] == [(0, b"first"), (1, b"second")]


@pytest.mark.parametrize(
    ("sequence", "count", "size", "expected"),
    [
        (0, 10, 10_000, 5),
        (0, 2, 10_000, 2),
        (3, 10, 10_000, 2),
        (4, 10, 0, 1),  # at least one
        (0, 10, 2 * (HEAD + 10), 2),
        (0, 10, 2 * (HEAD + 10) - 1, 1),
        (5, 10, 10_000, 0),
        (-1, 10, 10_000, 0),
        (0, 0, 10_000, 0),
    ],
)
def test_a_run_keeps_to_both_of_its_limits(path: Path, sequence: int, count: int, size: int, expected: int) -> None:
    messages = [bytes([number]) * 10 for number in range(5)]
    write(path, *messages)
    with opened(path) as log:
        start = max(sequence, 0)
        assert log.read_run(sequence, count, size) == messages[start : start + expected]


def test_positions_and_times_lead_to_the_event_at_or_behind_them(path: Path) -> None:
    with opened(path) as log:
        for enqueued_ms in (10, 20, 20, 30):
            log.append(enqueued_ms, b"1234")
        log.commit()
        assert [log.after_time(ms, inclusive=True) for ms in (9, 10, 20, 21, 31)] == [0, 0, 1, 3, 4]
        assert [log.after_time(ms, inclusive=False) for ms in (9, 10, 20, 30)] == [0, 1, 3, 4]
        second = len(MAGIC) + HEAD + 4
        assert [log.after_position(at, inclusive=True) for at in (-1, second, second + 1)] == [0, 1, 2]
        assert [log.after_position(at, inclusive=False) for at in (-1, second, log.last_position)] == [0, 2, 4]


def test_a_hub_remembers_when_it_was_made_until_its_directory_goes(tmp_path: Path) -> None:
    assert hub_info(tmp_path, "telemetry") is None
    made = create_hub(tmp_path, "telemetry", 4)
    assert made == HubInfo("telemetry", 4, made.created_at_ms)
    assert create_hub(tmp_path, "telemetry", 4) == hub_info(tmp_path, "telemetry") == made
    assert log_path(tmp_path, "telemetry", 3).parent == tmp_path / "telemetry"


def test_a_hub_does_not_change_its_number_of_partitions(tmp_path: Path) -> None:
    create_hub(tmp_path, "telemetry", 4)
    with pytest.raises(ConfigError, match="has 4 partitions, not 8"):
        create_hub(tmp_path, "telemetry", 8)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "telemetry"}', '{"name": "t", "partitions": "four"}'])
def test_a_damaged_description_of_a_hub_is_refused(tmp_path: Path, text: str) -> None:
    create_hub(tmp_path, "telemetry", 4)
    (tmp_path / "telemetry" / "hub.json").write_text(text)
    with pytest.raises(ContractBroken, match="does not describe a hub"):
        create_hub(tmp_path, "telemetry", 4)
