"""Hypothesis drives the world: any fault at any time, and what breaks a promise is shrunk by it.

The seeds of `trueup sim` draw whole plans. Here Hypothesis chooses fault by fault, keeps what it
found, and shrinks it; the same oracle judges.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.world.mutants import timeout_as_rejected
from trueup.lab.facts.facts import Fact
from trueup.lab.faults.strikes import strike
from trueup.lab.oracle import Judge
from trueup.lab.plan.plan import Fault, FaultPlan, Setting, Strike
from trueup.lab.report.folding import BookFold
from trueup.lab.report.telling import story
from trueup.lab.runs.run import Listed
from trueup.lab.system.schedule import MS
from trueup.lab.world.world import World

# Turning a netting position round, and closing by another, are each one kind of account's only.
ONLY_NETTING, ONLY_HEDGING = Fault.HAND_REVERSES, Fault.HAND_CLOSES_BY


class WorldMachine(RuleBasedStateMachine):
    """A world in which Hypothesis lets faults strike and time pass."""

    @initialize(
        seed=st.integers(0, 2**16),
        netting=st.booleans(),
        owns_magic=st.booleans(),
        magic_token=st.booleans(),
        wish_every_ms=st.sampled_from([1_000, 4_000]),
    )
    def begin(
        self, seed: int, netting: bool, owns_magic: bool, magic_token: bool, wish_every_ms: int
    ) -> None:
        """Make a world without faults, and start it."""
        self._log_level = logging.getLogger("trueup").level
        logging.getLogger("trueup").setLevel(logging.CRITICAL + 1)
        setting = Setting(
            netting=netting,
            owns_magic=owns_magic and not netting,
            magic_token=magic_token,
            wish_every_ms=wish_every_ms,
        )
        self.world = World(FaultPlan(seed, 0, setting, ()))
        self.oracle = Judge(self.world.scope, BookFold)
        self.told: list[Fact] = []
        self.world.watchers += [self.oracle, Listed(self.told.append)]
        self.world.begin()

    @rule(ms=st.sampled_from([50, 700, 2_500, 6_000, 16_000]))
    def let_time_pass(self, ms: int) -> None:
        """Let everybody do what they do."""
        self.world.schedule.run(self.world.now_ns + ms * MS)

    @rule(
        fault=st.sampled_from(list(Fault)),
        detail=st.integers(0, 2**16),
        ms=st.sampled_from([0, 300, 1_200]),
    )
    def let_strike(self, fault: Fault, detail: int, ms: int) -> None:
        """Let a fault strike now, and time pass.

        What it does is drawn from `detail` alone, so that the steps around it can be left out.
        """
        netting = self.world.plan.setting.netting
        if fault is (ONLY_HEDGING if netting else ONLY_NETTING):
            return
        strike(self.world, Strike(detail, 0, fault))
        self.world.schedule.run(self.world.now_ns + ms * MS)

    @rule()
    def look(self) -> None:
        """Let the bot reconcile, as a person at the console asks it to."""
        self.world.bot.sync()

    @invariant()
    def no_promise_is_broken(self) -> None:
        """Ask the oracle; what it says comes with the whole story."""
        if hasattr(self, "oracle"):
            broken = self.oracle.verdicts()
            assert not broken, story(self.told, broken)

    def teardown(self) -> None:
        """End all faults: now book and broker owe agreement."""
        if not hasattr(self, "world"):
            return
        try:
            self.world.finish()
            self.no_promise_is_broken()
        finally:
            logging.getLogger("trueup").setLevel(self._log_level)


# Saying which lines only failing runs come to would take ten times as long as finding the shortest.
PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)


def steps_of(error: BaseException) -> list[str]:
    """Return what Hypothesis says was done in the shortest run that fails."""
    said = [line for note in getattr(error, "__notes__", ()) for line in note.splitlines()]
    done = [line.removeprefix("state.") for line in said if line.startswith("state.")]
    return [line for line in done if not line.startswith("no_promise_is_broken")]


def test_no_fault_at_any_time_breaks_a_promise() -> None:
    # The same runs every time: what is new is looked for in a soak, where shrinking may take long.
    the_same = settings(
        max_examples=30, stateful_step_count=20, derandomize=True, database=None, phases=PHASES
    )
    run_state_machine_as_test(WorldMachine, settings=the_same)


class OrdersMachine(WorldMachine):
    """The same, with few choices, so that few runs are enough to find and shrink what matters."""

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        """Make a world without faults, and start it."""
        super().begin(seed, False, True, True, 1_000)

    @rule(
        fault=st.sampled_from(
            [Fault.REPLY_LOST, Fault.REPLY_LATE, Fault.LIST_HALF, Fault.HAND_OPENS, Fault.ROBOT]
        ),
        detail=st.integers(0, 3),
        ms=st.sampled_from([0, 300, 1_200]),
    )
    def let_strike(self, fault: Fault, detail: int, ms: int) -> None:
        """Let one of these faults strike now, and time pass."""
        super().let_strike(fault, detail, ms)


def test_a_bug_that_is_seeded_on_purpose_is_found_and_shrunk_to_what_it_takes() -> None:
    found = settings(
        # The examples depend on the modules that are loaded; one of the first finds it.
        max_examples=300,
        stateful_step_count=5,
        derandomize=True,
        database=None,
        phases=PHASES,
        report_multiple_bugs=False,
    )
    with timeout_as_rejected(), pytest.raises(AssertionError, match="IS BROKEN") as caught:
        run_state_machine_as_test(OrdersMachine, settings=found)
    begun, *steps, ended = steps_of(caught.value)
    assert begun.startswith("begin(")
    assert ended == "teardown()"
    # An order, and something that lets its answer come too late or not at all.
    assert 1 <= len(steps) <= 3
    assert any(step.startswith("let_strike(") for step in steps)


# In parts, so that a soak shows how far it is, and one that gets stuck ends.
@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("part", range(30))
def test_no_fault_at_any_time_breaks_a_promise_in_thousands_of_runs(part: int) -> None:
    hundred = settings(max_examples=100, stateful_step_count=60, phases=PHASES)
    run_state_machine_as_test(WorldMachine, settings=hundred)
