"""How shards are shared out: evenly, alike on every node, with few moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trueup.doors.fleet.shards import shard_of, shards_of, target_of

loads = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 50), min_size=1)


@given(loads=loads, shards=st.integers(0, 300))
def test_targets_add_up_and_differ_by_one_at_most(loads: dict[str, int], shards: int) -> None:
    targets = [target_of(name, loads, shards) for name in loads]
    assert sum(targets) == shards
    assert max(targets) - min(targets) <= 1
    assert target_of("none of them", loads, shards) == 0


@given(loads=loads)
def test_nodes_that_are_even_keep_what_they_have(loads: dict[str, int]) -> None:
    total = sum(loads.values())
    targets = {name: target_of(name, loads, total) for name in loads}
    if max(loads.values()) - min(loads.values()) <= 1:
        assert targets == loads
    # One step moves a shard from a node above its target to a node below, never on its way back.
    assert sum(max(0, targets[name] - loads[name]) for name in loads) == sum(
        max(0, loads[name] - targets[name]) for name in loads
    )


def test_shard_of_an_account_is_the_same_on_every_machine() -> None:
    assert [shard_of(name, 256) for name in ("alpha", "beta", "a-1")] == [106, 99, 208]
    assert shards_of(("alpha", "beta"), 256) == {106, 99}
