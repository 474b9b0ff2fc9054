"""A strange bot, hands, stops and pauses beside a watch, each in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.paper.deadline import wait_for
from tests.paper.test_paper_processes import Running, Shell
from tests.support.processes import stopped
from trueup.gateway.access.keys import new_keys, read_public_key
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.sim.process.whereabouts import Whereabouts, ask

BOT = Path(__file__).with_name("strange_bot.py")


class Scene(Shell):
    """A simulated terminal with a falling price, a gateway with keys, a strange bot, a watch."""

    def begin(self) -> None:
        """Start the terminal, the gateway and the bot."""
        terminal = self.start("terminal.log", "terminal", "--feed", self._prices(), "--speed", "1")
        terminal.wait_for("gateway at tcp://")
        state = (self.folder / ".trueup" / "terminal.json").read_bytes()
        self.where = msgspec.json.decode(state, type=Whereabouts)
        keys = self.folder / "keys"
        for name in ("gateway", "watch"):
            new_keys(keys, name)
        public = read_public_key(keys / "watch.key")
        (keys / "allow").write_text(f"watch read * {public}\n", encoding="utf-8")
        self.gateway = self.start(
            "gateway.log", "gateway", "--simulated", "--port", "0",
            "--key", str(keys / "gateway.key_secret"), "--allow", str(keys / "allow"),
            "--store", "requests.db",
        )  # fmt: skip
        self.gateway.wait_for("is recorded in")
        self.gateway.wait_for(" at tcp://127.0.0.1:")
        self.bot: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(BOT), self.where.gateway],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(self.bot)

    def _prices(self) -> str:
        """Prices that fall by a pip in some seconds, all the time, so that a near stop is hit."""
        begin_msc, lines = 1_704_067_200_000, ["time_msc,bid,ask"]
        for number in range(4 * 900):
            bid = 1.10000 - 0.00001 * number
            lines.append(f"{begin_msc + number * 250},{bid:.5f},{bid + 0.0001:.5f}")
        (self.folder / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return "prices.csv"

    def watch(self, log: str, *options: str) -> Running:
        """Start the watch, and wait until it watches."""
        keys = self.folder / "keys"
        # The first is the address for requests, the next that for hints.
        port = re.findall(r"at tcp://127\.0\.0\.1:(\d+)", self.gateway.text())[0]
        running = self.start(
            log, "watch", "--shadow", "--gateway", f"tcp://127.0.0.1:{port}", "--magic", "7",
            "--server-key", str(keys / "gateway.key"), "--key-file", str(keys / "watch.key_secret"),
            "--every", "0.2", *options,
        )  # fmt: skip
        running.wait_for("Nothing is sent.")
        return running

    def clean(self) -> None:
        """End every process that was started here."""
        super().clean()
        for child in self.children:
            if isinstance(child, subprocess.Popen):
                for pipe in (child.stdin, child.stdout):
                    if pipe is not None:
                        pipe.close()

    def order(self, lots: float, sl: float) -> int:
        """Have the strange bot buy; return the ticket."""
        return int(self._answer(lots, sl))

    def _answer(self, lots: float, sl: float) -> str:
        assert self.bot.stdin is not None
        assert self.bot.stdout is not None
        self.bot.stdin.write(f"buy {lots} {sl}\n")
        self.bot.stdin.flush()
        return str(self.bot.stdout.readline()).strip()

    def order_near(self, lots: float) -> int:
        """Have the bot buy with a stop that is hit in some seconds; return the ticket."""
        # On a busy machine the price may be below the stop before the order is there.
        while (answer := self._answer(lots, self.near())) == "None":
            pass
        return int(answer)

    def hand(self, command: str, **fields: Any) -> dict[str, Any]:
        """Trade by hand at the terminal."""
        answer = ask(self.where, {"command": command, **fields})
        assert answer["ok"], answer
        return answer

    def near(self) -> float:
        """A price that the bid falls below in some seconds."""
        with ExecutionGateway("127.0.0.1", self.where.port, 5_000, server_key="") as client:
            tick = client.get_tick("EURUSD")
        return round(float(tick.bid) - 0.0001, 5)  # type: ignore[union-attr]

    def ledger(self) -> dict[int, list[Any]]:
        """The deals of each position by the trade server."""
        found: dict[int, list[Any]] = {}
        with ExecutionGateway("127.0.0.1", self.where.port, 5_000, server_key="") as client:
            terminal = client.terminal()
            for row in terminal.history_deals_get(1, 2**31 - 1):
                if row.position_id:
                    found.setdefault(row.position_id, []).append(row)
            terminal.shutdown()
        return found

    def is_open(self, ticket: int) -> bool:
        """Whether a position is open at the trade server."""
        return any(
            row["ticket"] == ticket for row in ask(self.where, {"command": "list"})["positions"]
        )


def day(scene: Scene) -> dict[str, Any]:
    """Play a whole day: return what happened, by name, and the report of it as JSON."""
    first = scene.watch("first.log")
    far = 1.0
    tickets = {"kept": scene.order(0.1, far), "stopped": scene.order_near(0.2)}
    first.wait_for(f"ghost: ticket {tickets['stopped']}")
    tickets["by hand"] = scene.order(0.3, far)
    tickets["bare"] = scene.order(0.6, 0.0)
    first.wait_for(f"missing stop: ticket {tickets['bare']}")
    scene.hand("close", ticket=tickets["by hand"])
    first.wait_for(f"ghost: ticket {tickets['by hand']}")
    tickets["zombie"] = scene.hand("open", side="sell", volume=0.05, sl=2.0)["ticket"]
    first.wait_for(f"zombie: ticket {tickets['zombie']}")
    # The gateway stands still, and a stop is hit meanwhile.
    tickets["in silence"] = scene.order_near(0.4)
    with stopped(scene.gateway.child.pid):
        first.wait_for("stale period: No reading to believe")
        wait_for(
            lambda: not scene.is_open(tickets["in silence"]), lambda: "the stop in the silence"
        )
    first.wait_for("It answers again.")
    # The watch is killed, and started again.
    first.child.kill()
    first.child.wait()
    scene.hand("partial", ticket=tickets["kept"], volume=0.04)
    tickets["while away"] = scene.order_near(0.5)
    wait_for(lambda: not scene.is_open(tickets["while away"]), lambda: "the stop meanwhile")
    second = scene.watch("second.log", "--json", "--report", "report.html")
    second.wait_for("absence: The watch did not look")
    second.wait_for(f"ghost: ticket {tickets['while away']}")
    second.child.send_signal(signal.SIGINT)
    assert second.child.wait(60) == 0
    # Only now can its record be read.
    scene.gateway.child.terminate()
    assert scene.gateway.child.wait(60) == 0
    report = json.loads(second.text()[second.text().index("{\n") : second.text().rindex("}") + 1])
    return {"tickets": tickets, "report": report}
