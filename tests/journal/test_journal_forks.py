"""A bot that forks: its helpers never hold its journal, whatever becomes of whom."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.journal.places import STREAM, Place, PostgresPlace, SqlitePlace, order, orders
from tests.support.forking import needs_fork, needs_proc, opened, program
from tests.support.processes import is_running
from tests.support.servers import until
from trueup.errors import JournalConflict
from trueup.processes import holder_of, holds

pytestmark = needs_fork

OPEN = f"""
from tests.journal.places import order, orders
from trueup.journal import open_journal, open_reader
URL, STREAM = sys.argv[1], {STREAM!r}
def journal(stream=STREAM):
    return open_journal(URL, stream, holder="bot.py", now_ns=time.time_ns)
"""

HELPED = {
    "multiprocessing": """
        import multiprocessing
        kept = journal()
        kept.append(orders(1))
        helper = multiprocessing.get_context("fork").Process(target=signal.pause)
        helper.start()
        say(helper.pid)
        signal.pause()
    """,
    "os.fork": """
        kept = journal()
        kept.append(orders(1))
        say(fork(signal.pause))
        signal.pause()
    """,
    "a pool": """
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing
        kept = journal()
        kept.append(orders(1))
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
        say(pool.submit(os.getpid).result())
        signal.pause()
    """,
    "a helper of a helper": """
        kept = journal()
        kept.append(orders(1))
        def helper():
            say(fork(signal.pause))
            signal.pause()
        fork(helper)
        signal.pause()
    """,
}


@pytest.mark.parametrize("how", HELPED)
def test_a_bot_starts_again_when_it_was_killed_and_its_helper_lives(
    place: Place, tmp_path: Path, how: str
) -> None:
    with program(OPEN + dedent(HELPED[how]), place.url, cwd=tmp_path) as bot:
        helper = int(bot.line())
        bot.kill()
        # In vain, if the helper held the connection.
        place.wait_until_left()
        with place.open() as again:
            assert again.position == 1
            assert again.append([order(2)]) == 2
        assert is_running(helper)


@needs_proc
def test_a_helper_has_nothing_of_the_journal_open(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    code = OPEN + dedent(HELPED["os.fork"])
    with program(code, sqlite_place.url, cwd=tmp_path) as bot:
        helper = int(bot.line())
        names = {Path(one).name for one in opened(bot.pid)}
        assert {"bot.db", "bot.db-wal", "bot.db-shm"} <= names
        assert any(name.endswith(".lock") for name in names)
        # It lets go of it before it does anything else, when it has its turn.
        until(lambda: not [one for one in opened(helper) if "bot.db" in one])


USED = """
    kept = journal()
    kept.append(orders(1))
    def child():
        for call in (
            lambda: kept.append(orders(2)),
            lambda: kept.checkpoint(1, b""),
            lambda: list(kept.read()),
            lambda: kept.holder,
            lambda: kept.latest_checkpoint(),
            lambda: kept.verify(),
        ):
            say(refusal(call))
        kept.close()
    with kept:
        say(wait(fork(child)))
        say(kept.append(orders(3)), kept.verify().sound)
"""


def test_whatever_a_helper_wants_of_the_journal_is_refused_by_name(
    place: Place, tmp_path: Path
) -> None:
    with program(OPEN + dedent(USED), place.url, cwd=tmp_path) as bot:
        *refused, ended, after = bot.lines()
    assert len(refused) == 6
    for line in refused:
        assert line.startswith(f"JournalConflict: Process {bot.pid} opened ")
        assert line.endswith("; a process forked from it cannot use it.")
    assert (ended, after) == ("0", "2 True")
    with place.open() as again:
        assert list(again.read()) == orders(1, 3)


READ = """
    kept = journal()
    kept.append(orders(1))
    def child():
        say(refusal(lambda: open_reader(URL, STREAM)))
        elsewhere = open_journal("own.db", STREAM, now_ns=time.time_ns)
        say(elsewhere.append(orders(1, 2)))
        elsewhere.close()
    say(wait(fork(child)))
    kept.close()
    say(wait(fork(lambda: say(open_reader(URL, STREAM).position))))
