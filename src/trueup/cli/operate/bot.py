"""`trueup status`, `plan`, `approve`, `rebind`: ask the bot of this folder from a second shell.

Exit codes: 0 all is well, 1 a person must act, 2 the bot could not be asked.
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
# An observation takes two turns of the bot's loop, or at most the gateway's timeout.
_LOOK_SEC = 30.0
CARRIED_OUT_SEC = 10.0
_LOOK_AGAIN_SEC = 0.1

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BotOption = Annotated[
    int | None,
    typer.Option("--bot", metavar="PID", help="The bot's process, if several bots run here."),
]


def status(
    as_json: JsonOption = False,
    journal: JournalOption = None,
    stream: Annotated[
        str | None,
        typer.Option(help="The book of the journal; by default that of the bot that ran last."),
    ] = None,
) -> None:
    """Show the bots and the terminal of this folder.

    If no bot runs, or a bot does not answer, the positions, the orders in doubt and the held
    corrections are read from the journal. The journal does not have the corrections that waited for
    approval: the next bot asks again.

    Exit code 0: all is well. 1: a person must act. 2: no bot runs here, or a bot does not answer.
    """
    bots = find_bots()
    terminal = find_terminal()
    # A bot that hangs must not hide the rest: the error is raised after everything is printed.
    try:
        for bot in bots:
            _make_sure(bot)
        found, silent = [_status_of(bot) for bot in bots], None
    except TrueupError as error:
        found, silent = [], error
    # The journal is the second source: read on request, or if no bot can be asked.
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
        blocks = [write_status(bot_status) for bot_status in found]
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
    exit_needing_a_person(any(bot_status.needs for bot_status in found))


def _left_behind(journal: str | None, stream: str | None) -> JournalStatus | None:
    """Return the state in the journal of a bot that does not answer, or None without a journal."""
    last = last_bot()
    place: str | Path = journal or default_journal()
    if journal is None and last is not None and last.journal_file:
        place, stream = short_path(Path(last.journal_file)), stream or last.stream
    if journal is None and not Path(place).exists():
        return None
    # Imported here: the status of a running bot needs no book, nor the time to import the book.
    from trueup.runtime.control.last_known import last_known

    return last_known(place, stream)


def plan(as_json: JsonOption = False, bot: BotOption = None) -> None:
    """Show what the next sync would change.

    The bot reads the broker now; nothing is changed. A held correction with an id waits for
    `trueup approve`. Exit code 0: no held correction needs a person. 1: a held correction does, or
    the broker's data cannot be trusted. 2: no bot runs here.
    """
    answer = look(chosen_bot(bot), "plan")
    # Without a trusted reading there is no plan, so the answer is the reason instead.
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
        bool, typer.Option("--yes", help="Do not ask before a missing position counts as closed.")
    ] = False,
    # Recorded in the journal with the approval.
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name; by default the system's user.")
    ] = None,
    as_json: JsonOption = False,
    bot: BotOption = None,
) -> None:
    """Approve a held correction.

    To approve a missing position means that you have checked that the position is gone. The book
    then removes the position as assumed closed, unproven, with your name in the journal. The
    command asks first. A position that the broker shows again, or whose deals prove how the
    position ended, is not removed on your word.

    An id stands for exactly the difference that was shown: a difference that has changed since has
    another id. Exit code 0: carried out. 1: not carried out. 2: no correction waits under this id;
    the waiting corrections are listed.
    """
    asked = chosen_bot(bot)
    rows = []
    for wanted in ids:
        # Only a missing position is assumed closed without proof; other approvals need no question.
        if not yes:
            _confirm_letting_go(asked, wanted)
        answer = answer_of(asked, "approve", id=wanted, who=who or user_name(), yes=True)
        # An approval takes effect with a sync, which may find that the broker shows otherwise.
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

    A book belongs to a single account, and refuses every other account until this command. The
    book's positions and orders belong to the old account and leave the book; nothing is sent to
    either broker.
    """
    asked = chosen_bot(bot)
    seen = look(asked, "account")
    # Also after a second call, so a script may repeat the command.
    if seen["bound"] == seen["terminal"]:
        done: dict[str, Any] = {"bound": seen["bound"], "changed": False}
        print_json(done) if as_json else say(
            f"The book belongs to {seen['bound']} already: nothing to do."
        )
        return
    if not yes:
        _confirm(seen)
        # The terminal may have changed its account while the question was open.
        look(asked, "account")
    done = answer_of(asked, "rebind", login=seen["login"], server=seen["server"])
    if as_json:
        print_json({**done, "changed": True, "left": seen["leaves"]})
    else:
        say(f"The book belongs to {done['bound']} now. {done['health']}")
    exit_needing_a_person(done["status"] != "SUCCESS")


def chosen_bot(pid: int | None = None) -> Bot:
    """Return the bot of this folder, after checking that the bot answers.

    Raises:
        TrueupError: no bot runs, the bot does not answer, or several bots run and `pid` is None.
    """
    bots = find_bots()
    # A state file may be stale, so the choice is among the files and the answer is the proof.
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
        TrueupError: the bot does not answer, or refuses; the message has the bot's reason.
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
    """Have a bot read the broker now, and return the bot's answer.

    Raises:
        TrueupError: the bot could not read the broker, does not answer, or refuses.
    """
    clock, number = SystemClock(), 0
    for _ in until(clock, _LOOK_SEC):
        answer = answer_of(bot, command, look=number, **fields)
        if "wait" not in answer:
            return answer
        number = answer["wait"]
    raise TrueupError(f"The bot, process {bot.pid}, got no look at the broker: see its log.")


def _wait_until_carried_out(bot: Bot, approved: dict[str, Any]) -> str:
    """Wait for the sync after an approval; return the outcome in words."""
    for _ in until(SystemClock(), approved["within_sec"] + CARRIED_OUT_SEC):
        now = _status_of(bot)
        held = any(row.id == approved["id"] for row in now.holds)
        if not held and now.sync_count > approved["sync_count"]:
            is_kept = any(row.identifier == approved["identifier"] for row in now.positions)
            return KEPT if is_kept and approved["kind"] in ("missing", "halt") else DONE
    return "not carried out yet, see `trueup status`"


def _confirm_letting_go(bot: Bot, wanted: str) -> None:
    """Ask for confirmation if an approval would remove a missing position from the book."""
    kinds = ("missing", "halt")
    held = next((r for r in _status_of(bot).holds if r.id == wanted and r.kind in kinds), None)
    if held is None:
        return
    say(f"{held.reason}.\nNothing proves that it ended: it will count as assumed closed.")
    ask_person("Have you seen that it is gone, and shall the book let go of it?")


def user_name() -> str:
    """Return the name of the user who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "a person"


def until(clock: Clock, seconds: float) -> Any:
    """Yield repeatedly, with a pause between, until the seconds have passed."""
    deadline_ns = clock.waiting_ns() + round(seconds * 1e9)
    while clock.waiting_ns() < deadline_ns:
        yield
        clock.sleep(_LOOK_AGAIN_SEC)


def _wrapped(line: str) -> str:
    """Wrap a line of a plan; continuation lines are indented below the sentence."""
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 20, break_on_hyphens=False)


def _what(approved: dict[str, Any]) -> str:
    return str(approved["reason"]).removesuffix(", waits for approval")


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
    """Ask the user for confirmation.

    Raises:
        TrueupError: the answer is no, or there is no input.
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
    """End with the exit code 1 if a person must act."""
    if needed:
        raise typer.Exit(NEEDS_A_PERSON)
