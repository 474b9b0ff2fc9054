"""The order of the tests where processes share them.

`--dist worksteal` gives each process one stretch of the list. A process that is done takes from the
end of another's. So a long test at the end of the list would begin when nothing else is left, and
all but one process would wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

# The longest first. Nothing depends on it but the time of a run: `make test ARGS=--durations=50`.
LONG = (
    "tests/incidents/test_incidents.py",
    "tests/fleet/test_fleet_processes.py",
    "tests/world/test_world_seeds.py",
    "tests/gateway/test_gateway_kills.py",
    "tests/accounts/test_many_accounts.py",
    "tests/walks/test_walks.py",
    "tests/crash/test_run_kills.py",
    "tests/fleet/test_fleet_run.py",
    "tests/chaos/test_faulty_wire.py",
    "tests/fleet/test_simulated_fleet.py",
    "tests/crash/test_persons_commands_and_kills.py",
    "tests/conformance/test_conformance.py",
    "tests/conformance/test_strangers.py",
    "tests/cli/test_books_of_a_folder.py",
    "tests/testing/test_rehearse_page.py",
    "tests/windows/test_gateway_process.py",
    "tests/page/test_screens.py",
    "tests/assistants/test_mcp_and_kills.py",
    "tests/world/test_world_machine.py",
    "tests/world/test_world_runs.py",
    "tests/crash/test_door_kills.py",
    "tests/crash/test_crash_points.py",
    "tests/doors/test_mt5_same_values.py",
    "tests/paper/test_paper_processes.py",
    "tests/cli/test_sim_command.py",
    "tests/crash/test_random_kills.py",
    "tests/gateway/test_worker.py",
    "tests/fuzz/test_decoders.py",
    "tests/world/test_world_broker.py",
    "tests/cli/test_no_traceback.py",
    "tests/world/test_world_mutants.py",
    "tests/journal/test_journal_forks.py",
)


def dealt(items: Sequence[pytest.Item], shares: int) -> list[pytest.Item]:
    """Return the tests with long files at the beginning of each share, dealt in turn.

    A file stays in one piece: its tests may share what takes long to make.
    """
    if shares < 2:
        return list(items)
    long: dict[str, list[pytest.Item]] = {}
    short: list[pytest.Item] = []
    for item in items:
        file = item.nodeid.partition("::")[0]
        if file in LONG:
            long.setdefault(file, []).append(item)
        else:
            short.append(item)
    hands: list[list[pytest.Item]] = [[] for _ in range(shares)]
    for number, file in enumerate(sorted(long, key=LONG.index)):
        # There and back again, so that the first hand does not get the longer one each time.
        turn, place = divmod(number, shares)
        hands[shares - 1 - place if turn % 2 else place] += long[file]
    # Shares have the sizes that the tests' plugin gives them.
    order: list[pytest.Item] = []
    for number, hand in enumerate(hands):
        size = (len(items) - len(order)) // (shares - number)
        room = max(0, size - len(hand))
        order += [*hand, *short[:room]]
        del short[:room]
    return order + short
