"""`trueup status`, `plan`, `approve`, `rebind`: a second shell asks the bot of this folder.

Exit codes: 0 all is well, 1 something needs a person, 2 it could not be asked.
"""

from __future__ import annotations

import getpass
import json
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.shared.journal_place import JournalOption, default_journal, short_path
from trueup.cli.shared.say import say
from trueup.cli.terminal.running_terminal import NOT_RUNNING, terminal_lines
from trueup.core.quantity import format_money
from trueup.errors import NotSent, OutcomeUnknown, TrueupError
from trueup.observe.journal_status_text import JournalStatus, write_journal_status
from trueup.observe.status_text import WIDTH, BotStatus, said, write_status
from trueup.runtime.control.bots import Bot, ask_bot, find_bots, last_bot
from trueup.runtime.time.clock import Clock, SystemClock
from trueup.sim.process.whereabouts import ask, find_terminal

NEEDS_A_PERSON = 1
NO_BOT = "No bot runs in this folder: start one with `trueup paper`."
DONE = "carried out"
KEPT = "not carried out, the broker shows it again"
# A look takes two turns of the loop, or as long as the gateway's timeout; then it has an answer.
_LOOK_SEC = 30.0
CARRIED_OUT_SEC = 10.0
_LOOK_AGAIN_SEC = 0.1

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BotOption = Annotated[
    int | None,
    typer.Option("--bot", metavar="PID", help="Which bot, where several run in this folder."),
]


def status(
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: Annotated[
        str | None,
        typer.Option(help="Which book of the journal; by default that of the bot that ran last."),
    ] = None,
) -> None:
    """Show the bots and the terminal of this folder.

    Where no bot runs, or one is silent, the journal says what its book holds, which orders are in
    doubt and what was held. What waited for a yes is not in it: the next bot asks again.

    Exit code 0: all is well. 1: something needs a person. 2: no bot runs here, or it is silent.
    """
    bots = find_bots()
    terminal = find_terminal()
    try:
        for bot in bots:
            _make_sure(bot)
        found, silent = [_status_of(bot) for bot in bots], None
    except TrueupError as error:
        found, silent = [], error
    left = _left_behind(journal, stream) if journal or stream or not found else None
    if not bots and terminal is None and left is None:
        raise TrueupError(f"No bot runs in this folder. {NOT_RUNNING}")
    if as_json:
        facts = None
        if terminal is not None:
            facts = {**ask(terminal, {"command": "hello"}), **ask(terminal, {"command": "list"})}
        rows = {"bots": msgspec.to_builtins(found), "terminal": facts}
        print_json(rows if left is None else {**rows, "journal": msgspec.to_builtins(left)})
    else:
        blocks = [write_status(one) for one in found]
        if not bots:
            blocks.append("\n".join(said("Bot", NO_BOT)))
        if left is not None:
            blocks.append(write_journal_status(left))
        if terminal is not None:
            blocks.append("\n".join(terminal_lines(terminal)))
        say("\n\n".join(blocks))
    if silent is not None:
        raise silent
    if not found:
        raise typer.Exit(2)
    exit_needing_a_person(any(one.needs for one in found))


def _left_behind(journal: str | None, stream: str | None) -> JournalStatus | None:
    """Return what the journal of a bot that does not answer has, or None where there is none."""
    last = last_bot()
    place: str | Path = journal or default_journal()
    if journal is None and last is not None and last.journal_file:
        place, stream = short_path(Path(last.journal_file)), stream or last.stream
    if journal is None and not Path(place).exists():
        return None
    # Imported here: a running bot's status does not need the book, nor the time to import it.
    from trueup.runtime.control.last_known import last_known

    return last_known(place, stream)


