"""Decoders of what processes of one machine say to each other, and of what a stranger may say."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast
from unittest import mock

import msgspec

from tests.cli.bot_world import BotWorld
from tests.support.desk_world import BUY, DeskLink, DeskWorld
from tests.support.manners import json_object, opened
from trueup.conformance.examination.examination import Examination, Options
from trueup.conformance.run import examine
from trueup.conformance.text import write_report
from trueup.errors import OutcomeUnknown, RemoteProtocolError, SettingsError
from trueup.gateway.client.greeting import SIGNATURE, Greeting, greet
from trueup.gateway.client.link import Link
from trueup.gateway.terminal.call_wire import RAISED, Call, decode_answer, encode_call, perform
from trueup.observe.doctor_text import row_lines
from trueup.protocol.hints import Hint, encode_hint
from trueup.runtime.control.state_files import answers, ask_process
from trueup.runtime.doctor.gateway import CHECKS, GatewayVisit
from trueup.runtime.doctor.line import Target
from trueup.runtime.time.clock import ManualClock
from trueup.runtime.time.moments import moment_ns
from trueup.sim.process.person_desk import PersonDesk

AT = 1_700_000_000_000_000_000
CALLS = (
    Call("positions_get", (), {"symbol": "EURUSD"}),
    Call("account_info"),
    Call("symbols_get", ("*USD*",)),
    Call("history_deals_get", (0, 2_000_000_000)),
    Call("order_check", ({"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0},)),
    Call("version"),
    Call("symbol_select", ("EURUSD", True)),
    Call("order_calc_profit", (0, "EURUSD", 0.1, 1.1, 1.2)),
)


class Commands:
    """What a person at the simulated terminal may say."""

    def __init__(self, folder: Path) -> None:
        self.world = DeskWorld()
        self._desk = PersonDesk(self.world.terminal, "EURUSD", dict, lambda: None)
        self.messages = [
            b'{"command":"list"}',
            b'{"command":"open","side":"buy","volume":0.1}',
            b'{"command":"modify","ticket":1,"sl":1.0,"tp":1.3}',
            b'{"command":"partial","ticket":1,"volume":0.01}',
            b'{"command":"close_all"}',
        ]

    def feed(self, raw: bytes) -> None:
        """It is carried out, or refused with its reason."""
        answer = json.loads(self._desk.handle(raw))
        assert answer["ok"] or answer["error"]


class BotCommands:
    """What a second shell may say to a running bot."""

    def __init__(self, folder: Path) -> None:
        self._world = BotWorld()
        self.messages = [
            b'{"command":"status"}',
            b'{"command":"plan","look":1}',
            b'{"command":"approve","id":"1a2b","who":"me","yes":true}',
            b'{"command":"settle","id":"ORD_1","ticket":5,"never_executed":false}',
            b'{"command":"rebind","login":5000001,"server":"Simulated-Demo"}',
            b'{"command":"order","id":"ORD_1"}',
        ]

    def feed(self, raw: bytes) -> None:
        """It is carried out, or refused with its reason."""
        answer = json.loads(self._world.desk.handle(raw))
        assert answer["ok"] or answer["error"].encode()
        self._world.desk.turn()


class BotAnswers:
    """What a process of this machine answers to a second shell."""

    def __init__(self, folder: Path) -> None:
        self.messages = [b'{"ok":true,"pid":7,"symbol":"EURUSD"}', b'{"ok":false,"error":"no"}']

    def feed(self, raw: bytes) -> None:
        """It is an answer, or it is not known what became of the command."""
        with (
            mock.patch(
                "trueup.gateway.client.zmq_link.ZmqLink", return_value=DeskLink(lambda _: raw)
            ),
            mock.patch("trueup.runtime.control.state_files.listens", return_value=True),
        ):
            assert answers("tcp://127.0.0.1:5555", 7, 100) in (False, True)
            with contextlib.suppress(OutcomeUnknown):
                assert isinstance(ask_process("", {}, 100, "It"), dict)


def _as_json_or_packed(raw: bytes) -> bytes:
    """Return MessagePack: of what is JSON, so that an edit can leave a message whole."""
    try:
        return msgspec.msgpack.encode(msgspec.json.decode(raw))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return raw


class WorkerCalls:
    """A call of the terminal's functions, as the process that makes it reads it."""

    def __init__(self, folder: Path) -> None:
        self._world = DeskWorld()
        self._world.terminal.person.open("EURUSD", BUY, 0.1)
        packed = [encode_call(call) for call in CALLS]
        self.messages = [*packed, *(msgspec.json.encode(call) for call in CALLS)]

    def feed(self, raw: bytes) -> None:
        """It is made, or it is none."""
        with contextlib.suppress(RemoteProtocolError):
            answer = perform(self._world.terminal, _as_json_or_packed(raw))
            with contextlib.suppress(*RAISED):
                decode_answer(answer)


