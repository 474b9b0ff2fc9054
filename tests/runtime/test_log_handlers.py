"""A log handler that raises costs a log line: no audit entry, no sync, no order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.support.desk_world import BUY, DeskWorld
from trueup.core.book.lifecycle import OrderStatus
from trueup.journal.memory import MemoryJournal
from trueup.logs import Lines, about_account, logger
from trueup.runtime.sync.reconciler import SyncStatus


class Broken(logging.Handler):
    """A handler of somebody's own, which raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        raise self._error


class Kept(logging.Handler):
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Filter(logging.Filter):
    """A filter that raises."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("the filter is broken")


Attach = Callable[[logging.Handler], None]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Put a handler before all others at the package's logger, until the test is over."""
    package, added = logging.getLogger("trueup"), list[logging.Handler]()
    before, level = list(package.handlers), package.level

    def add(handler: logging.Handler) -> None:
        package.handlers.insert(0, handler)
        added.append(handler)

    package.setLevel(logging.INFO)
    yield add
    package.handlers[:] = before
    package.setLevel(level)


@pytest.fixture
def world() -> DeskWorld:
    """A bot with a journal whose broker has a position and an order that the bot does not know."""
    made = DeskWorld(journal=MemoryJournal())
    made.sync()
    made.person.open("EURUSD", BUY, 0.2)
    return made


