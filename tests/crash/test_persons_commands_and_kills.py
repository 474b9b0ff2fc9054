"""The bot is killed between a person's command and its effect; journal and ledger judge."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paper.deadline import wait_for
from tests.support import forked
from tests.support.crash_world import ROOT, Terminal, environment
from tests.support.gateway_world import Gateway
from tests.support.posix_limits import linux_only, no_file_beyond
from trueup.core.book import events
from trueup.errors import NotSent, OutcomeUnknown
from trueup.journal import open_reader
from trueup.observe.status.earlier import read_status
from trueup.observe.status.status import Status
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.runtime.control.bots import ask_bot, find_bots

BOT = ROOT / "tests" / "support" / "dying_bot.py"
# A test starts about ten processes.
pytestmark = pytest.mark.timeout(300)


class Scene:
    """A terminal, a bot that may die, and a second shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terminal = Terminal(folder)
        self.port = self.terminal.port
        """The gateway of the bots; the simulated terminal has one of its own."""
        self.bots: list[forked.Child] = []

    def start(self) -> forked.Child:
        """Start the bot, and wait until it answers."""
        with (self.folder / "bot.log").open("ab") as log:
            bot = forked.start(
                [str(BOT), str(self.port)],
                cwd=self.folder,
                env=environment(self.folder / "home"),
                stdout=log,
                stderr=log,
            )
        self.bots.append(bot)
        wait_for(lambda: self.status() is not None, self.log)
        return bot

    def log(self) -> str:
        """What the bots have written."""
        return (self.folder / "bot.log").read_text(encoding="utf-8")

    def status(self) -> Status | None:
        """The status of the bot that runs, None until it has seen the broker."""
        for bot in find_bots():
            with contextlib.suppress(NotSent, OutcomeUnknown):
                status = read_status(ask_bot(bot, "status")["status"])
                return status if status.checked else None
        return None

    def tickets(self) -> list[int]:
        """The positions in the bot's book."""
        status = self.status()
        rows = [] if status is None else status.books
        return [row.ticket for row in rows if row.ours is not None and not row.pending]

    def is_settled(self) -> bool:
        """Whether nothing is in doubt or held."""
        status = self.status()
        return status is not None and not (status.in_doubt or status.held or status.to_decide)

    def shell(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Give a command in the second shell."""
        return forked.run(
            ["-m", "trueup", *arguments],
            cwd=self.folder,
            env=environment(self.folder / "home"),
            timeout=120,
        )

    def die_at(self, name: str) -> None:
        """Let the bot die when it next passes a moment."""
        (self.folder / "die").write_text(name, encoding="utf-8")

    def history(self) -> list[events.Event]:
        """What the journal has."""
        with open_reader(self.folder / "bot.db") as reader:
            return list(reader.read())

    def end(self) -> None:
        """End what was started."""
        for bot in self.bots:
            bot.kill()
            bot.wait()
        self.terminal.__exit__(None, None, None)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "home"))
    made = Scene(tmp_path)
    yield made
    made.end()


def test_a_pause_is_journalled_before_its_effect_or_not_at_all(scene: Scene) -> None:
    bot = scene.start()
    # Killed before the journal has it: the person is told that the bot ended, and nothing holds.
    scene.die_at(CrashPoint.INSIDE_PLAN.value)
    told = scene.shell("pause", "--who", "Ada")
    assert told.returncode != 0
    bot.wait()
    assert not any(isinstance(event, events.TradingPaused) for event in scene.history())
    bot = scene.start()
    assert scene.status() is not None
    # Killed after that, before the answer: it holds.
    scene.die_at("TradingPaused")
    assert scene.shell("pause", "--who", "Ada", "--why", "the night").returncode != 0
    bot.wait()
    scene.start()
    assert "[PERSON] As before the restart, trading is paused by Ada: the night" in scene.log()
    scene.bots[-1].kill()
    scene.bots[-1].wait()
    scene.start()
    assert scene.shell("resume", "--who", "Ada").returncode == 0
    kinds = [type(event).__name__ for event in scene.history()]
    assert (kinds.count("TradingPaused"), kinds.count("TradingResumed")) == (1, 1)


@pytest.mark.parametrize(
    "point",
    [
        CrashPoint.BEFORE_INTENT,
        CrashPoint.AFTER_INTENT,
        CrashPoint.AFTER_SEND_STARTED,
        CrashPoint.BEFORE_OUTCOME,
        CrashPoint.AFTER_OUTCOME,
    ],
)
def test_a_close_is_sent_once_or_never_and_its_name_is_kept(
    scene: Scene, point: CrashPoint
) -> None:
    ticket = scene.terminal.person("open", side="buy", volume=0.05)["ticket"]
    bot = scene.start()
    wait_for(lambda: bool(scene.tickets()), scene.log)
    orders = scene.terminal.count_orders()
    scene.die_at(point.value)
    done = scene.shell("close", str(ticket), "--yes", "--who", "Ada")
    assert done.returncode == 1, done
    said = " ".join(done.stdout.split())
    assert f"Not known {ticket} EURUSD LONG 0.05L: The bot, process {bot.pid}," in said
    bot.wait()
    scene.start()

    # It looks until nothing is in doubt, and never sends again.
    wait_for(scene.is_settled, scene.log)
    sent = scene.terminal.count_orders() - orders
    was_sent = point in (CrashPoint.BEFORE_OUTCOME, CrashPoint.AFTER_OUTCOME)
    assert sent == was_sent
    assert [row[0] for row in scene.terminal.positions()] == ([] if was_sent else [ticket])
    created = [event for event in scene.history() if isinstance(event, events.OrderCreated)]
    assert [event.by for event in created] == ["Ada"] * (point is not CrashPoint.BEFORE_INTENT)
    again = scene.shell("close", "all", "--yes", "--who", "Ada")
    assert again.returncode == 0, again
    assert scene.terminal.positions() == []


def test_a_stop_is_journalled_and_ends_the_bot_in_order(scene: Scene) -> None:
    ticket = scene.terminal.person("open", side="buy", volume=0.05)["ticket"]
    bot = scene.start()
    wait_for(lambda: scene.tickets() == [ticket], scene.log)
    done = scene.shell("stop", "--who", "Ada", "--why", "the night")
    assert done.returncode == 0, done
    assert f"The bot, process {bot.pid}, has ended." in done.stdout
    assert f"Open       {ticket} EURUSD LONG 0.05L" in done.stdout
    assert bot.wait() == 0
    assert [row[0] for row in scene.terminal.positions()] == [ticket]
    (stopped,) = [e for e in scene.history() if isinstance(e, events.BotStopped)]
    assert (stopped.by, stopped.why) == ("Ada", "the night")
    # Killed before the journal has it: it ended all the same, and nobody's name is there.
    bot = scene.start()
    scene.die_at(CrashPoint.INSIDE_PLAN.value)
    scene.shell("stop", "--who", "Bob")
    assert bot.wait() != 0
    assert sum(isinstance(e, events.BotStopped) for e in scene.history()) == 1


@linux_only
@pytest.mark.parametrize("dies", [False, True], ids=["the disk has room again", "the bot dies"])
def test_a_full_disk_does_not_keep_a_person_from_closing(scene: Scene, dies: bool) -> None:
    """A gateway with its record on disk, before the broker; the bot's files may not grow."""
    ticket = scene.terminal.person("open", side="buy", volume=0.05)["ticket"]
    with Gateway(scene.terminal) as gateway:
        scene.port = gateway.port
        bot = scene.start()
        wait_for(lambda: bool(scene.tickets()), scene.log)
        orders = scene.terminal.count_orders()
        with no_file_beyond(bot.pid, 0):
            done = scene.shell("close", str(ticket), "--yes", "--who", "Ada")
            assert done.returncode == 0, done
            assert "gets this when it works again" in " ".join(done.stdout.split())
            assert scene.terminal.positions() == []
            assert scene.tickets() == [ticket]
            if dies:
                bot.kill()
                bot.wait()
        if dies:
            scene.start()

        wait_for(lambda: scene.is_settled() and not scene.tickets(), scene.log)
        assert scene.terminal.count_orders() - orders == 1
        (created,) = [e for e in scene.history() if isinstance(e, events.OrderCreated)]
        assert created.by == "Ada"
        assert not any(isinstance(e, events.LossFound) for e in scene.history())
