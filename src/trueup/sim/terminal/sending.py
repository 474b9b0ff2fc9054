"""`order_send` and `order_check`: refusals by the terminal, execution by the server, send faults.

Sources: MT5 reference, OrderSend; trade server return codes.
"""

from __future__ import annotations

from msgspec.structs import replace

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.broker.holdings import Figures
from trueup.sim.market.records import RETCODE_TEXTS, Outcome, Refusal
from trueup.sim.market.structs import OrderCheckResult, OrderSendResult, TradeRequest
from trueup.sim.market.switches import DownSend, OptionOff
from trueup.sim.terminal import rows
from trueup.sim.terminal.program import CallFailed, Pipe, TerminalProgram
from trueup.sim.terminal.terminal_faults import (
    Answered,
    AnswerLost,
    DoneWithoutDeal,
    Hang,
    Partial,
    PlacedLater,
    SendFault,
    TimedOut,
)

_SYMBOL_BOUND = frozenset({mt5.TRADE_ACTION_DEAL, mt5.TRADE_ACTION_PENDING})
_EXPERT = mt5.ORDER_REASON_EXPERT


def send(program: TerminalProgram, request: TradeRequest) -> OrderSendResult:
    """Send a request to the server and return the answer; `CallFailed` stands for None."""
    refused = _refused_here(program, request)
    if refused is not None:
        return _result(program, request, refused)
    outcome = _with_fault(program, request, program.faults.take_send())
    program.settle()
    return _result(program, request, outcome)


def check(program: TerminalProgram, request: TradeRequest) -> OrderCheckResult:
    """Check a request without sending the request; retcode 0 is success."""
    refused = _refused_here(program, request)
    if refused is not None:
        return rows.check_result(request, refused, None)
    outcome, needed = program.broker.check(program.current_login, request, _EXPERT)
    if outcome.retcode:
        return rows.check_result(request, outcome, None)
    now = program.view.figures()
    ledger = program.view.ledger
    digits = ledger.setup.currency_digits
    margin = round(now.margin + needed, digits)
    after = Figures.of(now.balance, now.credit, now.profit, margin, digits, ledger.blocked)
    return rows.check_result(request, outcome, after)


# -- refused by the terminal itself ------------------------------------------------------------


def _refused_here(program: TerminalProgram, request: TradeRequest) -> Outcome | None:
    """Return a refusal of the terminal itself, with zeros for all figures; None to send."""
    # The order of the checks decides the return code of a request with several faults.
    if program.python_trading_disabled:
        if program.switches.python_option_off is OptionOff.NONE_MINUS_8:
            raise CallFailed(mt5.RES_E_AUTO_TRADING_DISABLED)
        return _local(mt5.TRADE_RETCODE_CLIENT_DISABLES_AT)
    if not program.algo_trading:
        return _local(mt5.TRADE_RETCODE_CLIENT_DISABLES_AT)
    if not program.is_connected:
        return _while_down(program, request)
    if not program.view.is_synchronised:
        # The terminal enables trading only after the synchronisation.
        return _local(mt5.TRADE_RETCODE_CONNECTION)
    if program.investor:
        return _local(mt5.TRADE_RETCODE_TRADE_DISABLED)
    if request.action in _SYMBOL_BOUND:
        if request.symbol not in program.market.setups:
            return _local(mt5.TRADE_RETCODE_INVALID)
        if not program.shows_symbol(request.symbol):
            return _local(mt5.TRADE_RETCODE_PRICE_OFF)
    return None


def _while_down(program: TerminalProgram, request: TradeRequest) -> Outcome:
    match program.switches.disconnected_send:
        case DownSend.EXECUTED_LATER:
            program.owe(request)
        case DownSend.TIMED_OUT:
            return _local(mt5.TRADE_RETCODE_TIMEOUT)
        case DownSend.BLOCKS:
            program.faults.on_hang("order_send")
        case DownSend.REFUSED:
            pass
    return _local(mt5.TRADE_RETCODE_CONNECTION)


def _local(retcode: int) -> Outcome:
    return Outcome(retcode, comment=RETCODE_TEXTS[retcode], local=True)


# -- faults ------------------------------------------------------------------------------------


def _with_fault(
    program: TerminalProgram, request: TradeRequest, fault: SendFault | None
) -> Outcome:
    # Each fault fixes two things independently: the effect at the server, and the answer.
    match fault:
        case None:
            return _execute(program, request)
        case AnswerLost(executed, code, pipe_breaks):
            if executed:
                _execute(program, request)
            if pipe_breaks:
                program.pipe = Pipe.CLOSED
            raise CallFailed(code)
        case TimedOut(fill_after_ms):
            if fill_after_ms is not None:
                program.broker.execute_later(program.current_login, request, _EXPERT, fill_after_ms)
            # 10012 promises nothing: the order can still fill later.
            return _server_says(program, request, mt5.TRADE_RETCODE_TIMEOUT)
        case DoneWithoutDeal(lacks):
            outcome = _execute(program, request)
            if outcome.retcode != mt5.TRADE_RETCODE_DONE:
                return outcome
            return replace(
                outcome,
                deal=0 if "deal" in lacks else outcome.deal,
                steps=0 if "volume" in lacks else outcome.steps,
                price=0.0 if "price" in lacks else outcome.price,
            )
        case PlacedLater(delay_ms, fill):
            return program.broker.hold(program.current_login, request, _EXPERT, delay_ms, fill=fill)
        case Answered(retcode, comment, executed):
            if executed:
                _execute(program, request)
            return _server_says(program, request, retcode, comment)
        case Partial(volume):
            return _execute(program, request, volume)
        case Hang(executed):
            return _hang(program, request, executed=executed)


def _hang(program: TerminalProgram, request: TradeRequest, *, executed: bool) -> Outcome:
    if executed:
        outcome = _execute(program, request)
        program.faults.on_hang("order_send")
        return outcome
    program.faults.on_hang("order_send")
    return _execute(program, request)


def _execute(
    program: TerminalProgram, request: TradeRequest, lots_max: float | None = None
) -> Outcome:
    return program.broker.execute(program.current_login, request, _EXPERT, lots_max=lots_max)


def _server_says(
    program: TerminalProgram, request: TradeRequest, retcode: int, comment: str | None = None
) -> Outcome:
    refusal = Refusal(retcode, comment)
    return replace(program.broker.refused(request.symbol, refusal), local=False)


def _result(program: TerminalProgram, request: TradeRequest, outcome: Outcome) -> OrderSendResult:
    request_id = 0 if outcome.local else program.next_request_id()
    if program.switches.answers_with_request_comment and outcome.order:
        outcome = replace(outcome, comment=request.comment)
    setup = program.market.setups.get(request.symbol)
    if setup is None and outcome.order:
        ledger = program.view.ledger
        order = ledger.orders.get(outcome.order) or ledger.order_history[outcome.order]
        setup = program.market.setup_of(order.symbol)
    step = setup.volume_step if setup is not None else 0.0
    dust = program.switches.volume_dust
    return rows.send_result(request, outcome, request_id, step, dust=dust)