ERRORS = [RuntimeError("the log server is down"), ValueError("x"), OSError(28, "no space left")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_sync_is_whole_whatever_a_handler_raises(
    error: Exception, world: DeskWorld, attach: Attach
) -> None:
    broken, kept = Broken(error), Kept()
    attach(kept)
    attach(broken)
    result = world.sync()
    assert (result.status, result.recovered) == (SyncStatus.SUCCESS, 1)
    assert world.actions() == ["RECOVERY"]
    assert world.book() == world.rows()
    assert world.reconciler.sync_count == 2
    assert world.reconciler.health.startswith("Everything agrees")
    (ticket,) = world.tickets()
    world.person.close(ticket)
    world.sync()
    assert world.sync().status is SyncStatus.SUCCESS
    assert world.actions()[-1] == "CLOSED"
    assert world.tickets() == set()
    # Other handlers get every line.
    assert broken.count == len(kept.lines) > 4
    assert any(line.startswith("[RECOVERY] Zombie position recovered") for line in kept.lines)


def test_orders_forced_rows_and_signals_go_on(world: DeskWorld, attach: Attach) -> None:
    attach(Broken(RuntimeError("down")))
    world.sync()
    order = world.pm.submit("buy", 0.1)
    assert order.status is OrderStatus.FILLED
    assert not world.pm.check_risk(1)
    assert world.pm.close(order.ticket).status is OrderStatus.FILLED
    assert not world.pm.force_close_position(5)


def test_the_gateway_answers_whatever_its_own_handler_raises(
    world: DeskWorld, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(Broken(RuntimeError("down")))

    def breaks() -> None:
        raise SystemError("the module is broken")

    monkeypatch.setattr(world.terminal, "positions_get", breaks)
    world.restart_gateway()
    assert b'"FAILED"' in world.desk.handle(b'{"action":"GET_POSITIONS"}')


def test_a_filter_that_raises_costs_the_line(world: DeskWorld, attach: Attach) -> None:
    kept = Kept()
    attach(kept)
    broken = Filter()
    reconciler = logging.getLogger("trueup.reconciler")
    reconciler.addFilter(broken)
    try:
        assert world.sync().recovered == 1
    finally:
        reconciler.removeFilter(broken)
    assert world.actions() == ["RECOVERY"]
    assert not any("RECOVERY" in line for line in kept.lines)


def test_what_a_handler_raises_is_reported_as_the_standard_library_does(
    world: DeskWorld,
    attach: Attach,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attach(Broken(RuntimeError("the log server is down")))
    world.sync()
    said = capsys.readouterr().err
    assert "--- Logging error ---" in said
    assert "RuntimeError: the log server is down" in said
    monkeypatch.setattr(logging, "raiseExceptions", False)
    world.sync()
    assert "Logging error" not in capsys.readouterr().err


def test_a_key_press_in_a_handler_is_no_error_of_the_log(attach: Attach) -> None:
    class Pressed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    attach(Pressed())
    with pytest.raises(KeyboardInterrupt):
        logger("trueup.reconciler").warning("a line")


def test_a_logger_stays_what_the_application_made_it() -> None:
    class Own(logging.Logger):
        """A logger class of an application's own."""

    before = logging.getLoggerClass()
    logging.setLoggerClass(Own)
    try:
        made = logging.getLogger("trueup.of-a-test")
    finally:
        logging.setLoggerClass(before)
    assert logger("trueup.of-a-test") is made
    assert isinstance(made, Own)
    made.propagate = False
    made.addHandler(Broken(RuntimeError("down")))
    made.warning("a line")
    assert logger("trueup.of-a-test") is made


def test_a_handler_takes_only_what_its_level_and_the_hierarchy_give_it() -> None:
    parent, child = logger("trueup.of-a-tree"), logger("trueup.of-a-tree.child")
    parent.propagate = False
    loud, quiet = Kept(), Kept()
    quiet.setLevel(logging.ERROR)
    parent.addHandler(loud)
    child.addHandler(quiet)
    child.warning("one")
    child.error("two")
    assert (loud.lines, quiet.lines) == (["one", "two"], ["two"])
    child.propagate = False
    child.error("three")
    assert loud.lines == ["one", "two"]


def test_every_logger_of_the_package_is_made_here() -> None:
    from pathlib import Path

    import trueup

    package = Path(trueup.__file__).parent
    others = [
        path.name
        for path in package.rglob("*.py")
        if 'getLogger("trueup.' in path.read_text(encoding="utf-8")
    ]
    assert others == []


def test_the_lines_of_one_call_differ_in_text_and_level_and_share_the_rest() -> None:
    log = logging.getLogger("trueup.of-a-call")
    lines = Lines(log, __file__, "a_function")
    first, second = lines.record(logging.WARNING, "one"), lines.record(logging.WARNING, "two")
    other = lines.record(logging.INFO, "%s")
    first.event = "first"
    texts = [record.getMessage() for record in (first, second, other)]
    assert texts == ["one", "two", "%s"]
    assert [record.levelname for record in (first, second, other)] == ["WARNING"] * 2 + ["INFO"]
    assert not hasattr(second, "event")
    whole = logging.LogRecord(log.name, 30, __file__, 0, "two", None, None, "a_function")
    assert vars(second).keys() == vars(whole).keys()
    moment = {"created", "msecs", "relativeCreated"}
    assert {k: v for k, v in vars(second).items() if k not in moment} == {
        k: v for k, v in vars(whole).items() if k not in moment
    }
    assert second.created == first.created


def test_the_lines_of_one_call_are_written_as_the_logger_writes_them() -> None:
    log = logger("trueup.of-written-lines")
    log.propagate = False
    log.setLevel(logging.INFO)
    records: list[logging.LogRecord] = []
    kept, broken = Kept(), Broken(RuntimeError("down"))
    kept.emit = records.append  # type: ignore[assignment]
    log.addHandler(broken)
    log.addHandler(kept)
    with about_account("one@server"):
        lines = Lines(log, __file__, "a_function")
        for ticket in (1, 2):
            lines.write(logging.WARNING, f"ticket {ticket}", {"ticket": ticket})
        lines.write(logging.DEBUG, "not wanted", {})
    assert broken.count == 2
    assert [record.getMessage() for record in records] == ["ticket 1", "ticket 2"]
    seen = [(vars(record)["account"], vars(record)["ticket"]) for record in records]
    assert seen == [("one@server", 1), ("one@server", 2)]
    log.addFilter(lambda record: vars(record)["ticket"] != 3)
    for ticket in (3, 4):
        lines.write(logging.WARNING, f"ticket {ticket}", {"ticket": ticket})
    assert records[-1].getMessage() == "ticket 4"
    assert len(records) == 3
