"""A bot is killed, and yesterday's journal is put back: real processes, sockets and files."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support.crash_world import BotProcess, Step, Terminal

SYNC: Step = {"do": "sync"}
WAIT: Step = {"do": "wait"}
REPORT: Step = {"do": "report"}
TUESDAY: Step = {"do": "submit", "key": "tuesday", "side": "sell", "volume": 0.3}


@pytest.mark.parametrize("deleted", [False, True], ids=["restored", "deleted"])
def test_a_killed_bot_with_an_old_journal_trades_nothing_twice(
    tmp_path: Path, deleted: bool
) -> None:
    with Terminal(tmp_path) as terminal:
        monday = {"do": "submit", "key": "monday", "side": "buy", "volume": 0.1}
        bot = BotProcess(terminal, [monday, SYNC, WAIT, TUESDAY, SYNC, WAIT])
        bot.hear("waiting")
        backup = tmp_path / "backup.db"
        with sqlite3.connect(tmp_path / "bot.db") as source, sqlite3.connect(backup) as kept:
            source.backup(kept)
        source.close()
        kept.close()
        bot.tell()
        bot.hear("waiting")
        bot.kill()
        orders = terminal.count_orders()
        assert orders == 2

        for path in tmp_path.glob("bot.db*"):
            path.unlink()
        if not deleted:
            shutil.copy(backup, tmp_path / "bot.db")
        wednesday = {**TUESDAY, "key": "wednesday"}
        steps = [SYNC, SYNC, SYNC, TUESDAY, wednesday, REPORT, WAIT]
        bot = BotProcess(terminal, steps, patient=0)
        assert bot.hear("status") == "FILLED"
        lacks = (
            "The journal has sent nothing" if deleted else "The journal lacks 1 order that it sent"
        )
        assert lacks in bot.hear("refused")
        report = bot.hear("report")
        bot.kill()
        assert terminal.count_orders() == orders
        assert report["positions"] == terminal.positions()
        assert {key: order[0] for key, order in report["orders"].items()} == {
            "monday": "FILLED",
            "tuesday": "FILLED",
        }
        assert [reason for reason in report["holds"] if lacks in reason]
