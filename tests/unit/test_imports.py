"""What import-linter cannot say: the rule for function_app, which is no package, and that modules form no circle."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import grimp

from tests import ROOT

OURS = {"function_app", "shared", "training", "local", "tests", "benchmarks"}


def circles(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules in circles or between two: what is left when those are gone that import, or are imported by, no other."""
    left = dict(imports)
    while True:
        used = {module for found in left.values() for module in found}
        ends = {module for module, found in left.items() if module not in used or not found & left.keys()}
        if not ends:
            return sorted(left)
        left = {module: found - ends for module, found in left.items() if module not in ends}


def test_a_circle_is_found_and_what_leads_to_it_is_not_part_of_it() -> None:
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": {"c", "e"}, "e": set()}) == ["c", "d"]


def test_no_circle_between_modules() -> None:
    graph = grimp.build_graph("shared", "training", "local", cache_dir=None)
    assert circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_the_function_app_stands_above_shared_and_knows_nothing_else() -> None:
    tree = ast.parse((ROOT / "function_app.py").read_text("utf-8"))
    found = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in found} & OURS == {"shared"}, "training and local are not deployed"
