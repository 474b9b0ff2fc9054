"""A bot of `trueup run` under limits, killed; and that the judge sees what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.run_kills import SETTINGS, RunKills, run
from tests.support.hosted_terminal import HostedTerminal
from tests.support.servers import until

KILLS, MANY_KILLS = 6, 200
LONG_SEC = 90.0


@pytest.mark.timeout(600)
def test_a_few_kills_forget_no_limit_and_apply_none_twice(tmp_path: Path) -> None:
    figures, wrong = run(tmp_path, KILLS, seed=3)
    assert wrong == [], figures


@pytest.mark.soak
def test_hundreds_of_kills_forget_no_limit_and_apply_none_twice(tmp_path: Path) -> None:
    figures, wrong = run(tmp_path, MANY_KILLS, seed=7)
    assert wrong == [], figures


def test_without_the_limits_the_judge_sees_positions_beside_each_other(tmp_path: Path) -> None:
    with HostedTerminal(tmp_path / "home", seed=5) as terminal:
        settings = SETTINGS.partition("[limits]")[0]
        kills = RunKills(terminal, tmp_path, 1, settings)
        (bot,) = kills.bots
        bot.start()
        try:
            until(lambda: terminal.watch.doubled or bot.has_ended, LONG_SEC)
        finally:
            bot.kill()
            bot.wait()
        assert "was opened beside" in kills.wrong[0]
