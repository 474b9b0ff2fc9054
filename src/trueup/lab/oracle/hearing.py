"""Turns a run into facts: the world's moments, and what the broker's books do between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.lab.facts import facts, moments
from trueup.lab.facts.facts import UNITS, Held, Working
from trueup.sim.broker.ledger import Ledger
from trueup.sim.market.records import BUYING_TYPES, Channel, Deal, Order, Position

Tell = Callable[[facts.Fact], None]
_read = msgspec.json.Decoder().decode
_DONE = frozenset(
    {mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_DONE_PARTIAL, mt5.TRADE_RETCODE_PLACED}
)
_TYPES = {
    mt5.ORDER_TYPE_BUY_LIMIT: "buy_limit",
    mt5.ORDER_TYPE_SELL_LIMIT: "sell_limit",
    mt5.ORDER_TYPE_BUY_STOP: "buy_stop",
    mt5.ORDER_TYPE_SELL_STOP: "sell_stop",
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: "buy_stop_limit",
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: "sell_stop_limit",
}


class Hearing:
    """A watcher of a world that tells facts.

    The broker's books have no clock of their own here: what they did is told with the time of the
    moment after it, and before that moment.
    """

    def __init__(self, ledger: Ledger, tell: Tell) -> None:
        self._ledger, self._tell = ledger, tell
        self._books = _Listener(ledger)
        self._writers: dict[int, str] = {}
        self._hears: dict[type[moments.Moment], Callable[[Any], None]] = {
            moments.Began: lambda m: tell(facts.Began(m.at_ns, m.text)),
            moments.BotStarted: self._started,
            moments.BotRefused: lambda m: tell(facts.Refused(m.at_ns, m.bot, m.because)),
            moments.BotDied: self._died,
            moments.Journalled: self._journalled,
            moments.JournalLost: lambda m: tell(facts.JournalLost(m.at_ns, m.position, m.put_back)),
            moments.Sent: lambda m: tell(facts.Sent(m.at_ns, m.bot, m.message)),
            moments.Executed: self._executed,
            moments.Served: self._served,
            moments.Heard: lambda m: tell(
                facts.Heard(m.at_ns, m.bot, (m.session, m.epoch, m.sequence))
            ),
            moments.Synced: self._synced,
            moments.Asked: lambda m: tell(
                facts.HandedOut(m.at_ns, m.bot, m.flat, m.current, m.max_age_ns, m.may_open)
            ),
            moments.Approved: lambda m: tell(facts.Approved(m.at_ns, m.bot, m.identifier)),
            moments.Forced: lambda m: tell(facts.Forced(m.at_ns, m.bot, m.identifier)),
            moments.Repeated: lambda m: tell(
                facts.Repeated(
                    m.at_ns, m.bot, f"each of its last {m.count} fills", m.before, m.after
                )
            ),
            moments.Retold: lambda m: tell(
                facts.Retold(m.at_ns, m.bot, m.first, m.second, len(m.again))
            ),
            moments.Struck: lambda m: tell(
                facts.Faulted(m.at_ns, m.fault, m.text, m.order_id, m.numbers)
            ),
            moments.Traded: lambda m: tell(facts.Traded(m.at_ns, m.text)),
            moments.Healed: lambda m: tell(facts.Healed(m.at_ns)),
            moments.Agreed: self._agreed,
            moments.Ended: self._ended,
        }

    def observe(self, moment: moments.Moment) -> None:
        """Take note of a moment."""
        happened, self._books.happened = self._books.happened, []
        for fact in happened:
            self._tell(msgspec.structs.replace(fact, at_ns=moment.at_ns))
        hear = self._hears.get(type(moment))
        if hear is not None:
            hear(moment)

    def _writes(self, moment: moments.BotStarted | moments.Journalled, position: int) -> str:
        """Return who writes, and tell of a new writer. One that was fenced out is called so."""
        newest = max(self._writers, default=0)
        if moment.token > newest:
            before = self._writers.get(newest, "")
            if before:
                self._tell(facts.Fenced(moment.at_ns, before))
            self._writers[moment.token] = moment.bot
            self._tell(facts.Started(moment.at_ns, moment.bot, position))
        elif moment.token < newest:
            fenced = f"{moment.bot}, fenced out,"
            self._tell(facts.Fenced(moment.at_ns, fenced))
            return fenced
        return moment.bot

    def _started(self, moment: moments.BotStarted) -> None:
        bot = self._writes(moment, moment.book.version)
        self._tell(_seen(moment.at_ns, bot, moment.book))

    def _died(self, moment: moments.BotDied) -> None:
        for token, bot in self._writers.items():
            if bot == moment.bot:
                self._writers[token] = ""
        self._tell(facts.Died(moment.at_ns, moment.bot, moment.where))

    def _journalled(self, moment: moments.Journalled) -> None:
        bot = self._writes(moment, moment.rows[0].position - 1)
        for row in moment.rows:
            self._tell(facts.Journalled(moment.at_ns, bot, row.position, row.kind, row.payload))

    def _executed(self, moment: moments.Executed) -> None:
        ledger = self._ledger
        order = ledger.orders.get(moment.order) or ledger.order_history.get(moment.order)
        self._tell(
            facts.Requested(
                moment.at_ns,
                login=moment.login,
                action=moment.action,
                symbol=moment.symbol,
                buys=order is not None and order.type in BUYING_TYPES,
                units=0 if order is None else self._books.units(order.symbol, order.steps_initial),
                magic=moment.magic,
                comment=moment.comment,
                done=moment.retcode in _DONE,
                retcode=moment.retcode,
                order=moment.order,
                position=moment.position,
                sl=moment.sl,
                tp=moment.tp,
            )
        )

    def _served(self, moment: moments.Served) -> None:
        self._tell(
            facts.Served(
                moment.at_ns,
                reading=(moment.session, moment.epoch, moment.sequence),
                login=moment.login,
                says_connected=moment.says_connected,
                catches_up=moment.catches_up,
                rows=moment.rows,
                digest=moment.digest,
                server_time_msc=moment.server_time_msc,
                contradicts=moment.contradicts,
                outages=moment.outages,
            )
        )

    def _synced(self, moment: moments.Synced) -> None:
        at_ns, bot, book = moment.at_ns, moment.bot, moment.after
        self._tell(
            facts.Synced(
                at_ns,
                bot=bot,
                status=moment.status,
                believed=moment.believed,
                asked_ns=moment.asked_ns,
                changed=moment.before.state != book.state,
                version=moment.before.version,
                state=moment.before.state,
                said=moment.health if moment.believed else moment.why,
                reading=moment.reading,
                rows=moment.rows,
            )
        )
        entries = tuple((e["action"], e["ticket"] or 0, e["details"]) for e in moment.audit)
        self._tell(facts.Audited(at_ns, bot, entries, book.version))
        self._tell(facts.Replanned(at_ns, bot, len(moment.again)))
        self._tell(_seen(at_ns, bot, book))
        if book.age_ns is not None:
            # Whoever asks for this age or more is told that the book is current.
            flat = not book.positions
            self._tell(facts.HandedOut(at_ns, bot, flat, current=True, max_age_ns=book.age_ns))

    def _agreed(self, moment: moments.Agreed) -> None:
        self._look(moment)
        self._tell(facts.Agreed(moment.at_ns))

    def _ended(self, moment: moments.Ended) -> None:
        self._look(moment)
        self._tell(facts.Ended(moment.at_ns, moment.owed))

    def _look(self, moment: moments.Agreed | moments.Ended) -> None:
        for bot, book in moment.books.items():
            seen = _seen(moment.at_ns, bot, book)
            self._tell(msgspec.structs.replace(seen, results=_results(book)))


def _seen(at_ns: int, bot: str, book: moments.LocalBook) -> facts.BookSeen:
    return facts.BookSeen(
        at_ns,
        bot=bot,
        version=book.version,
        positions=tuple(
            Held(
                identifier=row.identifier,
                ticket=row.ticket,
                symbol=row.symbol,
                side=row.side,
                units=round(row.volume * UNITS),
                price_open=row.price_open,
                sl=row.sl,
                tp=row.tp,
                magic=row.magic,
            )
            for row in book.positions
        ),
        orders=_orders(book) if book.pending else (),
        in_doubt=book.in_doubt,
        missing=book.missing,
        state=book.state,
        realised_units=round(book.realised * UNITS),
        strategies=tuple((s, magic, round(lots * UNITS)) for s, magic, lots in book.strategies),
    )


def _results(book: moments.LocalBook) -> tuple[tuple[int, int], ...]:
    """Return what each position brought, read off a book's saved state as plain JSON."""
    state = _read(book.state)
    held = [(one["position"]["identifier"], one["realised_units"]) for one in state["holdings"]]
    return (*held, *((key, gone["realised_units"]) for key, gone in state["closed"]))


