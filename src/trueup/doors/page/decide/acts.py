"""The actions of an approver: what is true now, one question, and what became of it.

Every action is a command of the control port, as `trueup approve` and the others give it. The bot
carries it out in its own turn and journals it with the person's name.
"""

from __future__ import annotations

import msgspec

from trueup.doors.page.decide.question import Act, Outcome, Question, Values, Withdrawn
from trueup.doors.page.decide.settling import SETTLE
from trueup.doors.page.words import PROPOSAL
from trueup.errors import TrueupError
from trueup.observe.close_text import ClosePlan, close_sentence, write_close_plan
from trueup.observe.lines import clock_of
from trueup.observe.status.status import Decision, Status
from trueup.runtime.assistants.outcomes import ENDS, EXECUTED, WishOutcome, WishState
from trueup.runtime.control.carried_out import (
    LETS_GO,
    Correction,
    close_position,
    outcome_words,
    send_proposed,
    wait_for_correction,
)
from trueup.runtime.control.line import BotSilent, Line


def ask(name: str, line: Line, values: Values) -> Question | Outcome:
    """Return the question of an action, or why it cannot be asked any more."""
    try:
        return ACTS[name].question(line, values)
    except TrueupError as error:
        return Outcome(False, _withdrawn(error))


def carry_out(name: str, line: Line, values: Values, who: str) -> Outcome:
    """Carry out an action as a person, and wait for its outcome."""
    try:
        return ACTS[name].carry_out(line, values, who)
    except BotSilent as error:
        because = str(error).rstrip(".")
        return Outcome(False, f"Not known: {because}. Look at the position in the terminal.")
    except TrueupError as error:
        return Outcome(False, _withdrawn(error))


def _withdrawn(error: TrueupError) -> str:
    return f"Withdrawn because: {str(error).rstrip('.')}."


# Approve and reject.


def _ask_approval(line: Line, values: Values) -> Question:
    wanted = values.get("id", "")
    decision, held = _waiting(line, wanted)
    tick = ""
    if wanted.startswith(LETS_GO):
        tick = (
            "I have seen that the position is gone. Nothing proves it: it counts as assumed closed."
        )
    what = decision.what if decision else held
    facts = [] if decision else [held]
    return Question(f"Approve: {what}?", facts, "Approve", decision, tick, {"id": wanted}, False)


def _waiting(line: Line, wanted: str) -> tuple[Decision | None, str]:
    """Return a decision that waits now, by a look at the broker that is made for it."""
    seen = line.look("plan")
    unknown = seen.get("unknown")
    if unknown is not None:
        raise Withdrawn(f"the broker is not believed now: {unknown['reason']}")
    status = line.status()
    decision = next((one for one in status.to_decide if one.id == wanted), None)
    if decision is None and wanted not in seen["waiting"]:
        raise Withdrawn(
            _ended(line, wanted) if wanted.startswith(PROPOSAL) else _gone(status, wanted)
        )
    return decision, wanted


def _gone(status: Status, wanted: str) -> str:
    ids = ", ".join(one.id for one in status.to_decide)
    others = f"; what waits now: {ids}" if ids else "; nothing waits for a decision now"
    return f"the broker's look of now no longer shows the difference {wanted}{others}"


def _ended(line: Line, wanted: str) -> str:
    """Return why a proposal waits no more, with what became of its order."""
    outcome = msgspec.convert(line.ask("outcome", id=wanted)["outcome"], WishOutcome)
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    if outcome.state in ENDS.values() and outcome.state is not WishState.DONE:
        because = f" ({outcome.reason})" if outcome.reason else ""
        return f"the proposal is {outcome.state.value}{by} already{because}"
    return f"the proposal was approved{by} already, and its order is {outcome_words(outcome)}"


def _approve(line: Line, values: Values, who: str) -> Outcome:
    wanted = values.get("id", "")
    decision, _ = _waiting(line, wanted)
    told = {"id": wanted, "who": who, "yes": True, "at_ns": line.clock.now_ns()}
    if wanted.startswith(PROPOSAL):
        return _sent(send_proposed(line, told))
    answer = line.ask("approve", **told)
    # The approval takes effect with a sync; nobody wants to wait for the next of its own.
    line.ask("sync", who=who, why=f"after the approval of {wanted}")
    match wait_for_correction(line, answer):
        case Correction.DONE:
            then = f": {decision.if_approved.rstrip('.')}" if decision else ""
            return Outcome(True, f"Carried out{then}.")
        case Correction.KEPT:
            raise Withdrawn("the broker shows the position again, so it stays in the book")
        case Correction.LATE:
            return Outcome(False, "Not carried out yet: no look at the broker was believed since.")


def _sent(outcome: WishOutcome) -> Outcome:
    """Say what became of an assistant's order: an order in doubt may have been executed."""
    words = outcome_words(outcome).rstrip(".")
    if outcome.state in EXECUTED:
        return Outcome(True, f"Carried out: {words}.")
    if outcome.state is WishState.IN_DOUBT:
        rows = [f"So far: {outcome.evidence}."] if outcome.evidence else []
        if outcome.next_look:
            rows.append(f"Next look {clock_of(outcome.next_look)} UTC.")
        rows.append("Not sent again. See Orders.")
        return Outcome(False, f"{words[:1].upper()}{words[1:]}.", rows)
    if outcome.state is WishState.WAITING:
        return Outcome(False, "Not known yet: the bot has not sent the order. See Orders.")
    return Outcome(False, f"{words[:1].upper()}{words[1:]}.")


