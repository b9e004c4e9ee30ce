"""From model outputs to forecasts: limits, intervals and categories at their edges; and the control document."""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.scenario_files import load
from shared.core.intake.readings import Floats
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.model.feature import Feature
from shared.core.model.manifest import Interval
from shared.core.model.scoring import bounds, categories, clip, unfitting
from shared.core.scenario import with_overrides
from shared.errors import ContractBroken

AIR = load("air_quality")
BELOW, ABOVE = -np.inf, np.inf


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def beside(value: float) -> tuple[float, float]:
    """The next float32 below and above."""
    one = np.float32(value)
    return float(np.nextafter(one, np.float32(BELOW))), float(np.nextafter(one, np.float32(ABOVE)))


def test_outputs_beyond_the_targets_limits_are_brought_to_them() -> None:
    raw = floats(-78.0, beside(0)[0], -0.0, 0.0, 12.5, 1000.0, beside(1000)[1], 1e30)
    found = clip(AIR, raw)
    assert found.tolist() == [0.0, 0.0, 0.0, 0.0, 12.5, 1000.0, 1000.0, 1000.0]
    assert found.dtype == np.float32
    assert raw[0] == np.float32(-78.0), "the model's output is left as it was"
    assert len(clip(AIR, floats())) == 0


@pytest.mark.parametrize(("bad", "count"), [((math.nan,), 1), ((math.inf, 1.0, -math.inf), 2), ((1.0, math.nan), 1)])
def test_an_output_that_is_no_number_is_never_clipped_into_one(bad: tuple[float, ...], count: int) -> None:
    with pytest.raises(ContractBroken, match=f"the model gave {count} outputs of {len(bad)} that are not finite"):
        clip(AIR, floats(*bad))


INTERVAL = Interval(0.9, [10.0, 35.4], [-1.0, -2.0, -4.0], [1.0, 20.0, 40.0])


@pytest.mark.parametrize(
    ("value", "lower", "upper"),
    [
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 1.5),
        (beside(10)[0], beside(10)[0] - 1, beside(10)[0] + 1),
        (10.0, 8.0, 30.0),  # an edge belongs to the band above it, as in training
        (35.0, 33.0, 55.0),
        (float(np.float32(35.4)), float(np.float32(35.4)) - 4, float(np.float32(35.4)) + 40),
        (980.0, 976.0, 1000.0),
        (1000.0, 996.0, 1000.0),
    ],
)
def test_the_band_of_a_forecast_gives_its_interval_within_the_limits(value: float, lower: float, upper: float) -> None:
    low, high = bounds(AIR, INTERVAL, floats(value))
    assert str(low.dtype) == str(high.dtype) == "float32"
    np.testing.assert_allclose([low[0], high[0]], [lower, upper], rtol=1e-6)


@given(
    st.lists(st.floats(0, 1000, width=32), max_size=20),
    st.lists(st.integers(0, 1000), unique=True, max_size=5).map(sorted),
    st.data(),
)
def test_an_interval_is_that_of_the_forecast_alone_and_holds_it(
    values: list[float], edges: list[int], data: st.DataObject
) -> None:
    offsets = st.lists(st.integers(0, 300), min_size=len(edges) + 1, max_size=len(edges) + 1)
    below, above = data.draw(offsets), data.draw(offsets)
    interval = Interval(0.9, [float(e) for e in edges], [-float(b) for b in below], [float(a) for a in above])
    low, high = bounds(AIR, interval, floats(*values))
    for value, lower, upper in zip(values, low.tolist(), high.tolist(), strict=True):
        band = bisect.bisect_right(edges, value)
        assert lower == max(float(np.float32(value) - np.float32(below[band])), 0.0)
        assert upper == min(float(np.float32(value) + np.float32(above[band])), 1000.0)
        assert lower <= value <= upper


def test_the_interval_of_nan_is_nan_and_its_neighbours_keep_theirs() -> None:
    low, high = bounds(AIR, INTERVAL, floats(math.nan, 0.5))
    np.testing.assert_array_equal([low, high], [[math.nan, 0.0], [math.nan, 1.5]])


def test_one_band_needs_no_edge() -> None:
    low, high = bounds(AIR, Interval(0.9, [], [-5.0], [7.0]), floats(0.0, 20.0))
    assert (low.tolist(), high.tolist()) == ([0.0, 15.0], [7.0, 27.0])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.0, "good"),
        (9.0, "good"),
        (beside(9.0)[1], "moderate"),
        (35.4, "moderate"),  # the upper bound belongs to its band, in float32 too
        (beside(35.4)[1], "unhealthy for sensitive groups"),
        (55.4, "unhealthy for sensitive groups"),
        (beside(55.4)[1], "unhealthy"),
        (125.4, "unhealthy"),
        (beside(125.4)[1], "very unhealthy"),
        (225.4, "very unhealthy"),
        (beside(225.4)[1], "hazardous"),
        (1000.0, "hazardous"),
        (beside(1000.0)[1], "hazardous"),
        (math.nan, ""),
    ],
)
def test_a_category_ends_with_its_upper_bound(value: float, name: str) -> None:
    assert categories(AIR, floats(value)) == [name]


def test_every_forecast_has_a_category_and_none_where_the_scenario_has_none() -> None:
    assert categories(AIR, floats(225.5, 1, 40)) == ["hazardous", "good", "unhealthy for sensitive groups"]
    assert categories(AIR, floats()) == []
    assert categories(AIR, floats(math.nan, 5, math.nan)) == ["", "good", ""]
    assert categories(with_overrides(AIR, categories=()), floats(1, 2)) == ["", ""]
    only = with_overrides(AIR, categories=AIR.categories[-1:])
    assert categories(only, floats(0, 1000)) == ["hazardous", "hazardous"]


KNOWN = [Feature("a", 1), Feature("b", 2), Feature("c", 1)]


def test_every_feature_that_does_not_fit_is_named() -> None:
    problems = unfitting(KNOWN, [("a", 2), ("d", 1), ("b", 2), ("b", 1)])
    assert problems == [
        "a is version 1 here, the model wants 2",
        "d is unknown",
        "b is version 2 here, the model wants 1",
    ]


def test_the_control_document_comes_back_and_what_it_leaves_out_has_a_default() -> None:
    one = Deployment(champion="v1", challenger="v2", share=0.1, salt="x", quarantine=["Köln", "a/b"])
    assert deployment.decode(deployment.encode(one)) == one
    assert deployment.decode(b"{}") == Deployment(champion=None, challenger=None, share=0.0, salt="", quarantine=[])
    assert deployment.encode(one).count(b"\n") > 5, "people read it"


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"champion": 1}', b'{"champoin": "v1"}', b'{"salt": "\xff"}', b"{"])
def test_a_control_document_with_a_mistake_is_refused_and_named(raw: bytes) -> None:
    with pytest.raises(ContractBroken, match=r"models/deployment\.json: "):
        deployment.decode(raw)


def test_documents_do_not_share_their_quarantine() -> None:
    one: Any = Deployment()
    one.quarantine.append("a")
    assert Deployment().quarantine == []
