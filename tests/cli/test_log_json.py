"""Log lines as JSON: one object each, and every line about an order carries the order's id."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Shell
from tests.support.desk_world import DeskWorld
from trueup.logs import about_order, logger
from trueup.observe.log import set_up_logging
from trueup.observe.log_json import JsonFormatter
from trueup.sim.terminal.terminal_faults import AnswerLost

ENDPOINT = "tcp://127.0.0.1:"


@pytest.fixture
def lines() -> io.StringIO:
    """The console of a program whose log is JSON."""
    return io.StringIO()


def begin(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not in the fixture: pytest sets stdout anew before a test.
    monkeypatch.setattr(sys, "stdout", lines)
    set_up_logging(console=True, as_json=True)


def read(text: str) -> list[dict[str, Any]]:
    """The objects of a log; every line must be one, with the fields that all have."""
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        assert {"time", "level", "event", "message", "logger"} <= one.keys()
        assert dt.datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["level"] in ("DEBUG", "INFO", "WARNING", "ERROR")
        assert one["event"]
    return found


def about(found: list[dict[str, Any]], order_id: str) -> list[dict[str, Any]]:
    """The lines that name an order in any field; each carries the id."""
    named = [one for one in found if order_id in json.dumps(one)]
    for one in named:
        assert order_id in (one.get("order_id"), *one.get("order_ids", ())), one
    return named


def test_a_real_order_is_found_by_its_id_from_intent_to_deal(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["TRUEUP_LOG"] = "json"
    try:
        gateway = shell.start("gateway.log", "gateway", "--simulated", "--port", "0")
        gateway.wait_for("Serving")
        serving = next(o for o in read(gateway.text()) if "Serving" in o["message"])
        endpoint = serving["message"].rpartition(" ")[2]
        assert endpoint.startswith(ENDPOINT)
        bot = shell.start(
            "bot.log",
            *("paper", "--gateway", endpoint, "--strategy", "once:BuyOnce", "--plain"),
            *("--adopt", "all"),
        )
        bot.wait_for("order.filled")
        (filled, *_) = (o for o in read(bot.text()) if o["event"] == "order.filled")
        order_id, ticket = filled["order_id"], filled["ticket"]
        # A person closes: the deal of it ends the order's story.
        assert shell.ask("trade", "close", str(ticket)).returncode == 0
        wait_for(lambda: "position.closed" in bot.text(), lambda: f"the close in {bot.text()}")
        wait_for(
            lambda: (
                {"gateway.order", "gateway.outcome"}
                <= {o["event"] for o in about(read(gateway.text()), order_id)}
            ),
            lambda: f"the order in {gateway.text()}",
        )
        steps = [one["event"] for one in about(read(bot.text()), order_id)]
        begun = ["order.created", "order.sending", "order.filled"]
        assert steps[:3] == begun
        assert {"position.closed", "position.explained"} <= set(steps)
        at_the_gateway = about(read(gateway.text()), order_id)
        assert [one["event"] for one in at_the_gateway] == ["gateway.order", "gateway.outcome"]
        assert at_the_gateway[-1]["ticket"] == ticket
        trail = json.loads(shell.ask("audit", "--json").stdout)
        told = [row["action"] for row in trail if row["order_id"] == order_id]
        assert told[:3] == ["INTENT", "SENT", "FILLED"]
        assert "CLOSED" in told
        # All that has the position's ticket has the order's id too.
        assert {row["order_id"] for row in trail if row["ticket"] == ticket} == {order_id}
    finally:
        shell.clean()


def test_an_order_that_closes_is_found_in_the_lines_of_its_deals(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld()
    world.sync()
    begin(lines, monkeypatch)
    opened = world.pm.submit("buy", 0.2)
    closed = world.pm.close(opened.ticket, 0.1)
    world.sync()
    found = read(lines.getvalue())
    (deals,) = (one for one in found if one["event"] == "position.deals")
    assert deals["order_id"] == opened.order_id
    assert deals["order_ids"] == [opened.order_id, closed.order_id]
    assert about(found, closed.order_id)[0]["position"] == opened.ticket
    assert deals in about(found, closed.order_id)


def test_a_doubt_and_its_end_carry_the_order(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld()
    world.sync()
    begin(lines, monkeypatch)
    world.terminal.faults.next_send(AnswerLost(executed=True, pipe_breaks=False))
    order = world.pm.submit("buy", 0.1)
    world.sync()
    world.sync()
    found = read(lines.getvalue())
    steps = {one["event"] for one in about(found, order.order_id)}
    assert {"order.created", "order.sending", "order.in_doubt", "order.settled"} <= steps


def test_a_doubt_that_goes_on_carries_the_order(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeskWorld, "keeps_record", False)
    world = DeskWorld()
    world.sync()
    begin(lines, monkeypatch)
    world.terminal.faults.next_send(AnswerLost(executed=False, pipe_breaks=False))
    order = world.pm.submit("buy", 0.1)
    world.sync()
    (held,) = (one for one in read(lines.getvalue()) if one["event"] == "hold")
    assert held["order_id"] == order.order_id


def test_lines_in_a_block_about_an_order_carry_it_and_others_do_not(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lines, monkeypatch)
    log = logger("trueup.test")
    with about_order("A"):
        log.info("[X] one")
        with about_order("B"):
            log.info("[X] two")
        log.info("[X] three", extra={"order_id": "C"})
    log.info("[X] four")
    found = read(lines.getvalue())
    assert [one.get("order_id") for one in found] == ["A", "B", "C", None]


def test_a_line_is_one_ascii_object_whatever_is_in_it(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lines, monkeypatch)
    forged = 'A\n{"level": "ERROR"}\r\x1b[2K\u2028→'
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("trueup.desk").exception("[DESK] %s failed", forged, extra={"x": {1, 2}})
    logging.getLogger("trueup.client").info("Connected")
    failed, connected = read(lines.getvalue())
    assert lines.getvalue().isascii()
    assert failed["message"] == f"[DESK] {forged} failed"
    assert (failed["event"], failed["level"], connected["event"]) == ("desk", "ERROR", "client")
    assert "ValueError" in failed["traceback"]
    assert failed["x"] == "{1, 2}"


def test_a_text_log_has_no_more_lines_than_before(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", lines)
    set_up_logging(console=True)
    world = DeskWorld()
    world.sync()
    world.pm.submit("buy", 0.2)
    assert "DEBUG" not in lines.getvalue()
    assert "[FILL] CONFIRMED" in lines.getvalue()


def test_an_application_may_use_the_formatter_for_its_own_handlers() -> None:
    record = logging.LogRecord("trueup.sync", logging.INFO, "", 0, "[SYNC] %s", ("x",), None)
    record.event, record.ticket = "sync.done", 5
    made = json.loads(JsonFormatter().format(record))
    assert (made["event"], made["ticket"], made["message"]) == ("sync.done", 5, "[SYNC] x")


def test_a_wrong_form_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.environment["TRUEUP_LOG"] = "xml"
    done = shell.ask("terminal", "--idle-exit", "0.01")
    assert done.returncode == 64
    assert done.stderr == "TRUEUP_LOG='xml' is not valid: give text or json.\n"
