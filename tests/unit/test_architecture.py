"""The shape of the code: no circles between modules, and modules and functions that fit on a screen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from tests import ROOT

PACKAGES = ("shared", "training", "local")
OURS = {"function_app", *PACKAGES, "tests", "benchmarks"}
LONGEST_MODULE, MEDIAN_MODULE, MEDIAN_FUNCTION = 300, 120, 8  # lines
Function = ast.FunctionDef | ast.AsyncFunctionDef


def dotted(path: Path) -> str:
    """A module's name; a package is called by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    dotted(path): path.read_text("utf-8")
    for path in (ROOT / "function_app.py", *(path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))))
}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Names that a module imports, wherever: in a function or under TYPE_CHECKING a module is leant on just as much."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> str | None:
    """The module of ours that an imported name is, or stands in."""
    holder = name.rpartition(".")[0]
    return name if name in TREES else holder if holder in TREES else None


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one again at its end; nothing if there is no ring."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def body_lines(function: Function) -> int:
    """Lines from a function's first statement to its last, its signature and docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_module_imports_itself_in_a_circle() -> None:
    imports = {name: {found for each in imported(tree) if (found := module_of(each))} for name, tree in TREES.items()}
    assert circle(imports) == []


@pytest.mark.parametrize(
    ("imports", "length"),
    [({"a": {"b"}, "b": {"c"}}, 0), ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, 3), ({"a": {"a"}}, 2)],
)
def test_a_circle_is_found(imports: dict[str, set[str]], length: int) -> None:
    assert len(circle(imports)) == length


def test_imports_are_seen_wherever_they_stand() -> None:
    source = "import a.b\nif TYPE_CHECKING:\n    from c import d\ndef f():\n    from e.g import h\n"
    assert list(imported(ast.parse(source))) == ["a.b", "c.d", "e.g.h"]


def test_the_function_app_knows_shared_and_nothing_else_of_ours() -> None:
    ours = {name for name in imported(TREES["function_app"]) if name.partition(".")[0] in OURS}
    assert {module_of(name) for name in ours} == {
        "shared.core.intake.envelopes.told",
        "shared.core.stream.events",
        "shared.errors",
        "shared.settings",
        "shared.wiring",
    }


def test_nothing_that_users_run_leans_on_tests_or_benchmarks() -> None:
    found = {
        name: {each for each in imported(tree) if each.startswith(("tests", "benchmarks"))}
        for name, tree in TREES.items()
    }
    assert {name: names for name, names in found.items() if names} == {}


def test_no_module_is_long() -> None:
    lines = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}
    assert median(count for count in lines.values() if count) <= MEDIAN_MODULE


def test_functions_are_short() -> None:
    functions = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, Function)]
    assert median(body_lines(function) for function in functions) <= MEDIAN_FUNCTION