def plan(as_json: JsonOption = False, bot: BotOption = None) -> None:
    """Show what the next sync would change.

    The bot looks at the broker now; nothing is changed. What is held with an id waits for
    `trueup approve`. Exit code 0: nothing is held that a person should know of. 1: something is,
    or the broker cannot be believed. 2: no bot runs here.
    """
    answer = look(chosen_bot(bot), "plan")
    unknown = answer.get("unknown")
    if as_json:
        print_json({key: answer.get(key) for key in ("at", "plan", "waiting", "unknown")})
    elif unknown is not None:
        lines = [*said("No plan", f"{unknown['reason']}.")]
        lines += [*said("", "The book stays as it is."), *said("Ends with", unknown["until"])]
        say("\n".join(lines))
    else:
        say("\n".join(map(_wrapped, answer["text"].splitlines())))
    exit_needing_a_person(unknown is not None or answer["needs_person"])


def approve(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `trueup plan` shows them.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, where it lets go of what is missing.")
    ] = False,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who says yes; by default who runs this.")
    ] = None,
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Approve a held correction.

    A yes to what is missing says that you have seen it is gone: the book lets go of it as assumed
    closed, unproven, with your name in the journal. It asks before, and nothing is let go of that
    the broker shows again, or whose deals prove how it ended.

    An id stands for a difference as it was shown: one that has changed meanwhile has another.
    Exit code 0: carried out. 1: not carried out. 2: nothing waits under this id; what waits is
    listed.
    """
    asked = chosen_bot(bot)
    rows = []
    for wanted in ids:
        if not yes:
            _confirm_letting_go(asked, wanted)
        answer = answer_of(asked, "approve", id=wanted, who=who or user_name(), yes=True)
        then = _wait_until_carried_out(asked, answer)
        rows.append({"id": wanted, "ticket": answer["ticket"], "carried_out": then == DONE})
        if not as_json:
            say(f"Approved {wanted} ({_what(answer)}): {then}.")
    if as_json:
        print_json(rows)
    exit_needing_a_person(not all(row["carried_out"] for row in rows))


def rebind(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Bind the book to the terminal's present account.

    A book belongs to one account, and refuses every other until a person says so here. What the
    book holds belongs to the other account and leaves the book; nothing is done at either broker.
    """
    asked = chosen_bot(bot)
    seen = look(asked, "account")
    if seen["bound"] == seen["terminal"]:
        done: dict[str, Any] = {"bound": seen["bound"], "changed": False}
        print_json(done) if as_json else say(
            f"The book belongs to {seen['bound']} already: nothing to do."
        )
        return
    if not yes:
        _confirm(seen)
        # Somebody may have logged in elsewhere while the question stood.
        look(asked, "account")
    done = answer_of(asked, "rebind", login=seen["login"], server=seen["server"])
    if as_json:
        print_json({**done, "changed": True, "left": seen["leaves"]})
    else:
        say(f"The book belongs to {done['bound']} now. {done['health']}")
    exit_needing_a_person(done["status"] != "SUCCESS")


def chosen_bot(pid: int | None = None) -> Bot:
    """Return the bot of this folder, having made sure that it is one.

    Raises:
        TrueupError: there is none, it is silent, or there are several and none was chosen.
    """
    bots = find_bots()
    if pid is not None:
        bots = [bot for bot in bots if bot.pid == pid]
        if not bots:
            raise TrueupError(
                f"No bot with process {pid} runs in this folder: see `trueup status`."
            )
    if not bots:
        raise TrueupError(NO_BOT)
    if len(bots) > 1:
        known = ", ".join(f"{bot.pid} ({bot.symbol})" for bot in bots)
        raise TrueupError(f"{len(bots)} bots run in this folder: give --bot PID, one of {known}.")
    _make_sure(bots[0])
    return bots[0]


def _make_sure(bot: Bot) -> None:
    if answer_of(bot, "hello").get("pid") != bot.pid:
        raise TrueupError(_silent(bot))


def _status_of(bot: Bot) -> BotStatus:
    return msgspec.convert(answer_of(bot, "status")["status"], BotStatus)