def _ask_rejection(line: Line, values: Values) -> Question:
    wanted = values.get("id", "")
    decision, words = _waiting(line, wanted)
    title = f"Reject: {decision.what if decision else words}?"
    return Question(title, ["Nothing is sent."], "Reject", decision, hidden={"id": wanted})


def _reject(line: Line, values: Values, who: str) -> Outcome:
    line.ask("reject", id=values.get("id", ""), who=who, why=values.get("why", ""))
    return Outcome(True, "Carried out: the proposal is rejected, and nothing is sent.")


# Pause, close-only, resume, sync.

EFFECTS = {
    "pause": "Nothing that the strategy asks for is sent; syncs and closes by you go on.",
    "close-only": "Entries and pending orders are refused; closes, changes and cancellations pass.",
    "resume": "Every order of the strategy is allowed again.",
}


def _mode(name: str, title: str, button: str) -> Act:
    def question(line: Line, _: Values) -> Question:
        status = line.status()
        facts = [f"Now: {status.works}", f"Then: {EFFECTS[name]}"]
        pending = sum(row.pending for row in status.books)
        if pending and name != "resume":
            facts.append(
                f"Pending orders at the broker stay, and may still be executed: {pending}."
            )
        if name == "resume" and status.mode is None:
            raise Withdrawn("every order is allowed already")
        return Question(title, facts, button)

    def act(line: Line, values: Values, who: str) -> Outcome:
        why = values.get("why", "")
        answer = line.ask(name, who=who, why=why, at_ns=line.clock.now_ns())
        if not answer["changed"]:
            raise Withdrawn("the bot is in this mode already")
        rows = [answer["trouble"]] if answer.get("trouble") else []
        return Outcome(True, f"Carried out. {EFFECTS[name]}", rows)

    return Act(question, act)


def _ask_sync(line: Line, _: Values) -> Question:
    return Question("Compare the books now?", [line.status().basis], "Compare now")


def _sync(line: Line, values: Values, who: str) -> Outcome:
    told = line.look("sync", who=who, why=values.get("why", ""))
    rows = [*told["drifts"], *told["errors"], *told["holds"]]
    if told["status"] in ("SUCCESS", "PARTIAL"):
        return Outcome(True, f"Carried out: {told['health']}.", rows)
    return Outcome(False, "Not carried out: the broker is not believed.", rows)


# Close.


def _ask_close(line: Line, values: Values) -> Question:
    plan = _close_plan(line, values)
    count = len(plan.rows)
    title = "Close this position now?" if count == 1 else f"Close these {count} positions now?"
    shown = ",".join(f"{row.ticket}:{row.side}:{row.lots!r}" for row in plan.rows)
    hidden = {"ticket": values.get("ticket", ""), "shown": shown, "once": f"{line.clock.now_ns()}"}
    return Question(title, write_close_plan(plan).splitlines(), "Close now", hidden=hidden)


def _close_plan(line: Line, values: Values) -> ClosePlan:
    given = values.get("ticket", "")
    if given != "all" and not (given.isdecimal() and int(given)):
        raise Withdrawn(f"there is no ticket {given!r}: give a ticket, or all")
    ticket = 0 if given == "all" else int(given)
    plan = msgspec.convert(line.look("close-plan", ticket=ticket)["plan"], ClosePlan)
    if not plan.rows:
        raise Withdrawn("the book has no such position")
    return plan


def _close(line: Line, values: Values, who: str) -> Outcome:
    rows, sentences = {row.ticket: row for row in _close_plan(line, values).rows}, []
    results = []
    for shown in values.get("shown", "").split(","):
        ticket, side, lots = (*shown.split(":"), "", "")[:3]
        row = rows.get(int(ticket)) if ticket.isdecimal() else None
        if row is None:
            sentences.append(f"{ticket} is not in the book any more.")
            continue
        # The form has the key of the command: a form that is sent twice closes nothing twice.
        command = {
            "id": f"close-{ticket}-page-{values.get('once', '')}",
            "ticket": row.ticket,
            "side": side,
            "lots": float(lots),
            "everything": values.get("ticket") == "all",
            "at_ns": line.clock.now_ns(),
            "who": who,
            "why": values.get("why", ""),
        }
        results.append(close_position(line, command))
        sentences.append(" ".join(" ".join(close_sentence(row, results[-1])).split()))
    if not results:
        raise Withdrawn("nothing of what was shown is open any more")
    return _of_closes({result.state for result in results}, sentences)


def _of_closes(states: set[str], sentences: list[str]) -> Outcome:
    """Say what became of closes: the worst first, since a doubtful close may have been executed."""
    if "unknown" in states:
        return Outcome(False, "Not known: the bot did not answer.", sentences)
    if "doubt" in states:
        return Outcome(False, "In doubt: not sent again.", sentences)
    if states == {"closed"}:
        return Outcome(True, "Carried out.", sentences)
    return Outcome(False, "Not all was carried out.", sentences)


ACTS: dict[str, Act] = {
    "approve": Act(_ask_approval, _approve),
    "reject": Act(_ask_rejection, _reject),
    "pause": _mode("pause", "Pause the strategy?", "Pause"),
    "close-only": _mode("close-only", "Let the strategy only close?", "Only closes"),
    "resume": _mode("resume", "Allow every order again?", "Resume"),
    "sync": Act(_ask_sync, _sync),
    "close": Act(_ask_close, _close),
    "settle": SETTLE,
}
"""The actions, by their names in the page's addresses."""
