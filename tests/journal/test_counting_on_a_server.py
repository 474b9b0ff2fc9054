"""The metrics of a journal on a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journal.postgres_server import PostgresServer
from tests.metrics.scrape import Metrics
from tests.paper.test_paper_processes import Shell
from tests.support.make import position
from trueup.core.book import events
from trueup.doors.metrics import table
from trueup.doors.metrics.counting import Counting, journal_name
from trueup.journal import open_journal


def test_a_journal_on_a_server_is_counted_under_a_name_without_its_password(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    adopted = [events.PositionAdopted(at_ns=n, position=position(n)) for n in (5, 6, 7)]
    name = journal_name(url)
    assert name.startswith("PostgreSQL database")
    key = (name, "EURUSD")
    counting = Counting()
    for count, event in enumerate(adopted, start=1):
        with open_journal(url, "EURUSD", now_ns=lambda: 1) as journal:
            journal.append([event])
        counting.read([url], [key])
        assert counting.books[key].counts[table.CORRECTED.name, "zombie"] == count
        assert [(one.trouble, one.size) for one in counting.journals] == [("", None)]


@pytest.mark.timeout(300)
def test_a_bot_with_its_journal_on_a_server_lives_and_is_killed(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_database()
    shell = Shell(tmp_path)
    shell.environment["TRUEUP_JOURNAL"] = url
    try:
        bot = shell.start("bot.log", "paper", "--strategy", "once:BuyOnce", "--journal", url)
        bot.ticket()
        metrics = Metrics(shell)
        lives = metrics.wait_until(
            lambda seen: seen.values("trueup_orders_total", outcome="filled") >= [1], "a fill"
        )
        assert lives.values("trueup_bot_up", journal=journal_name(url)) == [1]
        bot.child.kill()
        bot.child.wait()
        dead = metrics.wait_for("trueup_bot_up", 0, journal=journal_name(url))
        assert dead.one("trueup_orders_total", outcome="filled") >= 1
        assert dead.one("trueup_journal_readable", journal=journal_name(url)) == 1
        assert dead.values("trueup_bot_up") == [0], dead.text
        assert url not in dead.text

        # The book of the dead bot is that of the next one.
        shell.start("again.log", "paper", "--strategy", "once:Hold", "--journal", url)
        metrics.wait_for("trueup_bot_up", 1)
        metrics.wait_for("trueup_state", 1, state="agrees")
    finally:
        shell.clean()
