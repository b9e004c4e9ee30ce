"""What the words behind `--data` mean: files, folders, patterns, and several of them in one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.demo.given import files
from local.stack.process import StackError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a blank in its name, two files of readings, and what is none of them."""
    made = tmp_path / "as downloaded"
    (made / "further").mkdir(parents=True)
    for name in ("b.csv", "a.csv", ".hidden", "further/c.csv"):
        (made / name).write_text("")
    return made


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], []),
        (["{folder}/b.csv"], ["b.csv"]),
        (["{folder}"], ["a.csv", "b.csv"]),
        (["{folder}/*.csv"], ["a.csv", "b.csv"]),
        (["{folder}/b.csv", "{folder}/further"], ["b.csv", "c.csv"]),
    ],
)
def test_files_folders_and_patterns_with_blanks_in_their_names(
    words: list[str], names: list[str], folder: Path
) -> None:
    assert [path.name for path in files([word.format(folder=folder) for word in words])] == names


def test_one_word_may_be_several_with_blanks_between(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert files(["b.csv  further/*.csv"]) == [Path("b.csv"), Path("further/c.csv")]


@pytest.mark.parametrize(("words", "named"), [("a.csv no.csv", "no.csv"), ("none*", "none*"), ("", ""), ("   ", "   ")])
def test_what_means_no_file_is_named(words: str, named: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(StackError) as caught:
        files([words])
    assert str(caught.value) == f"--data {named}: there is no such file"


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="there is no such file"):
        files([str(tmp_path)])