"""


def test_a_helper_is_told_that_sqlite_opens_no_file_in_both(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    """A file of its own is no trouble, nor one that the bot had closed before."""
    with program(OPEN + dedent(READ), sqlite_place.url, cwd=tmp_path) as bot:
        refused, own, ended, position, again = bot.lines()
    assert refused == (
        f"JournalConflict: {sqlite_place.url} was open in the process from which this one was "
        "forked, and SQLite cannot open it in both: start this process anew, as multiprocessing "
        "does with 'spawn'."
    )
    assert (own, ended, position, again) == ("2", "0", "1", "0")


def test_a_helper_reads_in_postgresql_on_a_connection_of_its_own(
    postgres_place: PostgresPlace, tmp_path: Path
) -> None:
    code = """
        kept = journal()
        kept.append(orders(1))
        say(wait(fork(lambda: say(open_reader(URL, STREAM).position))))
        say(kept.append(orders(2)))
    """
    with program(OPEN + dedent(code), postgres_place.url, cwd=tmp_path) as bot:
        assert bot.lines() == ["1", "0", "2"]


MIDDLE = """
    kept = journal()
    is_over = threading.Event()
    def work():
        number = 0
        while not is_over.is_set():
            number += 1
            kept.append(orders(number))
    def open_and_close():
        while not is_over.is_set():
            journal("another").close()
    threads = [threading.Thread(target=one) for one in (work, open_and_close)]
    for thread in threads:
        thread.start()
    told, telling = os.pipe()
    def child():
        say(refusal(lambda: kept.append(orders(0)))[:15])
        os.write(telling, b".")
        kept.close()
        signal.pause()
    helpers = []
    for _ in range(40):
        helpers.append(fork(child))
    is_over.set()
    for thread in threads:
        thread.join()
    say("verified", kept.verify().sound)
    kept.close()
    journal("another").close()
    say(journal().append(orders(0)) > 1)
    # None may be killed before it has said what it was told.
    heard = b""
    while len(heard) < len(helpers):
        heard += os.read(told, len(helpers))
    for helper in helpers:
        os.kill(helper, signal.SIGKILL)
        wait(helper)
    say("over")
"""


def test_a_fork_in_the_middle_of_anything_is_harmless(place: Place, tmp_path: Path) -> None:
    """Of an append, of a claim, of a look at who has one: no helper hangs, or keeps anything."""
    with program(OPEN + dedent(MIDDLE), place.url, cwd=tmp_path) as bot:
        said = bot.lines()
    assert said.count("JournalConflict") == 40
    assert [line for line in said if line != "JournalConflict"] == ["verified True", "True", "over"]


# -- who holds it now --------------------------------------------------------------------------

# A fork that Python knows nothing of, as a library in C may do it.
HEIR = """
    import ctypes
    kept = journal()
    heir = ctypes.PyDLL(None).fork()
    if not heir:
        ctypes.CDLL(None).pause()
    say(heir)
    signal.pause()
"""


def test_the_process_that_holds_the_lock_now_is_named_and_never_a_dead_one(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    with program(OPEN + dedent(HEIR), sqlite_place.url, cwd=tmp_path) as bot:
        heir = int(bot.line())
        with pytest.raises(JournalConflict, match=rf"by bot\.py \(process {bot.pid} on .* UTC;"):
            sqlite_place.open()
        bot.kill()
        with pytest.raises(JournalConflict) as refused:
            sqlite_place.open()
        said = str(refused.value)
        who = f"process {heir}" if Path("/proc").exists() else "a process"
        assert f" is being written by {who}, left behind by bot.py (process {bot.pid} on " in said
        assert " UTC, which has ended; stop that first (`trueup stop`), or take over" in said
        with sqlite_place.open(take_over=True) as again:
            assert again.append([order(1)]) == 1


# A child that never runs: as one does for a while that was forked on a busy machine.
REOPENED = """
    import ctypes
    def fork_one_that_never_lets_go():
        child = ctypes.PyDLL(None).fork()
        if not child:
            ctypes.CDLL(None).pause()
        return child
    children = []
    for number in (1, 2):
        kept = journal()
        children.append(fork_one_that_never_lets_go())
        say(kept.append(orders(number)))
        kept.close()
    for child in children:
        os.kill(child, signal.SIGKILL)
"""


def test_a_journal_opens_again_while_a_child_has_a_copy_of_its_closed_lock(
    place: Place, tmp_path: Path
) -> None:
    with program(OPEN + dedent(REOPENED), place.url, cwd=tmp_path) as bot:
        assert bot.lines() == ["1", "2"]


# Python does not notice this fork, so nothing is released in the child before the child closes.
CLOSED_BY_THE_CHILD = """
    import ctypes
    kept = journal()
    child = ctypes.PyDLL(None).fork()
    if not child:
        refusal(kept.close)
        os._exit(0)
    say(wait(child))
    signal.pause()
"""


def test_a_child_that_closes_its_copy_releases_nothing_of_its_parents(
    sqlite_place: SqlitePlace, tmp_path: Path
) -> None:
    code = OPEN + dedent(CLOSED_BY_THE_CHILD)
    with program(code, sqlite_place.url, cwd=tmp_path) as bot:
        assert bot.line() == "0"
        with pytest.raises(JournalConflict):
            sqlite_place.open()


def test_who_has_the_journal_open_already_in_this_process_is_told_so(place: Place) -> None:
    with place.open(), pytest.raises(JournalConflict, match=r"UTC, which is this process; stop"):
        place.open()


@needs_proc
def test_a_number_that_was_given_to_another_process_since_is_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with program("say('there'); signal.pause()", cwd=tmp_path) as other:
        assert other.line() == "there"
        assert not holds(other.pid, path)
        assert holder_of(path, other.pid).startswith("a process that process ")
    holding = f"file = open({str(path)!r}); say('there'); signal.pause()"
    with program(holding, cwd=tmp_path) as holder:
        assert holder.line() == "there"
        assert holds(holder.pid, path)
        assert holder_of(path, holder.pid) == f"process {holder.pid}"
        assert holder_of(path, other.pid) == (
            f"process {holder.pid} that process {other.pid} left behind when it ended"
        )
        assert holder_of(path, 0) == f"process {holder.pid}"