class WorkerAnswers:
    """The answer to such a call, as the gateway reads it."""

    def __init__(self, folder: Path) -> None:
        world = DeskWorld()
        world.terminal.person.open("EURUSD", BUY, 0.1)
        made = [perform(world.terminal, encode_call(call)) for call in CALLS]
        made.append(perform(world.terminal, encode_call(Call("order_send", (1, 2, 3)))))
        whole = [msgspec.json.encode(msgspec.msgpack.decode(one)) for one in made]
        self.messages = [*made, *whole]

    def feed(self, raw: bytes) -> None:
        """It is what was returned, or what was raised, or nobody knows what became of it."""
        packed = _as_json_or_packed(raw)
        try:
            value, (code, text) = decode_answer(packed)
        except RemoteProtocolError:
            return
        except RAISED as error:
            # Who asked takes this for a refusal: nothing but the word of the worker may be one.
            said = msgspec.msgpack.decode(packed)
            assert said[1:][:2] == ["raised", str(error)]
            return
        assert isinstance(code, int)
        assert text.encode() is not None
        assert isinstance(repr(value), str)


class Replies:
    """What a gateway may reply to whoever examines it: the doctor's visit, and the conformance."""

    def __init__(self, folder: Path) -> None:
        self._world = opened()
        asked: list[bytes] = []

        def note(message: bytes) -> bytes:
            asked.append(message)
            return self._world.desk.handle(message)

        self._visit(note)
        replies = dict.fromkeys(self._world.desk.handle(message) for message in asked[:6])
        hints = [encode_hint(Hint(n, "boot", "0" * 32, 1_000)) for n in (1, 2)]
        self.messages = [*replies, *hints]

    def feed(self, raw: bytes) -> None:
        """It is judged, in words that can be written."""
        for answer in (lambda _: raw, self._but_the_list(raw)):
            self._visit(answer)
            self._examine(answer, raw)

    def _but_the_list(self, raw: bytes) -> Callable[[bytes], bytes]:
        """Answer everything with this, but the first question, which decides what else is asked."""

        def answer(message: bytes) -> bytes:
            if b'"GET_POSITIONS"' in message:
                reply = self._world.desk.handle(message)
                return reply.replace(b'"SNAPSHOT"', b'"SNAPSHOT","HINTS 5556"')
            asked = json_object(message).get("id", 1)
            return raw.replace(b'"id":1,', b'"id":%d,' % asked, 1)

        return answer

    def _visit(self, answer: Callable[[bytes], bytes]) -> None:
        target = Target("127.0.0.1", 5555, 1_000, "the test")
        link = cast(Link, DeskLink(answer))
        visit = GatewayVisit(target, link, ManualClock(AT), None, "fuzz")
        rows = list(visit.rows())
        assert [row.check for row in rows] == list(CHECKS)
        for row in rows:
            assert "\n".join(row_lines(row)).encode()
            assert json.dumps(row.figures, ensure_ascii=False).encode()

    def _examine(self, answer: Callable[[bytes], bytes], raw: bytes) -> None:
        class Line:
            def heard(self) -> list[bytes]:
                return [raw, raw]

            def close(self) -> None:
                pass

        clock = itertools.count(AT, 1_000_000_000)
        exam = Examination(
            Greeting("NULL", "ZMTP 3.0"),
            lambda: cast(Link, DeskLink(answer)),
            {},
            lambda _: Line(),
            Options(timeout_ms=0, trade=True, real_money=True),
            "fuzz",
            lambda: next(clock),
            lambda _: None,
        )
        assert write_report(examine(exam, "tcp://127.0.0.1:5555"), in_full=True).encode()


class Greetings:
    """The first bytes of whatever listens on a port."""

    def __init__(self, folder: Path) -> None:
        self.messages = [SIGNATURE + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)]

    def feed(self, raw: bytes) -> None:
        """It is a gateway's greeting, or no gateway's, in words that can be written."""
        line = mock.MagicMock()
        line.__enter__.return_value = line
        left = iter([raw[:20], raw[20:], b""])
        line.recv.side_effect = lambda count: next(left)[:count]
        with mock.patch.object(socket, "create_connection", return_value=line):
            greeting = greet("127.0.0.1", 5555, 100)
        assert greeting.heard.encode()


class Moments:
    """A time as a person gives it."""

    def __init__(self, folder: Path) -> None:
        self.messages = [b"2026-01-05T14:03:07.5+01:00", b"2026-01-05", b"90s", b"1.5 h"]

    def feed(self, raw: bytes) -> None:
        """It is a time, or the option is named."""
        with contextlib.suppress(SettingsError):
            assert isinstance(moment_ns(raw.decode("utf-8", "replace"), "--since", AT), int)
