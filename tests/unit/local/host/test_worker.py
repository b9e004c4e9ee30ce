"""Pieces of the host's workers: errors that arrive as text, the size of the pool, another version of the runtime."""

import traceback

import pytest

from local.host.functions import HostError
from local.host.worker import vendor
from local.host.worker.imitation import THREADS, threads
from local.host.worker.worker import failure
from shared.errors import TransientFailure


class Odd(Exception):
    """An error whose repr is no call."""

    def __repr__(self) -> str:
        return "odd"


def fail(error: Exception) -> None:
    raise error


def caught(error: Exception) -> Exception:
    """An error with a traceback."""
    with pytest.raises(type(error)) as found:
        fail(error)
    return found.value


@pytest.mark.parametrize(
    "error",
    [
        KeyError("gone"),
        TransientFailure("the store does not answer: 503"),
        ValueError('two\nlines, and File "x", line 3'),
        OSError(2, "No such file"),
        RuntimeError(),
        RuntimeError("RuntimeError: said before"),
    ],
)
def test_an_error_that_comes_as_text_is_told_like_one_that_is_at_hand(error: Exception) -> None:
    found = caught(error)
    trace = "".join(traceback.format_exception(found))
    told, at_hand = vendor._failed(repr(found), trace), failure(found)
    assert told.kind == at_hand.kind
    assert (str(told), told.trace) == (str(at_hand), at_hand.trace)


def test_an_error_whose_text_cannot_be_taken_apart_is_told_as_it_is() -> None:
    assert str(vendor._failed("odd", "".join(traceback.format_exception(caught(Odd("x")))))).startswith("odd (")
    bare = vendor._failed("function f not loaded", "")
    assert (str(bare), bare.trace) == ("function f not loaded", "")
    group = caught(ExceptionGroup("several", [ValueError("a"), KeyError("b")]))
    told = vendor._failed(repr(group), "".join(traceback.format_exception(group)))
    assert "ExceptionGroup" in str(told)


@pytest.mark.parametrize(("text", "size"), [("7", 7), ("1", 1), ("0", None), ("-1", None), ("many", None), ("", None)])
def test_the_pool_is_as_large_as_the_setting_says_if_it_says_a_number(
    text: str, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS, text)
    assert threads() == size


def test_another_version_of_the_runtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "VERSION", "0.0.1")
    with pytest.raises(HostError, match=r"azure-functions-runtime 0\.0\.1; installed is"):
        vendor._check_version()
