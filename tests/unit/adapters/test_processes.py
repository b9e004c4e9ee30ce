"""What the local stack needs of an operating system: POSIX, and the portable stand-in as far as it runs here."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.adapters.processes import SYSTEM, Portable, Posix, System
from shared.errors import ConfigError
from tests import ROOT

SYSTEMS = pytest.mark.parametrize("system", [Posix(), Portable()], ids=["POSIX", "portable"])
OURS = "shared/adapters/processes.py"
ONLY_POSIX = re.compile(
    r"fcntl|msvcrt|os\.(kill|killpg|fork|setsid|getpgid)\b|add_signal_handler|start_new_session|pass_fds|/proc\b|SIGKILL"
)
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def start(code: str, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, **pipes, **options))  # type: ignore[call-overload] # noqa: S603
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def gone(system: System, pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while system.identity(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    return system.identity(pid) is None


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@SYSTEMS
def test_a_process_is_known_while_it_lives_and_told_from_others(
    system: System, started: Callable[..., subprocess.Popen[str]]
) -> None:
    first = started("input()")
    known = system.identity(first.pid)
    assert known
    assert system.identity(first.pid) == known
    first.kill()
    assert gone(system, first.pid)  # a zombie, whose id is still taken
    first.communicate()
    assert system.identity(first.pid) is None
    assert system.identity(os.getpid()) not in (None, known)


@SYSTEMS
def test_a_process_ends_as_it_is_told_and_one_that_is_gone_is_no_error(
    system: System, started: Callable[..., subprocess.Popen[str]]
) -> None:
    polite, stubborn = (
        started("input()"),
        started("import signal; signal.signal(15, signal.SIG_IGN); print(1); input()"),
    )
    assert line(stubborn) or line(stubborn) == "1"
    for child in (polite, stubborn):
        system.ask_to_end(child.pid)
    assert polite.wait(10) == -signal.SIGTERM
    assert system.identity(stubborn.pid)
    system.make_end(stubborn.pid)
    assert stubborn.wait(10) == -signal.SIGKILL
    system.ask_to_end(polite.pid)
    system.make_end(polite.pid)


@SYSTEMS
@pytest.mark.parametrize("at_once", [False, True])
def test_a_group_ends_with_what_its_leader_started(
    system: System, at_once: bool, started: Callable[..., subprocess.Popen[str]]
) -> None:
    leader = started(PARENT, **system.apart())
    child = int(line(leader))
    system.end_group(leader.pid, at_once=at_once)
    assert leader.wait(10) == -(signal.SIGKILL if at_once else signal.SIGTERM)
    assert gone(system, child)
    system.end_group(leader.pid, at_once=at_once)


def test_a_lock_is_held_once_and_goes_with_its_file(tmp_path: Path) -> None:
    def opened() -> int:
        return os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    first, second = opened(), opened()
    assert SYSTEM.lock(first)
    assert not SYSTEM.lock(second)
    os.close(first)
    assert SYSTEM.lock(second)
    os.close(second)


def test_a_child_keeps_the_lock_that_it_is_given(tmp_path: Path, started: Callable[..., subprocess.Popen[str]]) -> None:
    held, other = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert SYSTEM.lock(held)
    child = started("input()", **SYSTEM.apart(held))
    os.close(held)
    assert not SYSTEM.lock(other)
    child.kill()
    child.communicate()
    assert SYSTEM.lock(other)
    os.close(other)


@SYSTEMS
def test_a_loop_hears_that_the_process_is_to_end(system: System, started: Callable[..., subprocess.Popen[str]]) -> None:
    code = f"""
import asyncio
from shared.adapters.processes import {type(system).__name__}
async def wait():
    stop = asyncio.Event()
    {type(system).__name__}().on_end(asyncio.get_running_loop(), stop.set)
    print("waiting", flush=True)
    await asyncio.wait_for(stop.wait(), 20)
    print("told", flush=True)
asyncio.run(wait())
"""
    child = started(code, cwd=ROOT)
    assert line(child) == "waiting"
    system.ask_to_end(child.pid)
    assert line(child) == "told"
    assert child.wait(10) == 0


def test_without_fork_a_local_job_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="need a system with fork"):
        Portable().go_on_alone()


def test_what_only_posix_has_stands_in_one_module() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for room in ("shared", "local", "training")
        for path in (ROOT / room).rglob("*.py")
        for match in ONLY_POSIX.finditer(path.read_text("utf-8"))
    }
    assert {each for each in found if not each.startswith(OURS)} == set()
    assert any(each.startswith(OURS) for each in found)
