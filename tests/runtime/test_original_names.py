"""The names by which programs written for the system that the guide describes know our classes."""

from __future__ import annotations

import logging
import sys
import threading

from src.main_paper_trading import ExecutionGateway
from src.strategy.portfolio import PortfolioManager
from src.strategy.reconciler import StateReconciler
from tests.support import make


def test_the_book_is_given_by_position_or_by_its_name() -> None:
    pm, gateway = make.portfolio(), make.gateway_saying(make.reply())
    by_name = StateReconciler(portfolio_manager=pm, gateway=gateway, sync_interval_sec=0)
    assert by_name.portfolio is StateReconciler(pm, gateway, 0).portfolio is pm


def test_each_class_shows_its_logger() -> None:
    reconciler = make.reconciler_on(make.reply())
    gateway = ExecutionGateway("127.0.0.1", 1, 50)
    for one in (reconciler, reconciler.portfolio, gateway):
        assert isinstance(one.logger, logging.Logger)
        assert one.logger.name.startswith("trueup.")


def test_the_counter_counts_the_orders_that_were_made() -> None:
    pm = PortfolioManager(symbol="EURUSD")
    assert pm.order_counter == 0
    assert pm.create_order(1, 1.0543, 0.01) is not None
    assert pm.order_counter == 1
    assert pm.create_order(0, 1.0543, 0.01) is None
    assert pm.order_counter == 1


def test_the_audit_trail_is_read_and_cleared_as_an_attribute() -> None:
    reconciler = make.reconciler_on(make.reply(make.row(1)), make.reply(make.row(1), make.row(2)))
    reconciler.startup_recovery()
    assert reconciler.audit_trail == reconciler.get_audit_trail()
    assert [entry["ticket"] for entry in reconciler.audit_trail] == [1]
    reconciler.audit_trail.clear()
    assert len(reconciler.audit_trail) == 1, "what is handed out is a copy"
    reconciler.audit_trail = []
    assert reconciler.get_audit_trail() == []
    reconciler.sync_positions()
    assert [entry["ticket"] for entry in reconciler.audit_trail] == [2]


def test_the_audit_trail_is_read_from_another_thread_while_it_grows() -> None:
    """A panel reads while the bot syncs; the interpreter changes threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    pm = make.portfolio()
    reconciler = make.reconciler_on(make.reply(), pm=pm)
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                tickets = [entry["ticket"] for entry in reconciler.get_audit_trail()]
                assert len(tickets) <= 1000
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for ticket in range(1, 1_001):
            pm.force_add_position(make.row(ticket))
            pm.force_close_position(ticket)
    finally:
        done.set()
        reader.join()
        sys.setswitchinterval(before)
    assert not wrong
    assert len(reconciler.get_audit_trail()) == 1000
