"""A gateway as a stranger writes one, from docs/reference/wire-protocol.md alone.

Nothing of the product is imported here, so what the page leaves out is missing here too. The broker
behind it is the smallest that the page's orders need: one hedging account, and one symbol whose
price stands still.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from tests.support.servers import TURN_MS, Threaded, until

Fields = dict[str, Any]

SYMBOL, BID, ASK, STEP, TICK_SIZE, DIGITS, CONTRACT = "EURUSD", 1.1, 1.1001, 0.01, 1e-5, 5, 100_000
LOGIN, SERVER = 70_000_001, "Stranger-Demo"
ZONE_SEC = 7_200
MOST, LONGEST_HISTORY_SEC, LONGEST_ID = 500, 31 * 86_400, 128
HINT_EVERY_SEC = 0.1
CAPABILITIES = [
    *("SNAPSHOT", "DEALS", "TICK", "REQUEST_STATUS", "HISTORY", "CALL"),
    *("MODIFY_ORDER", "STOP_LIMIT", "CLOSE_BY", "CLAIM"),
]
UNSUPPORTED = [-7, "Unsupported method"]
DONE = 10009
# Every field of an order that says what it does, and what holds without it.
PARAMETERS: Fields = {
    "action": "",
    "symbol": "*",
    "volume": 0.0,
    "price": 0.0,
    "sl": 0.0,
    "tp": 0.0,
    "position": 0,
    "order": 0,
    "magic": 0,
    "login": 0,
    "server": "",
    "comment": "",
    "type": "market",
    "stoplimit": 0.0,
    "position_by": 0,
}


class Refused(Exception):
    """What is asked for is not done, and nothing happened."""


def units(value: float) -> int:
    return round(value * 100_000_000)


class Broker:
    """An account: what it has, and what happened on it."""

    def __init__(self) -> None:
        self.positions: dict[int, Fields] = {}
        self.pending: dict[int, Fields] = {}
        self.deals: list[Fields] = []
        self.ended: dict[int, Fields] = {}
        self.balance = 10_000.0
        self._tickets = itertools.count(9_000_000_001)

    def now_msc(self) -> int:
        return round(time.time() * 1000) + ZONE_SEC * 1000

    def trade(self, order: Fields) -> Fields:
        """Carry an order out at the market; return ticket, deal, volume and price."""
        side, volume = order["action"].lower(), float(order["volume"])
        if order["symbol"] != SYMBOL:
            raise Refused(f"no symbol {order['symbol']}")
        if units(volume) < units(STEP) or units(volume) % units(STEP):
            raise Refused(f"{volume} lots are not valid")
        position = self.positions.get(order["position"])
        if order["position"] and (position is None or position["type"] == side):
            raise Refused(f"{order['position']} cannot be closed so")
        if position is not None and units(volume) > units(position["volume"]):
            raise Refused("more than the position has")
        ticket, deal = next(self._tickets), next(self._tickets)
        price = ASK if side == "buy" else BID
        if position is None:
            self._open(ticket, side, volume, price, order)
        else:
            self._close(position, volume)
        identifier = ticket if position is None else position["identifier"]
        self._add_deal(deal, ticket, identifier, position, {**order, "price": price})
        return {"ticket": ticket, "deal": deal, "volume": volume, "price": price}

    def _open(self, ticket: int, side: str, volume: float, price: float, order: Fields) -> None:
        now = self.now_msc()
        self.positions[ticket] = {
            "ticket": ticket,
            "identifier": ticket,
            "symbol": SYMBOL,
            "type": side,
            "volume": volume,
            "price_open": price,
            "sl": order["sl"],
            "tp": order["tp"],
            "magic": order["magic"],
            "comment": order["comment"][:29],
            "time": now // 1000,
            "time_msc": now,
            "swap": 0.0,
            "reason": 3,
        }

    def _close(self, position: Fields, volume: float) -> None:
        self.balance += self.profit({**position, "volume": volume})
        self._shrink(position, volume)

    def _shrink(self, position: Fields, volume: float) -> None:
        position["volume"] = round(position["volume"] - volume, 2)
        if not units(position["volume"]):
            del self.positions[position["ticket"]]

    def _add_deal(
        self, deal: int, order: int, identifier: int, closed: Fields | None, sent: Fields
    ) -> None:
        self.deals.append(
            {
                "ticket": deal,
                "order": order,
                "position": identifier,
                "symbol": SYMBOL,
                "side": sent["action"].lower(),
                "entry": "in" if closed is None else "out",
                "volume": sent["volume"],
                "price": sent["price"],
                "reason": "by a program",
                "magic": sent["magic"],
                "comment": sent["comment"],
                "time_msc": self.now_msc(),
            }
        )

    def close_by(self, order: Fields) -> Fields:
        """Close two opposite positions by each other; return ticket, deal, volume and price."""
        both = [self.positions.get(order[name]) for name in ("position", "position_by")]
        first, second = both
        if first is None or second is None or first["type"] == second["type"]:
            raise Refused("they cannot be closed by each other")
        volume, ticket = min(first["volume"], second["volume"]), next(self._tickets)
        deals = [next(self._tickets), next(self._tickets)]
        legs = ((deals[0], first, second["price_open"]), (deals[1], second, first["price_open"]))
        for deal, position, price in legs:
            side = "SELL" if position["type"] == "buy" else "BUY"
            sent = {**order, "action": side, "volume": volume, "price": price}
            self._add_deal(deal, ticket, position["identifier"], position, sent)
            self.deals[-1]["entry"] = "out_by"
            self._shrink(position, volume)
        moved = second["price_open"] - first["price_open"]
        sign = 1 if first["type"] == "buy" else -1
        self.balance += round(sign * moved * volume * CONTRACT, 2)
        return {"ticket": ticket, "deal": deals[0], "volume": volume, "price": legs[0][2]}

    def place(self, order: Fields) -> int:
        """Let a pending order wait; return its ticket."""
        if order["symbol"] != SYMBOL or units(order["volume"]) < units(STEP):
            raise Refused("no such symbol, or no such volume")
        is_below, is_limit = order["price"] < BID, order["type"] == "limit"
        if is_below is not ((order["action"] == "BUY") is is_limit):
            raise Refused(f"{order['price']} is on the wrong side of the market")
        ticket = next(self._tickets)
        self.pending[ticket] = {
            "ticket": ticket,
            "symbol": SYMBOL,
            "volume": order["volume"],
            "type": f"{order['action'].lower()}_{order['type']}",
            "price_open": order["price"],
            "price_stoplimit": order["stoplimit"],
            "sl": order["sl"],
            "tp": order["tp"],
            "magic": order["magic"],
            "comment": order["comment"][:29],
            "time_setup": self.now_msc() // 1000,
            "volume_initial": order["volume"],
        }
        return ticket

    def cancel(self, ticket: int) -> None:
        if self.pending.pop(ticket, None) is None:
            raise Refused(f"{ticket} does not work")
        self.ended[ticket] = {"ticket": ticket, "state": "canceled", "filled": 0.0}

    def modify_order(self, ticket: int, order: Fields) -> None:
        if ticket not in self.pending:
            raise Refused(f"{ticket} does not work")
        self.pending[ticket].update(
            price_open=order["price"],
            price_stoplimit=order["stoplimit"],
            sl=order["sl"],
            tp=order["tp"],
        )

    def modify(self, ticket: int, sl: float, tp: float) -> None:
        if ticket not in self.positions:
            raise Refused(f"{ticket} is no position")
        self.positions[ticket].update(sl=sl, tp=tp)

    def profit(self, position: Fields) -> float:
        moved = BID - position["price_open"]
        if position["type"] == "sell":
            moved = position["price_open"] - ASK
        return float(round(moved * position["volume"] * CONTRACT, 2))

    def rows(self) -> list[Fields]:
        return [
            {**row, "profit": self.profit(row), "price_current": BID}
            for row in self.positions.values()
        ]

    def floating(self) -> float:
        return round(sum(map(self.profit, self.positions.values())), 2)


class Record:
    """The durable record of requests: a file of lines, read when the gateway starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[str, Fields] = {}
        self.name = f"record-{time.time_ns():x}"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            self._read(json.loads(line))
        if not self.entries and not path.exists():
            self._write({"name": self.name})

    def _read(self, line: Fields) -> None:
        if "name" in line:
            self.name = line["name"]
        else:
            self.entries[line["order_id"]] = line

    def keep(self, order_id: str, **fields: Any) -> None:
        known = self.entries.get(order_id)
        number = len(self.entries) + 1 if known is None else known["number"]
        came_ns = time.time_ns() if known is None else known["came_ns"]
        entry = {"order_id": order_id, "number": number, "came_ns": came_ns, **fields}
        self.entries[order_id] = entry
        self._write(entry)

    def _write(self, line: Fields) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def mark(self) -> Fields:
        newest = max(self.entries.values(), key=lambda entry: int(entry["number"]), default=None)
        if newest is None:
            return {"id": self.name, "last": 0, "came_ns": 0}
        return {"id": self.name, "last": newest["number"], "came_ns": newest["came_ns"]}

    def covers(self, mark: Fields | None) -> bool:
        if mark is None or mark["id"] != self.name:
            return False
        if not mark.get("last"):
            return True
        numbers = {entry["number"]: entry["came_ns"] for entry in self.entries.values()}
        return bool(numbers.get(mark["last"]) == mark.get("came_ns"))


