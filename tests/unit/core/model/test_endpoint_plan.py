"""The next step of an online endpoint, as laws over whatever it may look like."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.model.endpoint_plan import FAILED, READY, Plan, Running, Seen, Wanted, name_of, percent_of, plan
from shared.core.model.manifest import VERSION
from shared.errors import ContractBroken

VERSIONS = ("a", "b", "c")
STATES = ("Creating", "Updating", "Deleting", READY, *FAILED)
NAMES = {version: name_of(version) for version in VERSIONS}
RUNNING = st.builds(
    lambda version, old, state: Running(name_of(version, "old") if old else NAMES[version], version, state),
    st.sampled_from(VERSIONS),
    st.booleans(),
    st.sampled_from(STATES),
)
WANTED = st.builds(
    lambda pair, share: Wanted(pair[0], pair[1], share, {each: NAMES[each] for each in pair if each}),
    st.tuples(st.sampled_from(VERSIONS), st.none() | st.sampled_from(VERSIONS)),
    st.floats(0, 1),
)


@st.composite
def endpoints(draw: st.DrawFn) -> Seen:
    found = draw(st.lists(RUNNING, unique_by=lambda each: each.name, max_size=5))
    ready = [each.name for each in found if each.state == READY]
    first = draw(st.integers(0, 100))
    traffic = dict(zip(ready, (first, 100 - first) if len(ready) > 1 else (100,), strict=False))
    return Seen(draw(st.sampled_from(STATES)), traffic, found)


@given(endpoints(), WANTED)
def test_a_step_never_takes_an_answer_away(seen: Seen, wanted: Wanted) -> None:
    found = plan(seen, wanted)
    states = {each.name: each.state for each in seen.deployments}
    assert sum((bool(found.create), bool(found.delete), found.traffic is not None)) <= 1
    if found.traffic:
        assert sum(found.traffic.values()) == 100
        assert all(states[name] == READY and percent > 0 for name, percent in found.traffic.items())
    assert not (found.traffic == {} and any(seen.traffic.values())), "traffic never goes nowhere"
    for name in found.delete:
        assert not seen.traffic.get(name)
        assert name not in wanted.names.values()
        assert states[wanted.names[wanted.champion]] == READY
    if seen.state not in {READY, *FAILED}:
        assert found == Plan(failed=found.failed)


@given(endpoints(), WANTED)
def test_steps_lead_to_what_is_wanted_and_end(seen: Seen, wanted: Wanted) -> None:
    now = seen
    for _ in range(12):
        now = settled(now)
        if (found := plan(now, wanted)) == Plan():
            break
        now = carried_out(now, found)
    assert plan(now, wanted) == Plan()
    assert {each.name for each in now.deployments} == set(wanted.names.values())
    percent = percent_of(wanted.share) if wanted.challenger not in {None, wanted.champion} else 0
    expected = {
        wanted.names[wanted.champion]: 100 - percent,
        wanted.names[wanted.challenger or wanted.champion]: percent,
    }
    shares = expected if percent else {wanted.names[wanted.champion]: 100}
    assert {name: each for name, each in now.traffic.items() if each} == {n: e for n, e in shares.items() if e}


def settled(seen: Seen) -> Seen:
    """Every change ends well, and a person deletes what has failed."""
    left = [each for each in seen.deployments if each.state not in {"Deleting", *FAILED}]
    return Seen(READY, seen.traffic, [Running(each.name, each.version, READY) for each in left])


def carried_out(seen: Seen, found: Plan) -> Seen:
    left = [each for each in seen.deployments if each.name not in found.delete]
    made = [Running(NAMES[version], version, "Creating") for version in found.create]
    return Seen("Updating", seen.traffic if found.traffic is None else found.traffic, [*left, *made])


@given(st.from_regex(VERSION, fullmatch=True))
def test_every_version_gives_a_name_that_azure_accepts(version: str) -> None:
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9-]{1,30})[A-Za-z0-9]", name_of(version))


def test_names_differ_where_what_they_are_made_of_differs() -> None:
    assert len({name_of("a.b"), name_of("a-b"), name_of("a_b"), name_of("a-b", 1), name_of("a-b", 2)}) == 5


@pytest.mark.parametrize(
    ("share", "percent"), [(0.0, 0), (0.001, 1), (0.1, 10), (0.29, 29), (0.5, 50), (0.999, 99), (1.0, 100)]
)
def test_a_share_is_whole_per_cent(share: float, percent: int) -> None:
    assert percent_of(share) == percent


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), float("inf")])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(ContractBroken, match="share"):
        percent_of(share)


def test_an_older_deployment_that_answers_for_a_challenger_stays_while_the_new_one_is_not_ready() -> None:
    old = name_of("b", "old")
    found = [Running(NAMES["a"], "a", READY), Running(old, "b", READY), Running(NAMES["b"], "b", "Creating")]
    wanted = Wanted("a", "b", 0.5, {each: NAMES[each] for each in "ab"})
    assert plan(Seen(READY, {NAMES["a"]: 50, old: 50}, found), wanted) == Plan()
