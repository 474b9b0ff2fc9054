"""A terminal, a faulty proxy before it, and a bot behind that: processes, and a ledger to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.crash_world import DEADLINE_SEC, BotProcess, Step, Terminal
from tests.support.faulty_proxy import FaultyProxy, NetFault, When
from tests.support.ledger import ledger_agrees, replay_is_live
from tests.support.servers import until

ORDER = b'"order_id"'
SETTLE: Step = {"do": "settle"}
WAIT: Step = {"do": "wait"}
REPORT: Step = {"do": "report"}
# Short, because every lost answer is waited for; long beside what a slow machine needs for one.
TIMEOUT_MS = 1_500
# A lost order is given up after this time at the earliest.
GRACE_MS = 400


def arrives(when: When, fault: NetFault) -> bool:
    """Say whether the broker gets an order in spite of the fault."""
    # At the reply the broker has done it. What stood still arrives when the proxy is healed, and
    # where only the way back is gone, the request arrives at once.
    return when is When.REPLY or fault in (
        NetFault.DRIP,
        NetFault.STALL,
        NetFault.HALF_OPEN_SERVER,
    )


class Chaos:
    """A terminal, a proxy before it, and a bot behind that."""

    def __init__(
        self, terminal: Terminal, proxy: FaultyProxy, steps: list[Step], host: str = "127.0.0.1"
    ) -> None:
        self.terminal, self.proxy = terminal, proxy
        direct, terminal.port = terminal.port, proxy.port
        self.bot = BotProcess(
            terminal, steps, host=host, timeout_ms=TIMEOUT_MS, grace_ms=GRACE_MS, patient=0
        )
        terminal.port = direct
        self.has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.has_ended:
            self.bot.kill()

    def order(self, when: When, fault: NetFault) -> str:
        """Let the bot place its next order, let a fault strike it, and say what the bot says."""
        assert self.bot.hear("waiting")
        known = self.terminal.count_orders()
        self.proxy.arm(ORDER, when, fault)
        self.bot.tell()
        said: str = self.bot.hear("status")
        self.proxy.heal()
        self.go_on(known, arrives(when, fault))
        return said

    def go_on(self, known: int, is_to_arrive: bool) -> None:
        """Let the bot settle its order, once the terminal has it where that is to arrive.

        Not before: the first question about an order in doubt makes the gateway refuse a request
        that arrives later, so a slow machine would decide what becomes of the order.
        """
        if is_to_arrive:
            until(lambda: self.terminal.count_orders() > known, DEADLINE_SEC, pause_sec=0.02)
        assert self.bot.hear("waiting")
        self.bot.tell()

    def end(self) -> dict[str, Any]:
        """Let the bot end, and ask the ledger whether all promises were kept."""
        report: dict[str, Any] = self.bot.hear("report")
        self.has_ended = True
        assert self.bot.end() == 0, self.bot.last_words()
        ledger_agrees(self.terminal, report)
        replay_is_live(self.terminal.folder, report)
        return report


@contextmanager
def chaotic(folder: Path, steps: list[Step]) -> Iterator[Chaos]:
    """All of it, until the end of the block."""
    with (
        Terminal(folder) as terminal,
        FaultyProxy(terminal.port) as proxy,
        Chaos(terminal, proxy, steps) as chaos,
    ):
        yield chaos


def opens(key: str, side: str = "buy", volume: float = 0.02) -> Step:
    return {"do": "submit", "side": side, "volume": volume, "key": key}
