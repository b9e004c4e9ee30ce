"""Which featurizer a scenario means."""

from __future__ import annotations

from shared.core.forecast.features.featurizer import Featurizer
from shared.core.scenario import Scenario

FEATURIZERS = {"hourly": Featurizer}


def featurizer_of(scenario: Scenario) -> Featurizer:
    """The scenario's featurizer."""
    return FEATURIZERS[scenario.featurizer](scenario)
