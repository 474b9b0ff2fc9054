"""Keys on real sockets: who gets in, what a key opens, what the wire is worth to a listener."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils import z85

from tests.gateway.locked_gateway import (
    LOGIN,
    LONG_MS,
    OTHER_LOGIN,
    SHORT_MS,
    SYMBOL,
    Keyring,
    LockedGateway,
    order,
)
from tests.support.servers import RepServer, Threaded, ZmqServer, offer, until
from trueup.core.account.trust import Unknown
from trueup.core.model import Snapshot
from trueup.errors import NotAllowed, NotSent
from trueup.gateway.access.allow_file import AllowFile
from trueup.gateway.access.door import Door, Lock
from trueup.gateway.access.keys import read_key_pair
from trueup.gateway.access.permissions import NOT_ALLOWED
from trueup.gateway.access.rate_limit import Rate
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.client.zmq_hints import ZmqHints
from trueup.gateway.client.zmq_link import ZmqLink
from trueup.gateway.server.hint_socket import HintSocket
from trueup.gateway.server.sockets import FRAMES_MAX, Server, anybody
from trueup.protocol.hints import Hint, HintTracker, encode_hint

PING = b'{"action":"PING"}'


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[LockedGateway]:
    with LockedGateway(tmp_path) as made:
        made.keys.allow("bot1 trade * {bot1}", "screen read * {screen}")
        yield made


@pytest.fixture
def raw(locked: LockedGateway) -> Iterator[zmq.Socket[bytes]]:
    """A client's bare socket with a key, which may say what no client of ours says."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        keys = locked.keys.link_keys("bot1")
        dealer.curve_serverkey = keys.server.encode()
        dealer.curve_publickey = keys.own.public.encode()
        dealer.curve_secretkey = keys.own.secret.encode()
        dealer.linger, dealer.rcvtimeo, dealer.sndtimeo = 0, LONG_MS, LONG_MS
        dealer.connect(locked.server.endpoint)
        yield dealer


def why_not(link: ZmqLink) -> str:
    """What the link says of a gateway that does not take it."""
    said: list[str] = []

    def refused() -> bool:
        with pytest.raises(NotSent) as caught:
            link.send(PING, 50)
        said.append(str(caught.value))
        return isinstance(caught.value, NotAllowed)

    until(refused)
    link.close()
    return said[-1]


# Who gets in.


def test_a_bot_with_a_key_trades_and_reads(locked: LockedGateway) -> None:
    with locked.bot("bot1") as bot:
        assert bot.connect()
        filled = bot.send_order(order("A"))
        assert filled["status"] == "FILLED", filled["error"]
        assert [row["ticket"] for row in bot.get_positions()["positions"]] == [filled["ticket"]]