def _orders(book: moments.LocalBook) -> tuple[Working, ...]:
    """Return the pending orders of a book, read off its saved state as plain JSON."""
    return tuple(
        Working(
            ticket=order["ticket"],
            symbol=order["symbol"],
            type=order["type"],
            units=round(order["volume"] * UNITS),
            price_open=order["price_open"],
            price_stoplimit=order["price_stoplimit"],
            sl=order["sl"],
            tp=order["tp"],
            magic=order["magic"],
        )
        for order in (pending["order"] for pending in _read(book.state)["pending"])
    )


_TRADES = frozenset({mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL})


class _Listener:
    """Turns the changes of one account's books into facts."""

    def __init__(self, ledger: Ledger) -> None:
        self.happened: list[facts.Fact] = []
        """What happened since the last moment, without a time."""
        self._ledger, self._login = ledger, ledger.setup.login
        self._booked_as: dict[int, facts.DealBooked] = {}
        for identifier, position in ledger.positions.items():
            self(Channel.POSITION, identifier, position)
        for ticket, order in ledger.orders.items():
            self(Channel.ORDER, ticket, order)
        for ticket, deal in ledger.deals.items():
            self(Channel.DEAL, ticket, deal)
        ledger.listeners.append(self)

    def __call__(self, channel: Channel, key: int, record: Position | Order | Deal | None) -> None:
        at_ns, login, tell = 0, self._login, self.happened.append
        match channel, record:
            case Channel.POSITION, Position():
                tell(facts.PositionShown(at_ns, login, self._held(record)))
            case Channel.POSITION, None:
                tell(facts.PositionLeft(at_ns, login, key))
            case Channel.ORDER, Order():
                if record.is_pending:
                    tell(facts.OrderShown(at_ns, login, self._working(record)))
            case Channel.ORDER, None:
                tell(facts.OrderLeft(at_ns, login, key))
            case Channel.DEAL, Deal():
                booked = self._booked_as[key] = self._booked(at_ns, record)
                tell(booked)
            case Channel.DEAL, None:
                was = self._booked_as[key]
                tell(facts.DealStruck(at_ns, login, key, was.identifier, was.result_units))
            case _:
                pass

    def units(self, symbol: str, steps: int) -> int:
        """Return volume steps of a symbol as units of 1e-8 lots."""
        return round(self._ledger.lots(symbol, steps) * UNITS) if symbol else 0

    def _held(self, position: Position) -> Held:
        return Held(
            identifier=position.identifier,
            ticket=position.ticket,
            symbol=position.symbol,
            side="buy" if position.is_buy else "sell",
            units=self.units(position.symbol, position.steps),
            price_open=position.price_open,
            sl=position.sl,
            tp=position.tp,
            magic=position.magic,
        )

    def _working(self, order: Order) -> Working:
        return Working(
            ticket=order.ticket,
            symbol=order.symbol,
            type=_TYPES[order.type],
            units=self.units(order.symbol, order.steps_current),
            price_open=order.price_open,
            price_stoplimit=order.price_stoplimit,
            sl=order.sl,
            tp=order.tp,
            magic=order.magic,
        )

    def _booked(self, at_ns: int, deal: Deal) -> facts.DealBooked:
        money = (deal.profit, deal.swap, deal.commission, deal.fee)
        return facts.DealBooked(
            at_ns,
            login=self._login,
            ticket=deal.ticket,
            order=deal.order,
            identifier=deal.position_id,
            symbol=deal.symbol,
            buys=deal.type == mt5.DEAL_TYPE_BUY,
            # A deal that was cancelled moves no lots any more.
            units=self.units(deal.symbol, deal.steps) if deal.type in _TRADES else 0,
            price=deal.price,
            entry=deal.entry,
            reason=deal.reason,
            result_units=sum(round(part * UNITS) for part in money),
            magic=deal.magic,
            time_msc=deal.time_msc,
        )
