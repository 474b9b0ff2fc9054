from __future__ import annotations

import itertools

import pytest

from trueup.core.recovery import CASES, BrokerShows, Case, JournalSays, decide

# The page of the design that a reader trusts, letter by letter.
DESIGN = """
| A | any | cannot be seen in full | - | wait |
| B | prepared | no trace | - | abandon: it never left |
| C | prepared | has it | - | halt: an order we did not send |
| D | sent | open | - | adopt: filled, answer lost |
| E | sent | closed | - | record entry and exit |
| F | sent | no trace | no | wait: may still be working |
| G | sent | no trace | yes | abandon |
| H | refused | no trace | - | agree |
| I | refused | has it | - | halt |
| J | filled | open | - | agree |
| K | filled | closed | - | record the exit |
| L | filled | no trace | yes | halt: a recorded fill left no trace |
"""
ROWS = {
    label: facts
    for label, *facts in (
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in DESIGN.strip().splitlines()
    )
}
SITUATIONS = list(itertools.product(JournalSays, BrokerShows, (False, True)))
# The one situation of which the page says nothing: a fresh fill that does not show yet.
UNSAID = (JournalSays.FILLED, BrokerShows.NO_TRACE, False)


def covering(journal: JournalSays, broker: BrokerShows, settled: bool) -> list[str]:
    """The labels of the page's rows for a situation."""
    return [
        label
        for label, (says, shows, when, _) in ROWS.items()
        if says in ("any", journal.value)
        and (shows == broker.value or (shows == "has it" and broker.value in ("open", "closed")))
        and when in ("-", "yes" if settled else "no")
    ]


def name(situation: tuple[JournalSays, BrokerShows, bool]) -> str:
    journal, broker, settled = situation
    return f"{journal.value}-{broker.value}-{'settled' if settled else 'unsettled'}"


@pytest.mark.parametrize("situation", SITUATIONS, ids=name)
def test_every_situation_is_decided_as_the_design_says(
    situation: tuple[JournalSays, BrokerShows, bool],
) -> None:
    journal, broker, settled = situation
    case = decide(journal, broker, settled=settled)
    if situation == UNSAID:
        assert case.decision.value == "wait"
        return
    [label] = covering(*situation)
    assert case.label == label
    assert ROWS[label][3].startswith(case.decision.value)


@pytest.mark.parametrize("situation", SITUATIONS, ids=name)
def test_no_two_rows_are_about_one_situation(
    situation: tuple[JournalSays, BrokerShows, bool],
) -> None:
    journal, broker, settled = situation
    assert len([case for case in CASES if case.covers(journal, broker, settled)]) == 1


def test_every_row_is_reached_and_none_is_missing() -> None:
    reached = {decide(j, b, settled=s).label for j, b, s in SITUATIONS}
    assert reached == set(ROWS) == {case.label for case in CASES}
    assert [case.label for case in CASES] == sorted(ROWS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_row_says_why(case: Case) -> None:
    assert len(case.because.split()) > 2


@pytest.mark.parametrize("journal", [JournalSays.SENT, JournalSays.FILLED])
def test_patience_alone_never_makes_nothing_of_an_unseen_broker(journal: JournalSays) -> None:
    for settled in (False, True):
        assert decide(journal, BrokerShows.UNSEEN, settled=settled).decision.value == "wait"
