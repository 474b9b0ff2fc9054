"""Prices over the wire: what a reply says, and how `get_tick` waits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trueup.core.account.trust import Reason, Unknown
from trueup.errors import NotSent
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.protocol.ticks import Tick, decode_tick, encode_tick_request

GOOD = b'{"status":"SUCCESS","symbol":"EURUSD","bid":1.1,"ask":1.2,"time_msc":5,"error":null}'


def test_a_good_reply_is_a_tick() -> None:
    tick = decode_tick(GOOD, "EURUSD")
    assert tick == Tick("EURUSD", 1.1, 1.2, 5)
    assert isinstance(tick, Tick)
    assert tick.mid == pytest.approx(1.15)


def test_a_gateway_without_a_price_now_is_offline_and_not_ignorant() -> None:
    reply = b'{"status":"FAILED","symbol":"EURUSD","bid":null,"ask":null,"error":"no quotes"}'
    answer = decode_tick(reply, "EURUSD")
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.OFFLINE
    assert "no quotes" in answer.sentence


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b'{"status":"ERROR","error":"unknown action"}',
        b'{"status":"SUCCESS","positions":[]}',
        b'{"status":"SUCCESS","bid":"1.1","ask":1.2}',
        b'{"status":"SUCCESS","bid":true,"ask":1.2}',
        b'{"status":"SUCCESS","bid":NaN,"ask":1.2}',
        b'{"status":"SUCCESS","bid":1.1,"ask":Infinity}',
        b'{"status":"SUCCESS","bid":1.3,"ask":1.2}',
        b'{"status":"SUCCESS","bid":0,"ask":0}',
        b'{"status":"SUCCESS","bid":1.1,"ask":1.2,"time_msc":"x"}',
    ],
)
def test_any_other_reply_says_that_the_gateway_tells_no_prices(reply: bytes) -> None:
    answer = decode_tick(reply, "EURUSD")
    assert isinstance(answer, Unknown)
    assert answer.reason is Reason.UNREADABLE


def test_the_request_names_action_and_symbol() -> None:
    assert json.loads(encode_tick_request("EURUSD")) == {"action": "TICK", "symbol": "EURUSD"}


class ScriptedLink:
    """A link whose replies are given beforehand; None stands for a wait that was in vain."""

    def __init__(self, replies: list[bytes | None]) -> None:
        self.replies = replies
        self.sent: list[bytes] = []
        self.resets = 0
        self.down = False

    def send(self, message: bytes, timeout_ms: int) -> None:
        if self.down:
            raise NotSent("no connection")
        self.sent.append(message)

    def receive(self, timeout_ms: int) -> bytes | None:
        return self.replies.pop(0) if self.replies else None

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.reset()


def gateway(*replies: bytes | None) -> tuple[ExecutionGateway, ScriptedLink]:
    link = ScriptedLink(list(replies))
    made: Any = ExecutionGateway("localhost", 1, 1000, link=lambda _: link)
    return made, link


def test_an_answer_under_way_is_taken_by_a_later_call_and_asked_for_once() -> None:
    bot, link = gateway(None, None, GOOD)
    assert [bot.get_tick("EURUSD", 100) for _ in range(3)] == [
        None,
        None,
        Tick("EURUSD", 1.1, 1.2, 5),
    ]
    assert len(link.sent) == 1


def test_a_question_is_given_up_after_the_timeout_and_its_answer_never_seen() -> None:
    bot, link = gateway()
    answers = [bot.get_tick("EURUSD", 250) for _ in range(4)]
    assert answers[:3] == [None] * 3
    assert isinstance(answers[3], Unknown)
    assert answers[3].reason is Reason.OFFLINE
    assert link.resets == 1
    bot.get_tick("EURUSD", 250)
    assert len(link.sent) == 2


def test_what_earlier_questions_waited_for_is_no_part_of_a_later_ones_timeout() -> None:
    """One that is asked again and again, each time answered a moment late, is never given up."""
    rounds = 5
    bot, link = gateway(*[None, GOOD] * rounds)
    for _ in range(rounds):
        assert bot.get_tick("EURUSD", 600) is None
        assert bot.get_tick("EURUSD", 600) == Tick("EURUSD", 1.1, 1.2, 5)
    assert (len(link.sent), link.resets) == (rounds, 0)


def test_a_question_about_another_symbol_leaves_the_first() -> None:
    bot, link = gateway(None, GOOD)
    bot.get_tick("GBPUSD", 10)
    assert isinstance(bot.get_tick("EURUSD", 10), Tick)
    assert (len(link.sent), link.resets) == (2, 1)


def test_no_connection_is_offline() -> None:
    bot, link = gateway()
    link.down = True
    answer = bot.get_tick("EURUSD")
    assert isinstance(answer, Unknown)
    assert "no connection" in answer.sentence
