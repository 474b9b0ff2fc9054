"""`trueup plan`, `rebind`: ask the bot of this folder from a second shell.

Exit codes: 0 all is well, 1 a person must act, 2 the bot could not be asked.
"""

from __future__ import annotations

import getpass
import textwrap
from typing import Annotated, Any

import typer

from trueup.cli.shared.asking import ask_person
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.core.quantity import format_money
from trueup.errors import TrueupError
from trueup.observe.lines import WIDTH, said
from trueup.runtime.control.bots import find_bots, one_of, silence_of
from trueup.runtime.control.line import Line

NEEDS_A_PERSON = 1

BotOption = Annotated[
    str | None,
    typer.Option(
        "--bot",
        "--account",
        metavar="PID|NAME",
        help="The bot's process, or the account's name in accounts.toml, if several bots run here.",
    ),
]


def plan(as_json: JsonOption = False, bot: BotOption = None) -> None:
    """Show what the next sync would change.

    The bot reads the broker now; nothing is changed. A held correction with an id waits for
    `trueup approve`, and so does an order that an assistant has proposed. Exit code 0: nothing
    needs a person. 1: a held correction or a proposal does, or the broker's data cannot be trusted.
    2: no bot runs here.
    """
    answer = look(chosen_bot(bot), "plan")
    # Without a trusted reading there is no plan, so the answer is the reason instead.
    unknown = answer.get("unknown")
    if as_json:
        fields = ("at", "plan", "waiting", "unknown", "proposals")
        print_document("plan", {key: answer.get(key) for key in fields})
    elif unknown is not None:
        lines = [*said("No plan", f"{unknown['reason']}.")]
        lines += [*said("", "The book stays as it is."), *said("Ends with", unknown["until"])]
        say("\n".join(lines))
    else:
        say("\n".join(map(_wrapped, answer["text"].splitlines())))
    if not as_json and answer.get("proposed"):
        say("\n".join(["", *map(_wrapped, answer["proposed"].splitlines())]))
    exit_needing_a_person(unknown is not None or answer["needs_person"])


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
        print_document("rebind", done) if as_json else say(
            f"The book belongs to {seen['bound']} already: nothing to do."
        )
        return
    if not yes:
        _confirm(seen)
        # The terminal may have changed its account while the question was open.
        look(asked, "account")
    done = asked.ask("rebind", login=seen["login"], server=seen["server"])
    if as_json:
        print_document("rebind", {**done, "changed": True, "left": seen["leaves"]})
    else:
        say(f"The book belongs to {done['bound']} now. {done['health']}")
    exit_needing_a_person(done["status"] != "SUCCESS")


def chosen_bot(which: str | None = None) -> Line:
    """Return the line to the bot of this folder, after checking that the bot answers.

    Raises:
        TrueupError: no bot runs, the bot does not answer, or several bots run and `which` is None.
    """
    # A state file may be stale, so the choice is among the files and the answer is the proof.
    line = Line(one_of(find_bots(), which))
    if line.ask("hello").get("pid") != line.bot.pid:
        raise TrueupError(silence_of(line.bot))
    return line


def look(line: Line, command: str, **fields: Any) -> dict[str, Any]:
    """Have a bot read the broker now, and return the bot's answer.

    Raises:
        TrueupError: the bot could not read the broker, does not answer, or refuses.
    """
    with progress("The bot looks at the broker"):
        return line.look(command, **fields)


def confirm_letting_go(line: Line, wanted: str) -> None:
    """Ask for confirmation if an approval would remove a missing position from the book."""
    now = line.status()
    decided = next((row.what for row in now.to_decide if row.id == wanted), None)
    held = next((row.reason for row in now.held if row.id == wanted), decided)
    if held is None or not wanted.startswith("missing-"):
        return
    say(f"{held}.\nNothing proves that it ended: it will count as assumed closed.")
    ask_person("Have you seen that it is gone, and shall the book let go of it?")


def user_name() -> str:
    """Return the name of the user who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "a person"


def _wrapped(line: str) -> str:
    """Wrap a line of a plan; continuation lines are indented below the sentence."""
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 20, break_on_hyphens=False)


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


def exit_needing_a_person(needed: bool) -> None:
    """End with the exit code 1 if a person must act."""
    if needed:
        raise typer.Exit(NEEDS_A_PERSON)