class Stranger(Threaded):
    """The gateway. `broker` and the record in `folder` outlive it; a wrong one overrides a method.

    It speaks one thread long over a ROUTER socket, and hints over a PUB socket.
    """

    version = 1

    def __init__(self, broker: Broker, folder: Path, port: int = 0) -> None:
        super().__init__()
        self.broker, self.port, self._hints_port = broker, port, 0
        self.record = self.open_record(folder)
        self.boot = self.new_boot()
        self._sessions: dict[str, int] = {}
        self.claims: dict[str, Fields] = {}
        self.tokens: dict[str, int] = {}
        self.actions: dict[str, Callable[[Fields], Fields]] = {
            "GET_POSITIONS": self.get_positions,
            "HELLO": self.hello,
            "PING": lambda request: {"status": "SUCCESS"},
            "TICK": self.tick,
            "SNAPSHOT": self.snapshot,
            "HISTORY": self.history,
            "CALL": self.call,
            "CLAIM": self.claim,
            "REQUEST_STATUS": self.request_status,
            **dict.fromkeys(
                ("BUY", "SELL", "MODIFY", "CANCEL", "MODIFY_ORDER", "CLOSE_BY"), self.order
            ),
        }

    def open_record(self, folder: Path) -> Record:
        return Record(folder / "record.jsonl")

    def new_boot(self) -> str:
        return f"{time.time_ns():x}"

    # The wire.

    def read(self, raw: bytes) -> Any:
        return json.loads(raw)

    def reply(self, raw: bytes) -> bytes | None:
        """Return the reply to a request, whatever its bytes are."""
        try:
            request = self.read(raw)
        except (ValueError, RecursionError) as error:
            return self.unreadable(f"no JSON: {error}")
        if not isinstance(request, dict) or not isinstance(request.get("action"), str):
            return self.unreadable("no request")
        answer = self._answer(request)
        if "uuid" in request:
            answer["uuid"] = request["uuid"]
        return json.dumps(answer).encode()

    def unreadable(self, why: str) -> bytes | None:
        return json.dumps({"status": "ERROR", "error": why}).encode()

    def _answer(self, request: Fields) -> Fields:
        handle = self.actions.get(request["action"])
        if handle is None:
            return {"status": "ERROR", "error": f"unknown action {request['action']}"}
        try:
            return handle(request)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(request.get("order_id"), str) and request["order_id"]:
                return self.outcome(request["order_id"], "REJECTED", error=repr(error))
            return {"status": "ERROR", "error": repr(error)}

    def capabilities(self) -> list[str]:
        return [*CAPABILITIES, f"HINTS {self._hints_port}"] if self._hints_port else CAPABILITIES

    # Questions.

    def get_positions(self, request: Fields) -> Fields:
        rows = self.shown_in(request.get("symbol", "*"))
        more = {"capabilities": self.capabilities()}
        return {"status": "SUCCESS", "positions": rows, "error": None, **more}

    def shown_in(self, symbol: str) -> list[Fields]:
        return [row for row in self.broker.rows() if symbol in ("*", row["symbol"])]

    def hello(self, request: Fields) -> Fields:
        return {
            "status": "SUCCESS",
            "server": "stranger",
            "version": self.version,
            "capabilities": self.capabilities(),
            "epoch": self.boot,
            "role": "trade",
        }

    def tick(self, request: Fields) -> Fields:
        if request["symbol"] != SYMBOL:
            return {"status": "FAILED", "symbol": request["symbol"], "error": "no quotes"}
        quoted = {"bid": BID, "ask": ASK, "time_msc": self.broker.now_msc()}
        return {"status": "SUCCESS", "symbol": SYMBOL, **quoted, "error": None}

    def call(self, request: Fields) -> Fields:
        if request["function"] == "order_send":
            raise ValueError("orders go another way")
        said = {"status": "SUCCESS", "id": request.get("id", 0)}
        if request["function"] != "symbol_info_tick" or request.get("args") != [SYMBOL]:
            return {**said, "error": UNSUPPORTED}
        now_msc = self.broker.now_msc()
        values = [now_msc // 1000, BID, ASK, 0.0, 0, now_msc, 6, 0.0]
        names = ["time", "bid", "ask", "last", "volume", "time_msc", "flags", "volume_real"]
        row = {"shape": "row", "value": values, "name": "Tick", "fields": names}
        return {**said, "error": [1, "Success"], **row}

    def claim(self, request: Fields) -> Fields:
        scope, account = request["scope"], f"{LOGIN}@{SERVER}"
        others = (held for run, held in self.claims.items() if run != scope["run"])
        if request.get("release"):
            self.claims.pop(scope["run"], None)
            return {"status": "SUCCESS", "account": account}
        if not self.may(request):
            known = self.tokens[request["journal"]]
            return {"status": "REJECTED", "account": account, "error": "older", "token": known}
        if any(self.overlap(scope, held) for held in others):
            return {"status": "REJECTED", "account": account, "error": "somebody has that"}
        self.claims[scope["run"]] = scope
        granted = {"status": "SUCCESS", "account": account, "lease_ms": 60_000}
        return {**granted, "token": self.tokens.get(request.get("journal", ""), 0)}

    def may(self, request: Fields) -> bool:
        """Keep the newest token of a journal; whether this one is not older."""
        journal, token = request.get("journal"), request.get("token")
        if not journal or not token:
            return True
        known = self.tokens[journal] = max(token, self.tokens.get(journal, 0))
        return bool(token == known)

    def overlap(self, one: Fields, other: Fields) -> bool:
        wanted, held = one.get("symbols") or ["*"], other.get("symbols") or ["*"]
        if "*" not in (*wanted, *held) and not set(wanted) & set(held):
            return False
        ours, theirs = one.get("magics"), other.get("magics")
        return not (ours and theirs) or bool(set(ours) & set(theirs))

    def snapshot(self, request: Fields) -> Fields:
        self.check_limits(request)
        if not self.may(request):
            return {"status": "FAILED", "error": "a newer writer was here"}
        requests = [self.doubt(one) for one in request.get("in_doubt", [])]
        explain, ends = request.get("explain", []), request.get("explain_orders", [])
        epoch, sequence = self.number(request["session"])
        digest = self.digest()
        asks_more = bool(explain or ends or requests or request.get("history_age_sec"))
        evidence = {
            "id": request["id"],
            "epoch": epoch,
            "sequence": sequence,
            "digest": digest,
            "server_time_msc": self.server_time_msc(),
            "time_offset_sec": ZONE_SEC,
            "profit_bounds": [self.broker.floating()] * 2,
            "version": self.version,
        }
        counts = [len(self.broker.positions), len(self.broker.pending)]
        if not asks_more and self.is_unchanged(request.get("digest", ""), digest):
            evidence["digest"] = request["digest"]
            lists = {"account": [*self.account().values()], "terminal": [True, True, 1000, 5000]}
            own = {"counts": counts, "floating": self.broker.floating()}
            return {"status": "UNCHANGED", **evidence, **lists, **own}
        deals = [deal for deal in self.broker.deals if deal["position"] in explain]
        return {
            "status": "SUCCESS",
            **evidence,
            "account": self.account(),
            "terminal": {"connected": True, "trade_allowed": True, "ping_us": 1000, "build": 5000},
            "positions": self.positions(),
            "orders": [*self.broker.pending.values()],
            "count_before": counts,
            "count_after": counts,
            "deals": deals,
            "explained": explain,
            "requests": requests,
            "record": self.record.mark(),
            "past_orders": [self.broker.ended[t] for t in ends if t in self.broker.ended],
            "specs": [
                {"symbol": SYMBOL, "volume_step": STEP, "tick_size": TICK_SIZE, "digits": DIGITS}
            ],
        }

    def check_limits(self, request: Fields) -> None:
        for name in ("symbols", "explain", "explain_orders", "in_doubt"):
            if len(request.get(name, [])) > MOST:
                raise ValueError(f"more than {MOST} {name}")
        if not 0 <= request.get("history_age_sec", 0) <= LONGEST_HISTORY_SEC:
            raise ValueError("history_age_sec is more than 31 days")

    def positions(self) -> list[Fields]:
        return self.broker.rows()

    def number(self, session: str) -> tuple[str, int]:
        self._sessions[session] = self._sessions.get(session, 0) + 1
        return f"{self.boot}/{session}", self._sessions[session]

    def server_time_msc(self) -> int:
        return self.broker.now_msc()

    def is_unchanged(self, theirs: str, now: str) -> bool:
        return theirs == now

    def account(self) -> Fields:
        floating = self.broker.floating()
        margin = sum(row["volume"] for row in self.broker.positions.values()) * 1_000
        return {
            "login": LOGIN,
            "server": SERVER,
            "currency": "USD",
            "margin_mode": "hedging",
            "balance": self.broker.balance,
            "equity": self.broker.balance + floating,
            "credit": 0.0,
            "margin": margin,
            "profit": floating,
            "currency_digits": 2,
            "trade_allowed": True,
            "fifo_close": False,
            "trade_mode": "demo",
        }

    def lines(self) -> list[str]:
        """Return the lines of the digest, steps 1 and 2 of the page."""
        found = []
        for row in self.positions():
            amounts = [self.units(row[name]) for name in ("volume", "price_open", "sl", "tp")]
            words = [row.get("identifier", 0), row["ticket"], row["symbol"], row["type"]]
            found.append(" ".join(map(str, ["p", *words, *amounts, row["magic"]])))
        for row in self.broker.pending.values():
            names = ("volume", "price_open", "price_stoplimit", "sl", "tp")
            amounts = [self.units(row[name]) for name in names]
            words = [row["ticket"], row["symbol"], row["type"]]
            found.append(" ".join(map(str, ["o", *words, *amounts, row["magic"]])))
        return found

    def units(self, value: float) -> int:
        return units(value)

    def digest(self) -> str:
        """Steps 3 and 4."""

        def blake(text: str, key: bytes) -> bytes:
            return hashlib.blake2b(text.encode(), digest_size=16, key=key).digest()

        lines = self.lines()
        total = sum(int.from_bytes(blake(line, b"trueup-row"), "big") for line in lines) % 2**128
        return blake(f"{len(lines)} {total:032x}", b"trueup-set").hex()

    def history(self, request: Fields) -> Fields:
        since, until = request.get("since_msc", 0), request.get("until_msc", 0) or math.inf
        wanted = request.get("symbols", [])
        deals = [
            deal
            for deal in sorted(self.broker.deals, key=lambda d: (d["time_msc"], d["ticket"]))
            if since <= deal["time_msc"] < until and (not wanted or deal["symbol"] in wanted)
        ]
        account = {"id": request["id"], "login": LOGIN, "server": SERVER}
        return {"status": "SUCCESS", **account, "deals": deals, "next": ""}

    # Orders, each at most once.

    def request_status(self, request: Fields) -> Fields:
        order_id = request["order_id"]
        if not 0 < len(order_id) <= LONGEST_ID:
            return {"status": "ERROR", "error": "an order_id has 1 to 128 characters"}
        told = {"request": self.told(order_id), "record": self.record.mark()}
        return {"status": "SUCCESS", **told}

    def told(self, order_id: str) -> Fields:
        entry = self.record.entries.get(order_id)
        if entry is None:
            return {"order_id": order_id, "state": "never seen"}
        if entry["state"] != "outcome":
            return {"order_id": order_id, "state": entry["state"]}
        outcome = entry["outcome"]
        return {
            "order_id": order_id,
            "state": "outcome",
            "login": LOGIN,
            "server": SERVER,
            "status": outcome["status"],
            "ticket": outcome["ticket"] or 0,
            "volume": outcome["filled_volume"] or 0.0,
            "price": outcome["filled_price"],
            "retcode": outcome["retcode"] or 0,
            "error": outcome["error"] or "",
        }

    def doubt(self, asked: Fields) -> Fields:
        order_id = asked["id"]
        if order_id not in self.record.entries:
            self.withdraw(order_id)
        told = self.told(order_id)
        if told["state"] == "never seen":
            told["state"] = "withdrawn"
        return {**told, "covered": self.covers(asked.get("record"))}

    def withdraw(self, order_id: str) -> None:
        self.record.keep(order_id, state="withdrawn", parameters=None, outcome=None)

    def covers(self, mark: Fields | None) -> bool:
        return self.record.covers(mark)

    def parameters(self, request: Fields) -> Fields:
        return {name: request.get(name, default) for name, default in PARAMETERS.items()}

    def order(self, request: Fields) -> Fields:
        order_id = request.get("order_id", "")
        if not isinstance(order_id, str) or not 0 < len(order_id) <= LONGEST_ID:
            return {"status": "ERROR", "error": "an order has an order_id of 1 to 128 characters"}
        asked = self.parameters(request)
        known = self.record.entries.get(order_id)
        if known is not None:
            return self.again(known, asked)
        self.record.keep(order_id, state="prepared", parameters=asked, outcome=None)
        outcome = self._first(order_id, {**PARAMETERS, **request})
        self.record.keep(order_id, state="outcome", parameters=asked, outcome=outcome)
        return outcome

    def again(self, known: Fields, asked: Fields) -> Fields:
        order_id = known["order_id"]
        if known["state"] == "withdrawn":
            return self.outcome(order_id, "REJECTED", error="it was withdrawn")
        if known["parameters"] != asked:
            return self.outcome(order_id, "REJECTED", error="its id was used before")
        if known["outcome"] is None:
            return self.outcome(order_id, "UNKNOWN", error="the gateway died in between")
        return {**known["outcome"], **self.repeated()}

    def repeated(self) -> Fields:
        return {"repeated": True}

    def _first(self, order_id: str, order: Fields) -> Fields:
        try:
            if self.is_elsewhere(order):
                raise Refused("it is for another account")
            if order.get("claim") and not self.holds(order["claim"]):
                raise Refused("its claim is not held")
            if not self.may(order):
                raise Refused("a newer writer was here")
            return self.carry_out(order_id, order)
        except (Refused, TypeError, ValueError) as why:
            return self.outcome(order_id, "REJECTED", error=f"{why}")

    def holds(self, claim: str) -> bool:
        return claim in self.claims

    def is_elsewhere(self, order: Fields) -> bool:
        return order["login"] not in (0, LOGIN) or order["server"] not in ("", SERVER)

    def carry_out(self, order_id: str, order: Fields) -> Fields:
        if order["action"] == "MODIFY_ORDER":
            self.broker.modify_order(order["order"], order)
            return self.outcome(order_id, "DONE", ticket=order["order"], retcode=DONE)
        if order["action"] == "MODIFY":
            self.broker.modify(order["position"], order["sl"], order["tp"])
            return self.outcome(order_id, "DONE", retcode=DONE)
        if order["action"] == "CANCEL":
            self.broker.cancel(order["order"])
            return self.outcome(order_id, "DONE", ticket=order["order"], retcode=DONE)
        if order["action"] == "CLOSE_BY":
            return self.filled(order_id, self.broker.close_by(order))
        if order["type"] == "market":
            return self.filled(order_id, self.broker.trade(order))
        if order["type"] not in ("limit", "stop", "stop_limit") or order["position"]:
            raise Refused("no such type, or a pending order with a position")
        if (order["type"] == "stop_limit") is not (order["stoplimit"] > 0):
            raise Refused("a stop_limit order has a stoplimit, and no other order has one")
        return self.outcome(order_id, "PLACED", ticket=self.broker.place(order), retcode=DONE)

    def filled(self, order_id: str, done: Fields) -> Fields:
        return self.outcome(
            order_id,
            "FILLED",
            ticket=done["ticket"],
            filled_price=done["price"],
            filled_volume=done["volume"],
            deal=done["deal"],
            retcode=DONE,
        )

    def outcome(self, order_id: str, status: str, **fields: Any) -> Fields:
        nothing = ("ticket", "filled_price", "filled_volume", "error", "deal", "retcode")
        return {"order_id": order_id, "status": status, **dict.fromkeys(nothing), **fields}

    # Sockets.

    def hint(self, number: int) -> Fields:
        within = {"within_ms": 1_000}
        return {"hint": number, "boot": self.boot, "digest": self.digest(), **within}

    def _run(self) -> None:
        with (
            zmq.Context() as context,
            context.socket(zmq.ROUTER) as router,
            context.socket(zmq.PUB) as hints,
        ):
            router.linger = hints.linger = 0
            until(lambda: self._bound(router))
            self._hints_port = hints.bind_to_random_port("tcp://127.0.0.1")
            self._ready.set()
            self._serve(router, hints)

    def _bound(self, router: zmq.Socket[bytes]) -> bool:
        """Take the port; one that just ended may have it for a moment."""
        try:
            router.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            return False
        self.port = int(router.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        return True

    def _serve(self, router: zmq.Socket[bytes], hints: zmq.Socket[bytes]) -> None:
        number, due = 0, 0.0
        while not self._stop.is_set():
            if router.poll(TURN_MS):
                *way, raw = router.recv_multipart()
                answer = self.reply(raw)
                if answer is not None:
                    router.send_multipart([*way, answer])
            if time.monotonic() >= due:
                number, due = number + 1, time.monotonic() + HINT_EVERY_SEC
                hints.send(json.dumps(self.hint(number)).encode())
