"""Checks for the known deviations of gateways of the guide's family; no order is sent.

Some gateways read the kind of a request from another field than `action`. Some take `*` for the
name of a symbol, and show no positions.
"""

from __future__ import annotations

from collections.abc import Iterable

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import Outcome, Verdict, broken, holds, unseen
from trueup.conformance.examination.probe import Exchange
from trueup.core.model import Position, Snapshot
from trueup.protocol import guide

TYPE = "type"
OTHER_NAMES = (TYPE, "command", "cmd", "request")
LOOKS = 3
NO_SUCH_SYMBOL = "NOSUCHSYMBOL"
STAR, BARE = "for the symbol *", "without a symbol"


def reads_action(exam: Examination) -> Verdict:
    """GET_POSITIONS is known by its `action`."""
    if isinstance(guide.read_positions(exam.first.fields), Snapshot):
        return holds("GET_POSITIONS is known by its action", exam.first)
    other = other_name_read(exam)
    if other is not None:
        return broken(
            f"it reads `{other[0]}` and not `action`: asked so, it shows a list", other[1]
        )
    said = exam.first.error or exam.first.status or "no status"
    return unseen(f"the gateway showed no list: {said}", exam.first)


def other_name_read(
    exam: Examination, names: tuple[str, ...] = OTHER_NAMES
) -> tuple[str, Exchange] | None:
    """Return the field from which a gateway reads the kind of a request, if not from `action`."""
    for name in names:
        exchange = exam.probe.ask({name: "GET_POSITIONS", "symbol": "*"})
        if isinstance(guide.read_positions(exchange.fields), Snapshot):
            return name, exchange
    return None


def star_shows_all(exam: Examination) -> Verdict:
    """`*` and no symbol show every position; a symbol's name shows that symbol's positions."""
    verdict = _compared(exam)
    for _ in range(LOOKS - 1):
        if verdict.outcome is not Outcome.BROKEN:
            break
        # A position that opened or closed between two questions looks the same at first.
        verdict = _compared(exam)
    return verdict


def _compared(exam: Examination) -> Verdict:
    star = _list(exam, guide.GET_POSITIONS)
    if star is None:
        return unseen("there was no list")
    # A symbol that no broker has shows whether a gateway ignores the field.
    bare = _list(exam, guide.GET_ALL_POSITIONS)
    symbols = {p.symbol for p in (*star, *(bare or ()))} or {exam.options.symbol}
    asked = (*sorted(symbols), NO_SUCH_SYMBOL)
    by_symbol = {s: _list(exam, guide.encode_positions_request(s)) for s in asked}
    others = {BARE: bare} | {f"for the symbol {s}": found for s, found in by_symbol.items()}
    trouble = _of_other_symbols(by_symbol)
    if trouble:
        return broken(trouble)
    # Worst first: a form that hides positions makes a bot believe that they are closed.
    for how, found in others.items():
        hidden = _tickets(found or ()) - _tickets(star)
        if hidden:
            return broken(
                f"asked {how} it shows ticket {min(hidden)}, and asked {STAR} it does not: "
                "a bot asks in the form that shows more"
            )
    shown = [found for found in others.values() if found]
    if not star and not shown:
        return unseen("the account has no position by which to compare the forms")
    if bare is not None and _tickets(bare) != _tickets(star):
        return broken(f"asked {STAR} it shows {len(star)} positions, asked {BARE} {len(bare)}")
    refuses = f"; it takes no question {BARE}, and a bot needs none" if bare is None else ""
    return holds(f"all forms of the question show the same positions{refuses}")


def _of_other_symbols(by_symbol: dict[str, list[Position] | None]) -> str:
    """Name a position that is listed under another symbol, or return ''."""
    for symbol, found in by_symbol.items():
        strangers = [position for position in found or () if position.symbol != symbol]
        if strangers:
            return (
                f"asked for the symbol {symbol} it shows ticket {strangers[0].ticket}, which is in "
                f"{strangers[0].symbol}"
            )
    return ""


def _list(exam: Examination, question: bytes) -> list[Position] | None:
    reading = guide.read_positions(exam.probe.ask(question).fields)
    return list(reading.positions) if isinstance(reading, Snapshot) else None


def _tickets(positions: Iterable[Position]) -> set[int]:
    return {position.ticket for position in positions}
