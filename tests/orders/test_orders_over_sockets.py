"""Every kind of order over a real socket, from a bot to a terminal and back."""

from __future__ import annotations

from trueup.core.book.lifecycle import OrderStatus
from trueup.core.policy import Adopt, Policy
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.person import Person
from trueup.testing import (
    ManualClock,
    SimulatedGateway,
    simulated_account,  # noqa: F401
    simulated_clock,  # noqa: F401
    simulated_gateway,  # noqa: F401
    simulated_terminal,  # noqa: F401
)

OURS = Policy(symbols=frozenset({"EURUSD"}), magics=frozenset({7}), adopt=Adopt.OURS)


def test_every_kind_of_order_goes_out_and_comes_back(
    simulated_gateway: SimulatedGateway,  # noqa: F811
    simulated_clock: ManualClock,  # noqa: F811
) -> None:
    gateway = simulated_gateway
    with gateway.client() as client:
        pm = PortfolioManager("EURUSD", magic=7, clock=simulated_clock)
        reconciler = StateReconciler(pm, client, 15, policy=OURS)
        with gateway.terminal() as terminal:
            person = Person(terminal.broker, AccountSetup().login)
            theirs = person.open("EURUSD", mt5.ORDER_TYPE_BUY, 0.3)
            waiting = person.place("EURUSD", mt5.ORDER_TYPE_BUY_LIMIT, 0.1, 1.0)
        reconciler.sync_positions()
        long, short = pm.submit("buy", 0.3), pm.submit("sell", 0.1)
        stop = pm.submit("buy", 0.1, stop=1.2, stoplimit=1.19)
        intents = [
            long,
            short,
            stop,
            pm.modify_order(stop.ticket, stoplimit=1.18, expires="day"),
            pm.cancel(stop.ticket),
            pm.close_by(long.ticket, short.ticket),
            pm.modify(theirs, 0.9, 0.0, foreign=True),
            pm.close(theirs, 0.1, foreign=True),
            pm.modify_order(waiting, price=1.01, foreign=True),
            pm.cancel(waiting, foreign=True),
            *pm.close_all(),
        ]
        assert [(intent.kind.value, intent.error) for intent in intents] == [
            ("market", None),
            ("market", None),
            ("stop_limit", None),
            ("modify_order", None),
            ("cancel", None),
            ("close_by", None),
            ("modify", None),
            ("market", None),
            ("modify_order", None),
            ("cancel", None),
            ("market", None),
        ]
        assert {intent.status for intent in intents} == {OrderStatus.FILLED}
        with gateway.terminal() as terminal:
            left = terminal.ledger.positions
            assert {key: (row.steps, row.sl) for key, row in left.items()} == {theirs: (20, 0.9)}
            assert not terminal.ledger.orders
        assert not pm.book.holdings
        assert not pm.book.pending