def test_the_settings_hold_the_keys_when_nothing_is_given(
    locked: LockedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GTW_HOST", "127.0.0.1")
    monkeypatch.setenv("GTW_PORT", str(locked.port))
    monkeypatch.setenv("GTW_SERVER_KEY", str(locked.keys.folder / "gateway.key"))
    monkeypatch.setenv("GTW_KEY_FILE", str(locked.keys.secret_file("bot1")))
    with ExecutionGateway() as bot:
        assert bot.connect()
    with ExecutionGateway("127.0.0.1", locked.port, LONG_MS) as bot:
        assert bot.get_positions()["status"] == "SUCCESS"
    with ExecutionGateway("127.0.0.1", locked.port, SHORT_MS, server_key="") as plain:
        assert plain.get_positions()["status"] == "FAILED"


def test_without_a_key_nothing_is_sent_and_the_remedy_is_named(locked: LockedGateway) -> None:
    said = why_not(ZmqLink(f"tcp://127.0.0.1:{locked.port}"))
    assert said.endswith("where it wants keys, set GTW_SERVER_KEY and GTW_KEY_FILE")
    with ExecutionGateway("127.0.0.1", locked.port, SHORT_MS, server_key="") as bot:
        outcome = bot.send_order(order("A"))
        assert outcome["status"] == "REJECTED"
        assert outcome["error"].startswith("Not sent: ")
        assert bot.get_positions()["status"] == "FAILED"
    assert locked.terminal.calls == []


def test_a_key_that_nobody_knows_is_turned_away_and_both_ends_say_which(
    locked: LockedGateway, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = locked.keys.public("stranger")
    said = why_not(locked.keys.link("stranger", locked.port))
    assert said.endswith(f"refused this key: its allow list needs a line for {stranger}")
    allow_file = locked.keys.allow_file
    told = f"[ACCESS] Rejected 127.0.0.1: its key {stranger} is not in {allow_file}"
    assert caplog.messages.count(told) == 1
    assert locked.terminal.calls == []


def test_nobody_waits_for_a_connection_that_was_refused(locked: LockedGateway) -> None:
    began = time.monotonic()
    with locked.bot("stranger") as bot:
        assert "refused this key" in bot.send_order(order("A"))["error"]
    assert time.monotonic() - began < LONG_MS / 1000 / 4


def test_who_was_turned_away_gets_in_by_itself_once_the_line_is_there(
    locked: LockedGateway,
) -> None:
    """After a failed authentication ZeroMQ gives the connection up for good."""
    with locked.bot("late", SHORT_MS) as bot:
        assert bot.send_order(order("A"))["status"] == "REJECTED"
        assert until(lambda: "refused this key" in bot.get_positions()["error"])
        locked.keys.allow("late trade * {late}")
        assert until(lambda: bot.get_positions()["status"] == "SUCCESS")
        assert until(lambda: bot.send_order(order("B"))["status"] == "FILLED")
    assert set(locked.terminal.order_comments) == {"B"}


def test_a_poller_that_is_turned_away_says_so_and_gets_in_by_itself_too(
    locked: LockedGateway,
) -> None:
    with locked.bot("late") as bot:
        assert until(lambda: "refused this key" in _asked_in_vain(bot))
        locked.keys.allow("late trade * {late}")
        bot.ask()
        assert isinstance(until(bot.poll), Snapshot)


def _asked_in_vain(bot: ExecutionGateway) -> str:
    """What is said of a question that did not leave after some turns of a loop."""
    bot.ask()
    for _ in range(10):
        assert bot.poll() is None
    answer = bot.give_up()
    assert isinstance(answer, Unknown)
    return answer.sentence


def test_a_gateway_that_is_not_the_one_it_should_be_gets_nothing(tmp_path: Path) -> None:
    """An impostor at the address cannot answer, and never sees a byte of the request."""
    keys = Keyring(tmp_path)
    with LockedGateway(tmp_path / "impostor") as impostor:
        # It even lets the bot in.
        shutil.copy(keys.secret_file("bot1").with_suffix(".key"), impostor.keys.folder)
        impostor.keys.allow("bot1 trade * {bot1}")
        said = why_not(keys.link("bot1", impostor.port))
        assert "GTW_SERVER_KEY is not its public key" in said
        with keys.bot("bot1", impostor.port, SHORT_MS) as bot:
            assert bot.send_order(order("A"))["status"] == "REJECTED"
        assert impostor.terminal.calls == []


def test_a_bot_with_keys_sends_nothing_in_plain_text(tmp_path: Path) -> None:
    keys = Keyring(tmp_path)
    with ZmqServer(lambda _: b"{}") as plain:
        said = why_not(keys.link("bot1", plain.port))
        assert "or it speaks plain text only" in said
        assert plain.seen == []
    with RepServer(lambda _: b"{}") as rep:
        assert "or it speaks plain text only" in why_not(keys.link("bot1", rep.port))


def test_nobody_gets_in_while_nobody_keeps_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZeroMQ's own default is to let everybody in then."""
    monkeypatch.setattr(Door, "_answer_zap", lambda _, zap, __: zap.close())
    with LockedGateway(tmp_path) as gateway:
        gateway.keys.allow("bot1 trade * {bot1}")
        assert "broke off the handshake" in why_not(gateway.keys.link("bot1", gateway.port))


# What a key opens.


def test_a_revoked_key_gets_nothing_from_its_next_request_on(locked: LockedGateway) -> None:
    pinging = locked.keys.link("bot1", locked.port)
    pinging.send(PING, LONG_MS)
    assert b"SUCCESS" in (pinging.receive(LONG_MS) or b"")
    with locked.bot("bot1") as bot:
        assert bot.send_order(order("A"))["status"] == "FILLED"
        locked.keys.allow("screen read * {screen}")
        pinging.send(PING, LONG_MS)
        assert NOT_ALLOWED.encode() in (pinging.receive(LONG_MS) or b"")
        pinging.close()
        refused = bot.send_order(order("B"))
        assert (refused["status"], refused["error"]) == ("REJECTED", f"not sent: {NOT_ALLOWED}")
        # This connection is new, and does not come to be.
        assert until(lambda: "refused this key" in bot.get_positions()["error"])
        link = locked.keys.link("bot1", locked.port)
        assert "refused this key" in why_not(link)
    assert locked.terminal.order_comments == ["A"]


def test_a_revoked_key_on_its_old_connection_is_refused_a_thousand_times(
    locked: LockedGateway, raw: zmq.Socket[bytes]
) -> None:
    """Whatever it says, in whatever dialect, and what cannot be read."""
    asked = [
        PING,
        b'{"action":"GET_POSITIONS"}',
        json.dumps(order("A")).encode(),
        b'{"action":"OPEN","uuid":"u","type":"BUY","symbol":"EURUSD","volume":0.01}',
        b'{"action":"DANCE"}',
    ]
    raw.send_multipart([b"", PING])
    assert b"SUCCESS" in raw.recv_multipart()[-1]
    locked.keys.allow("screen read * {screen}")
    for number in range(1_000):
        raw.send_multipart([b"", asked[number % len(asked)]])
        assert NOT_ALLOWED.encode() in raw.recv_multipart()[-1]
    assert locked.terminal.calls == []


def test_a_key_that_is_revoked_while_its_order_waits_does_not_trade(locked: LockedGateway) -> None:
    locked.terminal.block_in("positions_get")
    with locked.bot("screen") as screen, locked.bot("bot1") as bot:
        screen.ask()
        until(lambda: screen.poll() is None and locked.terminal.is_blocked.is_set())
        outcomes: list[dict[str, object]] = []
        sender = threading.Thread(target=lambda: outcomes.append(bot.send_order(order("A"))))
        sender.start()
        until(lambda: locked.front.waits_for_terminal == 1)
        locked.keys.allow("screen read * {screen}")
        locked.terminal.let_go()
        sender.join(LONG_MS / 1000)
    assert (outcomes[0]["status"], outcomes[0]["error"]) == ("REJECTED", f"not sent: {NOT_ALLOWED}")
    assert locked.orders_sent == 0


class Hints:
    """A server of hints with keys, and who listens to it."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.keys = Keyring(folder)
        self.keys.allow(*lines)
        lock = Lock(
            read_key_pair(self.keys.secret_file("gateway")),
            AllowFile(self.keys.allow_file, time.time_ns),
        )
        anywhere = "tcp://127.0.0.1:0"
        self.server = Server(anywhere, anybody(bytes), hints=anywhere, door=Door(lock))
        self.heard: dict[str, list[tuple[int, int]]] = {}
        self._lines: dict[str, ZmqHints] = {}
        self.number = 0

    def listen(self, *names: str) -> None:
        for name in names:
            keys = self.keys.link_keys(name)
            self._lines[name] = ZmqHints(str(self.server.hints_endpoint), keys=keys)
            self.heard[name] = []

    def publish(self, login: int = LOGIN) -> None:
        """Publish the next number, and let everybody listen."""
        self.number += 1
        self.server.publish(b"%d %d" % (login, self.number), login)
        self.server.serve_once(5)
        for name, line in self._lines.items():
            for said in line.heard():
                told, number = said.split()
                self.heard[name].append((int(told), int(number)))

    def until_heard(self, *names: str, login: int = LOGIN) -> None:
        """Publish until these have heard twenty more hints about an account."""
        marks = dict.fromkeys(names, self.number)

        def all_heard() -> bool:
            self.publish(login)
            return all(
                sum(told == login and number > mark for told, number in self.heard[name]) > 20
                for name, mark in marks.items()
            )

        until(all_heard)

    def __enter__(self) -> Hints:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines.values():
            line.close()
        self.server.close()


def test_a_revoked_key_hears_no_hint_that_is_given_afterwards(tmp_path: Path) -> None:
    with Hints(tmp_path, "bot1 trade * {bot1}", "screen read * {screen}") as hints:
        hints.listen("bot1", "screen")
        hints.until_heard("bot1", "screen")
        hints.keys.allow("screen read * {screen}")
        edited_at = hints.number
        hints.until_heard("screen")
        assert max(hints.heard["bot1"]) <= (LOGIN, edited_at)
        # Its line is put back, and it comes by itself.
        hints.keys.allow("bot1 trade * {bot1}", "screen read * {screen}")
        back_at = hints.number
        hints.until_heard("bot1", "screen")
        assert not [one for _, one in hints.heard["bot1"] if edited_at < one <= back_at]


def test_a_line_that_is_added_disturbs_nobody_who_listens(tmp_path: Path) -> None:
    with Hints(tmp_path, "bot1 trade * {bot1}", "screen read * {screen}") as hints:
        hints.listen("bot1", "screen")
        hints.until_heard("bot1", "screen")
        since = hints.number
        hints.keys.allow("bot1 read * {bot1}", "screen read * {screen}", "late read * {late}")
        hints.listen("late")
        hints.until_heard("bot1", "screen", "late")
        last = max(hints.heard["bot1"])[1]
        numbers = list(range(since + 1, last + 1))
        assert [number for _, number in hints.heard["bot1"] if number > since] == numbers


def test_the_port_of_hints_is_bound_again_when_whoever_took_it_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Hints(tmp_path, "bot1 trade * {bot1}", "screen read * {screen}") as hints:
        hints.listen("bot1", "screen")
        hints.until_heard("bot1", "screen")
        endpoint, port = hints.server.hints_endpoint, hints.server.hints_port
        monkeypatch.setattr(HintSocket, "open_again", lambda _: None)
        hints.keys.allow("screen read * {screen}")
        hints.publish()
        with until(lambda: _taken(port)):
            monkeypatch.undo()

            def is_told() -> bool:
                hints.publish()
                return "No hints go out until" in caplog.text

            until(is_told)
        hints.until_heard("screen")
        assert hints.server.hints_endpoint == endpoint
    assert caplog.text.count("No hints go out until their port is free") == 1


def _taken(port: int) -> socket.socket | None:
    """What another program has that listens on a port, if it could get it."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_a_bot_that_hears_again_looks_at_what_it_may_have_missed(tmp_path: Path) -> None:
    """Another key is revoked, and in the moment of that something is opened and closed again."""
    with Hints(tmp_path, "bot1 trade * {bot1}", "screen read * {screen}") as hints:
        hints.listen("bot1")
        hints.until_heard("bot1")
        line = ZmqHints(str(hints.server.hints_endpoint), keys=hints.keys.link_keys("screen"))
        ear, count = HintTracker(), itertools.count(1)

        def turn() -> tuple[bool, str]:
            """Publish that nothing changed; return whether the bot heard, and its reason to ask."""
            hint = Hint(next(count), "boot", "agreed", 1_000)
            hints.server.publish(encode_hint(hint), LOGIN)
            hints.server.serve_once(5)
            heard = line.heard()
            return bool(heard), ear.hear(heard, "agreed", 0)

        until(lambda: turn()[0])
        assert {turn()[1] for _ in range(20)} == {""}
        hints.keys.allow("screen read * {screen}")
        assert until(lambda: turn()[1]) == "hints were lost"
        line.close()


def test_of_three_bots_that_trade_and_listen_one_is_revoked(tmp_path: Path) -> None:
    """The others' orders are carried out, and they hear of each change as before."""
    with LockedGateway(tmp_path, watch_ms=20) as locked, ExitStack() as stack:
        lines = [f"bot{number} trade * {{bot{number}}}" for number in (1, 2, 3)]
        locked.keys.allow(*lines)
        bots = [stack.enter_context(locked.bot(f"bot{number}")) for number in (1, 2, 3)]

        def knows_all(bot: ExecutionGateway) -> bool:
            """Read; a hint from before may come after the answer, and is a reason to read again."""
            assert isinstance(bot.read(), Snapshot)
            return not bot.hint(time.time_ns())

        def all_hear_of(order_id: str, *listeners: ExecutionGateway) -> None:
            until(lambda: all(knows_all(bot) for bot in listeners))
            assert listeners[0].send_order(order(order_id))["status"] == "FILLED"
            until(lambda: all(bot.hint(time.time_ns()) for bot in listeners))

        for number, bot in enumerate(bots):
            assert bot.send_order(order(f"FIRST {number}"))["status"] == "FILLED"
        all_hear_of("A", *bots)
        locked.keys.allow(*lines[:2])
        for number in range(3):
            refused = bots[2].send_order(order(f"REFUSED {number}"))
            assert refused["error"] == f"not sent: {NOT_ALLOWED}"
        for order_id in ("B", "C"):
            all_hear_of(order_id, *bots[:2])
        # A line that is put back lets it in again, to hints as well.
        locked.keys.allow(*lines)
        all_hear_of("D", *bots)
    assert locked.terminal.order_comments[3:] == ["A", "B", "C", "D"]


def test_hints_are_heard_by_those_who_may_see_the_account_they_are_about(tmp_path: Path) -> None:
    lines = f"one read {LOGIN} {{one}}", f"other read {OTHER_LOGIN} {{other}}", "any read * {any}"
    with Hints(tmp_path, *lines) as hints:
        hints.listen("one", "other", "any")
        hints.until_heard("one", "any")
        hints.until_heard("other", "any", login=OTHER_LOGIN)
        # Who was kept outside comes back by itself when the account does.
        hints.until_heard("one", "any")
    for name, login in (("one", OTHER_LOGIN), ("other", LOGIN)):
        assert not any(told == login for told, _ in hints.heard[name])


def test_a_read_key_reads_and_does_not_trade(locked: LockedGateway) -> None:
    with locked.bot("screen") as screen:
        assert screen.connect()
        refused = screen.send_order(order("A"))
    assert refused["status"] == "REJECTED"
    assert refused["error"] == "not sent: key screen may only read"
    assert locked.orders_sent == 0


@pytest.mark.parametrize(
    "request_",
    [
        {"action": "OPEN", "uuid": "u", "type": "BUY", "symbol": "EURUSD", "volume": 0.01},
        {"action": "CLOSE", "uuid": "u", "ticket": 1},
        {"action": "MODIFY", "order_id": "m", "position": 1, "sl": 1.0},
        {"action": "CANCEL", "order_id": "c", "order": 1},
        {"action": "SELL", "order_id": "s", "symbol": "EURUSD", "volume": 0.01, "type": "stop"},
    ],
    ids=lambda one: one["action"],
)
def test_a_read_key_changes_nothing_in_either_dialect(
    locked: LockedGateway, request_: dict[str, object]
) -> None:
    link = locked.keys.link("screen", locked.port)
    link.send(json.dumps(request_).encode(), LONG_MS)
    reply = (link.receive(LONG_MS) or b"").decode()
    link.close()
    assert "key screen may only read" in reply
    assert "REJECTED" in reply or '"error"' in reply
    assert locked.terminal.calls == []


def test_a_key_for_one_account_sees_and_trades_no_other(locked: LockedGateway) -> None:
    locked.keys.allow(f"bot1 trade {LOGIN} {{bot1}}", f"bot2 trade {OTHER_LOGIN} {{bot2}}")
    with locked.bot("bot1") as bot1, locked.bot("bot2") as bot2:
        assert bot1.send_order(order("A"))["status"] == "FILLED"
        other = f"key bot2 is for account {OTHER_LOGIN}, and the terminal has another"
        assert bot2.get_positions()["error"] == other
        refused = bot2.send_order(order("B"))
        assert (refused["status"], refused["error"]) == ("REJECTED", f"not sent: {other}")
        # What became of a request is told to those alone who may see the account that it went to.
        for name, status in (("bot1", "SUCCESS"), ("bot2", "FAILED")):
            link = locked.keys.link(name, locked.port)
            link.send(b'{"action":"REQUEST_STATUS","order_id":"A"}', LONG_MS)
            told = json.loads(link.receive(LONG_MS) or b"{}")
            assert (told["status"], "an account that your key" in str(told)) == (
                status,
                status == "FAILED",
            )
            link.close()
        # Somebody logs the terminal in to the other account.
        assert locked.program.login(OTHER_LOGIN)
        assert bot2.get_positions()["positions"] == []
        assert bot1.send_order(order("C"))["status"] == "REJECTED"
        assert "and the terminal has another" in bot1.get_positions()["error"]
    assert locked.terminal.order_comments == ["A"]


def ask(locked: LockedGateway, name: str, **request: Any) -> dict[str, Any]:
    """What a gateway answers the key of that name, as it is on the wire."""
    link = locked.keys.link(name, locked.port)
    link.send(json.dumps(request).encode(), LONG_MS)
    reply = json.loads(link.receive(LONG_MS) or b"{}")
    link.close()
    assert isinstance(reply, dict)
    return reply


def test_a_key_for_one_account_learns_nothing_of_requests_on_another(
    locked: LockedGateway,
) -> None:
    locked.keys.allow(f"bot1 trade {LOGIN} {{bot1}}", f"bot2 trade {OTHER_LOGIN} {{bot2}}")
    secret = {"volume": 0.07, "comment": "my secret"}
    assert ask(locked, "bot1", **{**order("A"), **secret})["status"] == "FILLED"
    assert locked.program.login(OTHER_LOGIN)
    doubts = [{"id": "A"}, {"id": "never"}]
    reply = ask(locked, "bot2", action="SNAPSHOT", session="s", id=1, in_doubt=doubts)
    # Left out, which settles nothing: it was not withdrawn, and its outcome is not told.
    assert [(one["order_id"], one["state"]) for one in reply["requests"]] == [
        ("never", "withdrawn")
    ]
    refused = ask(locked, "bot2", **order("A"))
    assert (refused["status"], "that this key is not for" in refused["error"]) == ("REJECTED", True)
    everything = json.dumps([reply, refused])
    assert not any(word in everything for word in (str(LOGIN), "0.07", "my secret", "FILLED"))
    assert locked.program.login(LOGIN)
    reply = ask(locked, "bot1", action="SNAPSHOT", session="s", id=1, in_doubt=doubts[:1])
    assert [one["status"] for one in reply["requests"]] == ["FILLED"]


def test_an_account_that_is_changed_while_it_is_read_is_not_told(locked: LockedGateway) -> None:
    locked.keys.allow(f"bot1 read {LOGIN} {{bot1}}")
    locked.program.login(OTHER_LOGIN)
    locked.program.person.open(SYMBOL, 0, 0.1)
    locked.program.login(LOGIN)
    real = locked.program.terminal_info

    def at_the_first_call_of_all() -> Any:
        locked.program.login(OTHER_LOGIN)
        return real()

    locked.program.terminal_info = at_the_first_call_of_all  # type: ignore[method-assign]
    reply = ask(locked, "bot1", action="GET_POSITIONS")
    assert (reply["status"], reply["positions"]) == ("FAILED", [])
    assert "and the terminal has another" in reply["error"]


def test_a_key_for_one_account_is_checked_with_one_reading_of_it(locked: LockedGateway) -> None:
    """Its scope, the account that the order is for, and the record's share one reading."""
    locked.keys.allow(f"bot1 trade {LOGIN} {{bot1}}")
    reply = ask(locked, "bot1", **order("A"), login=LOGIN)
    assert reply["status"] == "FILLED"
    assert locked.terminal.calls.count("account_info") == 1


@pytest.mark.parametrize(
    ("line", "role", "accounts"),
    [
        ("screen read * {screen}", "read", None),
        (f"screen read,trade {OTHER_LOGIN},{LOGIN} {{screen}}", "trade", [LOGIN, OTHER_LOGIN]),
    ],
)
def test_hello_says_what_the_asking_key_may(
    locked: LockedGateway, line: str, role: str, accounts: list[int] | None
) -> None:
    locked.keys.allow(line)
    hello = ask(locked, "screen", action="HELLO")
    assert (hello["role"], hello["accounts"]) == (role, accounts)


def test_what_cannot_be_read_counts_as_a_request(tmp_path: Path) -> None:
    with LockedGateway(tmp_path, rate=Rate(per_sec=0.001, burst=3)) as gateway:
        gateway.keys.allow("bot1 trade * {bot1}", "bot2 trade * {bot2}")
        said = [ask(gateway, "bot1", action="DANCE") for _ in range(5)]
        assert ["is not known" in one["error"] for one in said] == [True] * 3 + [False] * 2
        assert said[-1]["error"].startswith("key bot1 asks more than 0.001 times a second")
        # One that has an id is refused as an order is.
        broken = ask(gateway, "bot1", **{**order("A"), "volume": "much"})
        assert (broken["status"], "asks more" in broken["error"]) == ("REJECTED", True)
        assert ask(gateway, "bot1", action="PING")["status"] != "SUCCESS"
        assert ask(gateway, "bot2", action="PING")["status"] == "SUCCESS"


def test_a_client_that_asks_too_often_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    with LockedGateway(tmp_path, rate=Rate(per_sec=0.001, burst=5)) as gateway:
        gateway.keys.allow("bot1 trade * {bot1}", "bot2 trade * {bot2}")
        with gateway.bot("bot1") as bot1, gateway.bot("bot2") as bot2:
            sent = [bot1.send_order(order(f"A{number}")) for number in range(7)]
            assert [one["status"] for one in sent] == ["FILLED"] * 5 + ["REJECTED"] * 2
            assert sent[-1]["error"].startswith("not sent: key bot1 asks more than 0.001 times a ")
            reply = bot1.get_positions()
            assert (reply["status"], "key bot1 asks more" in reply["error"]) == ("FAILED", True)
            assert bot2.send_order(order("B"))["status"] == "FILLED"
    assert gateway.orders_sent == 6


# What the wire is worth.


class Tap(Threaded):
    """A relay before a gateway that keeps what each side said."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._to = port
        self.port = 0
        self.up = b""
        self.down = b""

    def _run(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
            self._ready.set()
            near, _ = listener.accept()
        with near, socket.create_connection(("127.0.0.1", self._to)) as far:
            for line in (near, far):
                line.settimeout(0.005)
            while not self._stop.is_set():
                self.up += _relay(near, far)
                self.down += _relay(far, near)


def _relay(source: socket.socket, sink: socket.socket) -> bytes:
    try:
        heard = source.recv(65_536)
    except (TimeoutError, OSError):
        return b""
    sink.sendall(heard)
    return heard


def test_what_was_captured_tells_nothing_and_cannot_be_said_again(locked: LockedGateway) -> None:
    link = locked.keys.link("bot1", locked.port)
    with Tap(locked.port) as tap:
        link.endpoint = f"tcp://127.0.0.1:{tap.port}"
        link.send(json.dumps({**order("CAPTURED"), "order_id": "CAPTURED"}).encode(), LONG_MS)
        assert b"FILLED" in (link.receive(LONG_MS) or b"")
        captured = tap.up
        link.close()
    for secret in (b"CAPTURED", b"EURUSD", b"FILLED", b"BUY"):
        assert secret not in captured + tap.down
    assert locked.orders_sent == 1
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", locked.port), LONG_MS / 1000) as line:
            line.sendall(captured)
            # The gateway hangs up: its half of the handshake is another one each time.
            while line.recv(65_536):
                pass
    with locked.bot("bot1") as bot:
        assert len(bot.get_positions()["positions"]) == 1
    assert locked.orders_sent == 1


def test_a_request_that_is_said_again_by_a_member_is_carried_out_once(
    locked: LockedGateway,
) -> None:
    locked.keys.allow("bot1 trade * {bot1}", "bot2 trade * {bot2}")
    with locked.bot("bot1") as bot:
        first = bot.send_order(order("A"))
    for name in ("bot1", "bot1", "bot2"):
        with locked.bot(name) as again:
            assert again.send_order(order("A"))["ticket"] == first["ticket"]
            assert again.send_order({**order("A"), "volume": 0.02})["status"] == "REJECTED"
    assert locked.orders_sent == 1


def test_no_secret_is_in_any_log_or_output_whatever_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with LockedGateway(tmp_path, rate=Rate(per_sec=1, burst=2)) as gateway:
        gateway.keys.allow("bot1 trade * {bot1}", "screen read 7 {screen}")
        for name in ("bot1", "screen", "stranger"):
            with gateway.bot(name, SHORT_MS) as bot:
                bot.connect()
                said = [bot.send_order(order("A")), bot.get_positions(), bot.poll(), repr(bot)]
                logging.getLogger("trueup").info("%s %s", said, vars(bot))
        gateway.keys.allow("bot1 trade * broken")
        with gateway.bot("bot1", SHORT_MS) as bot:
            bot.connect()
        secrets = [
            read_key_pair(gateway.keys.secret_file(name)).secret
            for name in ("gateway", "bot1", "screen", "stranger")
        ]
    out, err = capfd.readouterr()
    everything = caplog.text + out + err
    assert "Rejected" in everything
    assert "stays in force" in everything
    for secret in secrets:
        assert secret not in everything
        assert secret[:20] not in everything
        assert z85.decode(secret).hex() not in everything


# Limits of one connection.


def test_a_message_that_is_too_large_ends_its_connection_and_is_never_read(
    locked: LockedGateway, raw: zmq.Socket[bytes]
) -> None:
    def ping(uuid: str, size: int) -> list[bytes]:
        message = {"action": "PING", "uuid": uuid, "comment": "x" * size}
        return [b"", json.dumps(message).encode()]

    def heard() -> str:
        return str(json.loads(raw.recv_multipart()[-1])["uuid"])

    raw.send_multipart(ping("allowed", 200_000))
    assert heard() == "allowed"
    raw.send_multipart(ping("too large", 300_000))

    # It connects again by itself; the large one is gone with the connection.
    def answered_again() -> bool:
        offer(raw, ping("small", 0))
        return bool(raw.poll(50))

    until(answered_again)
    assert heard() == "small"
    with locked.bot("bot1") as bot:
        assert bot.connect()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"", b""],
        [b"x"],
        [b"a", b"b", b"c", PING],
        [b"", b"\xff" * 1000],
        [b""] * FRAMES_MAX,
    ],
    ids=range(6),
)
def test_frames_that_make_no_sense_are_answered_or_dropped(
    locked: LockedGateway, raw: zmq.Socket[bytes], frames: list[bytes]
) -> None:
    raw.send_multipart(frames)
    raw.send_multipart([b"", PING])
    until(lambda: b"SUCCESS" in raw.recv_multipart()[-1])
    with locked.bot("bot1") as bot:
        assert bot.connect()


@pytest.fixture
def plain() -> Iterator[tuple[Server, zmq.Socket[bytes]]]:
    """A gateway without keys, and a client's bare socket."""
    with (
        Server("tcp://127.0.0.1:0", anybody(bytes)) as server,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.linger, dealer.rcvtimeo, dealer.sndtimeo = 0, LONG_MS, LONG_MS
        dealer.connect(server.endpoint)
        yield server, dealer


def test_a_message_of_too_many_frames_is_passed_over_with_keys(
    locked: LockedGateway, raw: zmq.Socket[bytes]
) -> None:
    for _ in range(3):
        raw.send_multipart([PING] * (FRAMES_MAX + 1))
        raw.send_multipart([b"", PING])
        assert b"SUCCESS" in raw.recv_multipart()[-1]
    assert not raw.poll(0)
    with locked.bot("bot1") as bot:
        assert bot.connect()


def test_a_message_of_too_many_frames_is_passed_over_without_keys(
    plain: tuple[Server, zmq.Socket[bytes]],
) -> None:
    """The largest frame is bounded by ZeroMQ, how many there are is not."""
    server, dealer = plain
    ends = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    dealer.send_multipart([b"x" * 10] * 20_000)
    dealer.send_multipart([b"2"])
    until(lambda: server.serve_once(5) < 0 or dealer.poll(0))
    # Nothing of it was taken for a request, and the connection stands.
    assert dealer.recv_multipart() == [b"2"]
    assert not dealer.poll(0)
    assert not ends.poll(0)
    dealer.disable_monitor()
    ends.close()


def test_who_drips_a_handshake_is_hung_up_on_and_nobody_waits(tmp_path: Path) -> None:
    with LockedGateway(tmp_path, handshake_ms=200) as gateway:
        gateway.keys.allow("bot1 trade * {bot1}")
        lines = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20)]
        for line in lines:
            line.settimeout(0.001)
        # One byte less than a greeting, so that it never makes a mistake either.
        greeting = list((b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE").ljust(63, b"\0"))
        with gateway.bot("bot1") as bot:

            def all_ended() -> bool:
                byte = bytes([greeting.pop(0)]) if greeting else b""
                ended = [_drip(line, byte) for line in lines]
                assert bot.get_positions()["status"] == "SUCCESS"
                return all(ended)

            until(all_ended)
        for line in lines:
            line.close()


def _drip(line: socket.socket, byte: bytes) -> bool:
    """Send a byte; return whether the other end has hung up."""
    try:
        line.sendall(byte)
        return line.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
