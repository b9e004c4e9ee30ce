"""The scenario: everything that makes the machinery forecast one thing rather than another."""

from shared.core.scenario.channels import Category, Channel, Names, Role, Station, Unit
from shared.core.scenario.check import parse, with_overrides
from shared.core.scenario.layouts import FileLayout
from shared.core.scenario.rules import (
    ColdStart,
    DriftRules,
    GateRules,
    Loss,
    QualityRules,
    RetrainRules,
    RolloutRules,
    Search,
)
from shared.core.scenario.scenario import Scenario

__all__ = [
    "Category", "Channel", "ColdStart", "DriftRules", "FileLayout", "GateRules", "Loss", "Names", "QualityRules",
    "RetrainRules", "Role", "RolloutRules", "Scenario", "Search", "Station", "Unit", "parse", "with_overrides",
]  # fmt: skip
