"""Kill a bot of `trueup run` under risk limits at random moments.

`python -m tests.crash.run_kills --kills 200 --seed 7`. The strategy asks for an entry at every new
price; only the limit of one open position holds it back. So a position beside another is a limit
that was forgotten. After three quarters of the kills a person loses more than the limit of the
day's loss, and from then on no entry may come. The broker's ledger and the journal judge.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.door_kills import (
    ACCOUNT,
    GRACE_MS,
    HASTY_DOOR,
    HEAL_SEC,
    JOURNAL,
    MAGICS,
    Bot,
    DoorKills,
    table,
)
from tests.support.hosted_terminal import HostedTerminal
from trueup.core.book.events import LimitEnded, LimitReached
from trueup.core.claims import stream_of
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.journal import open_reader

SYMBOL = "EURUSD"
DAILY_LOSS = 5_000
# Each costs the spread of 10 points, 10 of the account's currency a lot.
LOSING_LOTS, LOSING_ORDERS = 100.0, 6
SETTINGS = f"""
trueup_strategy = "eager:Eager"
trueup_symbols = ["{SYMBOL}"]
trueup_magic = {MAGICS[0]}
trueup_simulated = true
trueup_journal = "{JOURNAL}"
sync_interval_sec = 1

[limits]
positions = 1
daily_loss = {DAILY_LOSS}
"""
STRATEGY = """
STOP, TARGET, TRAIL, TURNS = 0.00060, 0.00120, 0.00030, 12


class Eager:
    def on_start(self, account):
        self.account, self.turns = account, 0

    def on_tick(self, tick):
        self.turns += 1
        for ticket, position in self.account.positions.items():
            if self.turns % TURNS == 0:
                self.account.close(ticket)
            elif position.net_volume > 0 and round(tick.bid - TRAIL, 5) > position.sl:
                self.account.modify(ticket, sl=round(tick.bid - TRAIL, 5), tp=position.tp)
        # No look at the positions: only the limit refuses an entry beside another.
        print("enter 0", flush=True)
        stop, target = round(tick.bid - STOP, 5), round(tick.ask + TARGET, 5)
        order = self.account.submit("buy", 0.1, symbol=tick.symbol, sl=stop, tp=target)
        if order.status.value == "FILLED":
            print(f"opened {order.ticket} at {order.fill_price}", flush=True)
"""
LAST_LOOK = f"""
import json, time
from trueup.doors.running.opening import opened
from trueup.settings import load_settings
with opened(load_settings(), "{JOURNAL}") as account:
    book, end = account.manager.book, time.monotonic() + {HEAL_SEC}
    while account.sync().status.value != "SUCCESS" or book.in_doubt or book.unexplained:
        if time.monotonic() > end:
            break
    realised = round(account.realised, 2)
    print(json.dumps([sorted(account.positions), list(book.in_doubt), realised]))
"""


class EagerBot(Bot):
    """A process of `trueup run`."""

    def _words(self, env: dict[str, str]) -> list[str]:
        return [str(HASTY_DOOR), str(self._grace_ms), "-m", "trueup", "run"]


class RunKills(DoorKills):
    """A bot of `trueup run`, killed again and again; the arguments are those of `DoorKills`."""

    last_look = LAST_LOOK

    def __init__(
        self, terminal: HostedTerminal, folder: Path, seed: int, settings: str = SETTINGS
    ) -> None:
        super().__init__(terminal, folder, seed)
        (folder / "eager.py").write_text(STRATEGY, encoding="utf-8")
        (folder / "trueup.toml").write_text(settings, encoding="utf-8")
        self.bots = [EagerBot(folder, MAGICS[0], "run", GRACE_MS)]
        self.beyond: list[str] = []
        """What the limit on the day's loss did not do."""
        self.locked = 0

    def live_through(self, kills: int) -> None:
        """Kill so often: first under the limit of positions, then with the day's loss reached."""
        self.locked = kills // 4
        super().live_through(kills - self.locked)
        (bot,) = self.bots
        # The bot is dead meanwhile: it has to notice the loss when it starts.
        self._terminal.trade(_lose)
        entries = self._terminal.watch.entries.get(bot.magic, 0)
        for _ in range(self.locked):
            self._round()
        bot.kill()
        bot.wait()
        more = self._terminal.watch.entries.get(bot.magic, 0) - entries
        if more:
            self.beyond.append(f"{more} entries after the day's loss was reached")
        self.beyond += self._locks(bot)

    def _locks(self, bot: Bot) -> list[str]:
        """Return what is wrong with the limits in the journal."""
        with open_reader(self._folder / JOURNAL, self._stream(bot)) as reader:
            recorded = [record.event for record in reader.records()]
        reached = [event for event in recorded if isinstance(event, LimitReached)]
        ended = [event for event in recorded if isinstance(event, LimitEnded)]
        if len(reached) == 1 and not ended:
            return []
        return [f"the journal has {len(reached)} locks and {len(ended)} ends: {reached}"]

    def _stream(self, bot: Bot) -> str:
        return stream_of(ACCOUNT, (bot.magic,), (SYMBOL,))

    @property
    def wrong(self) -> list[str]:
        """Everything that the limits should have prevented."""
        return [*super().wrong, *self.beyond]


def _lose(terminal: object) -> None:
    """Open and close large positions by hand, without a stop."""
    send = terminal.order_send  # type: ignore[attr-defined]
    for _ in range(LOSING_ORDERS):
        order = {
            "action": mt5.TRADE_ACTION_DEAL,
            "symbol": SYMBOL,
            "volume": LOSING_LOTS,
            "type": mt5.ORDER_TYPE_BUY,
            "type_filling": mt5.ORDER_FILLING_IOC,
            "sl": 0.5,
            "tp": 2.0,
        }
        opened = send(order)
        assert opened.retcode == mt5.TRADE_RETCODE_DONE, opened
        closed = send({**order, "type": mt5.ORDER_TYPE_SELL, "position": opened.order})
        assert closed.retcode == mt5.TRADE_RETCODE_DONE, closed


def run(folder: Path, kills: int, seed: int) -> tuple[str, list[str]]:
    """Kill so often in a folder; return the table of figures, and everything that is wrong."""
    with HostedTerminal(folder / "home", seed) as terminal:
        made = RunKills(terminal, folder, seed)
        try:
            made.live_through(kills)
        finally:
            for bot in made.bots:
                bot.kill()
        said = [f"ended: ...{text[-400:]}" for text in made.ended]
        figures = [table(made, terminal), f"{'kills with a lock':<36}{made.locked:>6}"]
        return "\n".join(figures), [*made.wrong, *said]


def main() -> int:
    """Run it as the command line says; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="run-kills-")), time.monotonic()
    figures, wrong = run(folder, options.kills, options.seed)
    lines = [figures, f"seed {options.seed}, {time.monotonic() - began:.0f} s", *wrong[:20]]
    if wrong:
        lines.append(f"journal and logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