def answer_of(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Return a bot's answer.

    Raises:
        TrueupError: it is silent, or it says why not.
    """
    try:
        answer = ask_bot(bot, command, **fields)
    except (NotSent, OutcomeUnknown) as error:
        raise TrueupError(_silent(bot)) from error
    if not answer.get("ok"):
        raise TrueupError(answer.get("error"))
    return answer


def _silent(bot: Bot) -> str:
    return (
        f"The bot of this folder, process {bot.pid} at {bot.control}, does not answer: it hangs, "
        "or it is gone and another program has its port."
    )


def look(bot: Bot, command: str, **fields: Any) -> dict[str, Any]:
    """Have a bot look at the broker, and return what it saw.

    Raises:
        TrueupError: it got no look, it is silent, or it says why not.
    """
    clock, number = SystemClock(), 0
    for _ in until(clock, _LOOK_SEC):
        answer = answer_of(bot, command, look=number, **fields)
        if "wait" not in answer:
            return answer
        number = answer["wait"]
    raise TrueupError(f"The bot, process {bot.pid}, got no look at the broker: see its log.")


def _wait_until_carried_out(bot: Bot, approved: dict[str, Any]) -> str:
    """Return what came of a yes, in words."""
    for _ in until(SystemClock(), approved["within_sec"] + CARRIED_OUT_SEC):
        now = _status_of(bot)
        held = any(row.id == approved["id"] for row in now.holds)
        if not held and now.sync_count > approved["sync_count"]:
            is_kept = any(row.identifier == approved["identifier"] for row in now.positions)
            return KEPT if is_kept and approved["kind"] in ("missing", "halt") else DONE
    return "not carried out yet, see `trueup status`"


def _confirm_letting_go(bot: Bot, wanted: str) -> None:
    """Have a person say that what is missing is gone, where a yes would let go of that."""
    kinds = ("missing", "halt")
    held = next((r for r in _status_of(bot).holds if r.id == wanted and r.kind in kinds), None)
    if held is None:
        return
    say(f"{held.reason}.\nNothing proves that it ended: it will count as assumed closed.")
    ask_person("Have you seen that it is gone, and shall the book let go of it?")


def user_name() -> str:
    """Return who runs this command, as the system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "a person"


def until(clock: Clock, seconds: float) -> Any:
    """Yield again and again, a moment apart, until the seconds have passed."""
    deadline_ns = clock.waiting_ns() + round(seconds * 1e9)
    while clock.waiting_ns() < deadline_ns:
        yield
        clock.sleep(_LOOK_AGAIN_SEC)


def _wrapped(line: str) -> str:
    """Return a line of a plan as lines that fit; what goes on stands below the sentence."""
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 20, break_on_hyphens=False)


def _what(approved: dict[str, Any]) -> str:
    return str(approved["reason"]).removesuffix(", waits for a yes")


def _confirm(seen: dict[str, Any]) -> None:
    balance = format_money(seen["balance"], seen.get("currency_digits"))
    say(
        f"The book belongs to {seen['bound'] or 'no account yet'}; the terminal is logged in to "
        f"{seen['terminal']}, balance {balance} {seen['currency']}."
    )
    if seen["leaves"]:
        say("What leaves the book, and stays at its broker as it is:")
        for what in seen["leaves"]:
            say(f"  - {what}")
    ask_person("Bind the book to the terminal's account?")


def ask_person(question: str) -> None:
    """Ask a person for a yes.

    Raises:
        TrueupError: the answer is no, or nobody answered.
    """
    try:
        is_wanted = typer.confirm(question)
    except typer.Abort:
        raise TrueupError("Nobody answered, so nothing was changed: give --yes.") from None
    if not is_wanted:
        raise TrueupError("Nothing was changed.")


def print_json(values: Any) -> None:
    """Print plain values as JSON."""
    say(json.dumps(values, indent=2, ensure_ascii=not _shows_unicode()))


def _shows_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def exit_needing_a_person(needed: bool) -> None:
    """End with the exit code that says that somebody is needed, where that is so."""
    if needed:
        raise typer.Exit(NEEDS_A_PERSON)
