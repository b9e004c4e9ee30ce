"""The command line: every wrong use ends in one line that says what to do, never in a traceback."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.__main__ import FOLDER, main
from local.books.account import Account
from local.books.recount import Books
from local.books.sources import UNREAD
from local.inspect import show
from local.inspect.outlook import outlook, rejections
from local.stack.addresses import storage_connection
from local.stack.process import StackError
from local.stack.running import await_summary, get
from local.stack.workspace import Workspace
from shared.adapters.processes import SYSTEM
from shared.adapters.stores import scenario_files
from shared.app.route.file_books import key_of
from tests.kit import MemoryBlobs


class Page(BaseHTTPRequestHandler):
    """A host that answers every path with one page."""

    body, status = b"{}", 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815 - likewise

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def host() -> Iterator[tuple[str, type[Page]]]:
    """Address of such a host, and its page."""
    page = type("Own", (Page,), {})
    with HTTPServer(("127.0.0.1", 0), page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", page
        server.shutdown()
        thread.join()


def describe(root: Path, port: int = 1, **changes: Any) -> None:
    """A stack.json as of a running stack, whose processes are ours."""
    pid = os.getpid()
    own = {"pid": pid, "identity": SYSTEM.identity(pid), "port": port, "log": ""}
    found = {"pid": pid, "storage": storage_connection(1), "processes": {"azurite": own, "host": {**own, **changes}}}
    root.mkdir(exist_ok=True)
    (root / "stack.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["drop"],
        ["deploy"],
        ["send", "--rate", "x"],
        ["books", "x"],
        ["lineage"],
        ["explain", "x@2026-11-20T10", "--role", "x"],
        ["ledger", "x"],
        ["rollout", "dance"],
        ["retrain"],
        ["fire"],
        ["letters", "--page", "x"],
    ],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m local" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "drop",
        "deploy",
        "status",
        "send",
        "replay",
        "books",
        "demo",
        "func",
        "ledger",
        "rollout",
        "retrain",
        "explain",
        "lineage",
        "forecasts",
        "check",
        "letters",
        "fire",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


FILE = str(Path(__file__))


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["books"],
        ["ledger", "verify"],
        ["rollout", "pause"],
        ["retrain", "because"],
        ["explain", "x@2026-11-20T10"],
        ["lineage", "v1"],
        ["replay"],
        ["drop", FILE],
        ["deploy", str(Path(FILE).parent)],
    ],
)
@pytest.mark.parametrize("left", ["nothing", "rubbish", "a killed stack's description", "a stack without a host"])
def test_without_a_running_stack_each_command_says_how_to_start_one(
    command: list[str], left: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if left == "rubbish":
        (tmp_path / "stack.json").write_text("{")
    elif left == "a killed stack's description":
        describe(tmp_path, identity="long ago")
    elif left == "a stack without a host":
        (tmp_path / "stack.json").write_text(json.dumps({"storage": "", "processes": {}}))
    assert main(["--root", str(tmp_path), *command]) == 1
    said = capsys.readouterr()
    assert f"no stack is running on {tmp_path}: start one with `make up`" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["drop", "no/such/file"], "no/such/file: there is no such file"),
        (["drop", "/"], "/: this is a folder; drop a file"),
        (["demo", "--data", "no/such/file", "--out", "{tmp_path}/out"], "--data no/such/file: there is no such file"),
        (["send", "--connection", "nonsense"], ""),
        (["send", "--garbage", "3", "--connection", "x"], "not a share between 0 and 1"),
        (["send", "--data", "no/such", "--connection", "x"], "--data no/such: there is no such file"),
    ],
)
def test_what_cannot_be_is_one_line(
    command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path), *(word.format(tmp_path=tmp_path) for word in command)]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--root", str(tmp_path / "file"), "up"]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'file'}: File exists\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../x", "a/../b", "a/./b", "a\nb", "x/", "x.", "a\x00", "\udcff", "x" * 1100])
def test_names_that_no_blob_can_have_are_refused_before_anything_is_sent(name: str, tmp_path: Path) -> None:
    describe(tmp_path)
    with pytest.raises(StackError, match="cannot be the name of a blob: give another one with --name"):
        Workspace.of(tmp_path).drop(Path(FILE), name, None)


def test_a_store_that_is_gone_is_told_and_not_waited_for_long(tmp_path: Path) -> None:
    describe(tmp_path)
    with pytest.raises(StackError, match=r"test_cli\.py could not be dropped: .*refused"):
        Workspace.of(tmp_path).drop(Path(FILE), "x.csv", None)


@pytest.mark.parametrize("status", [200, 500])
def test_a_host_that_answers_rubbish_is_told_with_its_address(status: int, host: tuple[str, type[Page]]) -> None:
    url, page = host
    page.body, page.status = b"<html>", status
    with pytest.raises(StackError, match=url):
        get(f"{url}/api/health")


def test_a_host_that_is_gone_is_told_with_its_address() -> None:
    with pytest.raises(StackError, match=r"the host does not answer at http://127\.0\.0\.1:1/"):
        get("http://127.0.0.1:1/x")


def test_the_application_s_own_error_page_is_read(
    host: tuple[str, type[Page]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, page = host
    page.body, page.status = b'{"error": "settings: SCENARIO [x] is missing"}', 503
    describe(tmp_path, int(url.rpartition(":")[2]))
    assert main(["--root", str(tmp_path), "status"]) == 1
    assert capsys.readouterr().out == "settings: SCENARIO [x] is missing\n"
    assert main(["--root", str(tmp_path), "replay"]) == 1
    assert "nothing was fed back: settings" in capsys.readouterr().err


@pytest.mark.slow
def space_of(root: Path, url: str, blobs: MemoryBlobs) -> Workspace:
    return Workspace(root, storage_connection(1), url, scenario_files.load("air_quality"), blobs)  # type: ignore[arg-type]


def test_waiting_for_a_summary_ends_when_nothing_moves(host: tuple[str, type[Page]], tmp_path: Path) -> None:
    url, page = host
    page.body = b'{"partitions": {"0": {"next": 5}}}'
    describe(tmp_path)
    with pytest.raises(StackError, match=r"nothing moved for 0 s: .*status.*host\.log.*stays in incoming/"):
        await_summary(space_of(tmp_path, url, MemoryBlobs()), "file/x@1", patience_s=0.0)


def test_waiting_for_a_summary_ends_with_the_application_s_own_error(
    host: tuple[str, type[Page]], tmp_path: Path
) -> None:
    url, page = host
    page.body, page.status = b'{"error": "samples_per_hour: 1 in the store, 2 in the file"}', 503
    describe(tmp_path)
    with pytest.raises(StackError, match=r"cannot work: samples_per_hour: 1 .*; the file stays in incoming/"):
        await_summary(space_of(tmp_path, url, MemoryBlobs()), "file/x@1")


def test_waiting_for_a_summary_ends_when_the_stack_does(tmp_path: Path) -> None:
    describe(tmp_path, identity="long ago")
    with pytest.raises(StackError, match="has ended: start it again with `make up`; the file stays in incoming/"):
        await_summary(space_of(tmp_path, "http://127.0.0.1:1", MemoryBlobs()), "file/x@1")


def test_a_finished_file_is_found_and_its_report_copied(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blobs.write("receipts", f"{key_of('file/x@1')}/done", b"files/x-1")
    blobs.write("reports", "files/x-1/summary.json", b'{"file": "x", "status": "done", "answer": "reports/..."}')
    blobs.write("reports", "files/x-1/report.html", b"<html>")
    blobs.write("reports", "files/x-1/answer.csv", b"ID,target\n")
    space = space_of(tmp_path, "http://127.0.0.1:1", blobs)
    summary = await_summary(space, "file/x@1")
    assert summary["folder"] == "files/x-1"
    kept = space.keep(summary)
    assert {name: path.read_bytes() for name, path in kept.items()} == {"report": b"<html>", "answer": b"ID,target\n"}
    assert all(path.is_relative_to(tmp_path / "reports") for path in kept.values())
    assert [found["file"] for found in space.summaries()] == ["x"]


def shown(width: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def test_a_summary_shows_hostile_names_as_they_are() -> None:
    console, out = shown(40)
    summary = {
        "file": "[red]a[/nope] \N{THERMOMETER}.csv",
        "status": "refused",
        "reason": "zone",
        "detail": "zone: [x]",
    }
    show.show_summary(console, summary)
    assert out.getvalue() == "[red]a[/nope] \N{THERMOMETER}.csv: refused, zone: [x]\n"


def test_a_summary_names_columns_not_used_an_example_of_each_reason_and_a_target_that_nobody_told() -> None:
    console, out = shown(400)
    counts = {"rows_in": 9, "rows_accepted": 7, "rows_rejected": 2, "rejected": {"timestamp": 2}}
    more = {"ignored": ["PM2.5 [x]", "\x1b[2J"], "examples": {"timestamp": "'x' is no time, at position 3: 'a,x'"}}
    for known, told in ((0, "pm is known in 0 of the accepted rows: nothing can be learned"), (5, "known in 5 of the")):
        show.show_summary(console, {"file": "a", "status": "done", **counts, **more, "rows_with_target": known}, "pm")
        assert told in out.getvalue()
    assert "columns not used: PM2.5 [x], ?[2J\n" in out.getvalue()
    assert "timestamp: 'x' is no time, at position 3: 'a,x'\n" in out.getvalue()


def test_the_summary_of_a_file_without_rows_says_that_there_is_nothing_in_it() -> None:
    console, out = shown(100)
    counts = {"rows_in": 0, "rows_accepted": 0, "rows_rejected": 0, "rejected": {}, "rows_with_target": 0}
    for status, empty in (("done", True), ("incomplete", False)):
        summary = {"file": "a.avro", "status": status, **counts}
        assert show.is_empty(summary) == empty
        show.show_summary(console, summary, "pm")
        assert "there is nothing in it: no rows\n" in out.getvalue()
        assert ("pm is known" in out.getvalue()) != empty


def test_books_that_are_only_early_say_so_and_not_that_they_are_wrong() -> None:
    console, out = shown(120)
    partition = Account("partition 0", 9, waiting=4, problems=["4 readings wait for a commit"])
    found = Books([partition], [Account("devices' partition 0", 9, problems=["9 readings accepted, 5 in commits"])])
    show.show_books(console, found)
    assert "not yet: 4 of about 9 records still wait; look again" in out.getvalue()
    assert "does not balance" not in out.getvalue()
    assert (found.waiting, found.balance) == (4, False)
    assert Books([], [Account("file 'a'", problems=[UNREAD])]).waiting == 1
    assert Books([Account("partition 0", problems=["commit 3 is missing"])], []).waiting == 0


@pytest.mark.parametrize(
    ("applied", "parts"),
    [
        (0, ["no reading was applied so far"]),
        (
            80_233,
            ["80,233 readings applied, 12 in the lake, which is filled at 14:07", "needs 5,000", "at 03:30", "fire"],
        ),
    ],
)
def test_status_says_why_there_is_no_model_and_how_to_come_by_one(applied: int, parts: list[str]) -> None:
    functions = [
        {"name": "compact_lake", "next": "2026-12-01T14:07:00+00:00"},
        {"name": "check_drift", "next": "2026-12-02T03:30:00+00:00"},
    ]
    line = outlook({"partitions": {0: {"applied": applied}, 1: {"applied": 0}}}, functions, 12, 5_000)
    assert all(part in line for part in parts)


def test_status_sums_up_what_was_refused_of_messages() -> None:
    routes = {0: {"rejected": {"future": 2, "json": 1}}, 1: {"rejected": {"future": 3}}, 2: {}}
    assert rejections({"routes": routes}) == [
        "messages refused: 5 future, 1 json; `python -m local letters` shows them"
    ]
    assert rejections({"routes": {0: {}}}) == rejections({}) == []


def test_timers_are_fired_one_after_the_other_and_what_fails_is_said(
    host: tuple[str, type[Page]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, page = host
    page.body = b"done"
    describe(tmp_path, int(address.rpartition(":")[2]))
    assert main(["--root", str(tmp_path), "fire", "compact_lake", "check_drift"]) == 0
    assert capsys.readouterr().out == "compact_lake: done\ncheck_drift: done\n"
    page.status, page.body = 404, b"no such function"
    assert main(["--root", str(tmp_path), "fire", "x/../[b]"]) == 1
    assert capsys.readouterr().out == "x/../[b]: no such function\n"


def test_the_books_fit_a_narrow_terminal_and_leave_empty_columns_out() -> None:
    console, out = shown(80)
    accounts = [Account("partition 0", 1_000_000), Account("file '[b]x[/c]\x1b[31m" + "y" * 100 + "'", 17)]
    accounts[0].counts["applied"] = 1_000_000
    show.show_books(console, Books(accounts[:1], accounts[1:]))
    lines = out.getvalue().splitlines()
    assert "[b]x[/c]?[31m" in lines[2]
    assert "\x1b" not in out.getvalue()
    assert "conflicts" not in lines[0]
    assert max(map(len, lines[:3])) <= 80
    assert any(line.startswith("does not balance: ") for line in lines)
    assert not any(line.startswith("note: ") for line in lines)


def test_the_books_say_what_could_not_be_recounted() -> None:
    console, out = shown(80)
    show.show_books(console, Books([Account("partition 0", notes=["the log is gone [/x] " + "y" * 80])], []))
    assert f"\nnote: partition 0: the log is gone [/x] {'y' * 80}\n" in out.getvalue()
    assert "the books balance" in out.getvalue()


def test_status_shows_refused_models_last_errors_and_files() -> None:
    console, out = shown(120)
    health = {"scenario": "s", "champion": None, "refused": {"v9": "sha256 [x]"}, "partitions": {}}
    functions = [{"name": "f", "type": "t", "invocations": 3, "failures": 1, "last_error": "boom [/x]"}]
    files = [{"file": "a.csv", "status": "refused", "reason": "zone", "detail": "'X'"}]
    show.show_status(console, health, functions, files)
    text = out.getvalue()
    for part in (
        "champion none yet, the baseline answers",
        "refused v9: sha256 [x]",
        "boom [/x]",
        "refused, zone: 'X'",
    ):
        assert part in text


def test_status_tells_how_good_champions_and_apart_from_them_the_baseline_were() -> None:
    console, out = shown(120)
    counts = {"next": 9, "devices": 2, "applied": 40, "forecasts": 0, "first_forecasts": 1234}
    health = {
        "scenario": "s", "champion": None, "refused": {}, "partitions": {0: counts},
        "quality": {"matured": 0}, "baseline": {"matured": 1200, "mae": 51.5, "coverage": 0.91},
    }  # fmt: skip
    show.show_status(console, health, [], [])
    assert "1,200 of the baseline's forecasts matured: mae 51.5, coverage 0.91" in out.getvalue()
    assert "champions'" not in out.getvalue()
    assert "1,234" in out.getvalue()


def test_the_folder_of_the_stack_is_the_project_s_own_unless_told() -> None:
    assert FOLDER.name == ".airloop"
