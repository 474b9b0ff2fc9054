"""What an approver asks of a fleet: what is true now, one question, and what became of it.

Each is a row in the fleet's tables, as `trueup fleet` writes it, with the person's name. The nodes
obey with their next heartbeat. What is true is read again before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trueup.doors.fleet.fleet import Fleet
from trueup.doors.fleet.overview import AccountLine, account_of, accounts_of_shard
from trueup.doors.fleet.shards import shard_of
from trueup.doors.page.decide.acts import EFFECTS
from trueup.doors.page.decide.question import Choice, Outcome, Question, Values, Withdrawn
from trueup.doors.page.fleet.words import node_words
from trueup.errors import JournalError, TrueupError
from trueup.observe.status.findings import counted

OBEYED = "The nodes obey with their next heartbeat."
NOBODY_TAKES = "I know that its accounts stop running, since no other node takes accounts."
# A field of its own: a node may have any name.
ANYWHERE = {"anywhere": "yes"}


class FleetAct(NamedTuple):
    """An action: its question, and its execution by a person."""

    question: Callable[[Fleet, Values], Question]
    carry_out: Callable[[Fleet, Values, str], Outcome]


def ask(url: str, name: str, values: Values) -> Question | Outcome:
    """Return the question of an action, or why it cannot be asked."""
    try:
        with Fleet(url) as fleet:
            return ACTS[name].question(fleet, _plain(values))
    except TrueupError as error:
        return Outcome(False, _withdrawn(error))


def carry_out(url: str, name: str, values: Values, who: str) -> Outcome:
    """Carry out an action as a person."""
    try:
        with Fleet(url) as fleet:
            return ACTS[name].carry_out(fleet, _plain(values), who)
    except JournalError as error:
        # What was sent may have arrived.
        return Outcome(False, f"Not known: {str(error).rstrip('.')}. See Accounts.")
    except TrueupError as error:
        return Outcome(False, _withdrawn(error))


def _plain(values: Values) -> Values:
    # PostgreSQL takes no such character, and no name has it.
    return {key: value.replace("\0", "") for key, value in values.items()}


def _withdrawn(error: TrueupError) -> str:
    return f"Withdrawn because: {str(error).rstrip('.')}."


# Drain.


def _node(fleet: Fleet, values: Values) -> dict[str, Any]:
    name = values.get("node", "")
    found = next((node for node in fleet.nodes() if node["name"] == name), None)
    if found is None:
        raise Withdrawn(f"the fleet has no node {name!r:.60}")
    return found


def _takers(fleet: Fleet, *others: str) -> list[str]:
    """Return the nodes that take accounts, beside some."""
    return [
        node["name"]
        for node in fleet.nodes()
        if node["state"] == "alive" and node["name"] not in others
    ]


def _ask_drain(fleet: Fleet, values: Values) -> Question:
    node = _not_drained(fleet, values)
    name, takers = node["name"], _takers(fleet, node["name"])
    to = f"go to {_listed(takers)}" if takers else "run nowhere"
    facts = [
        f"Now: {node['state']}, {node_words(node)}.",
        f"Then: its accounts are closed in order, one after the other, and {to}. It takes none, "
        "also after a restart, until you let it.",
    ]
    tick = "" if takers else NOBODY_TAKES
    return Question(f"Drain node {name}?", facts, "Drain", tick=tick, hidden={"node": name})


def _not_drained(fleet: Fleet, values: Values) -> dict[str, Any]:
    node = _node(fleet, values)
    if node["drained_by"]:
        raise Withdrawn(f"{node['drained_by']} has drained node {node['name']} already")
    return node


def _drain(fleet: Fleet, values: Values, who: str) -> Outcome:
    name = _not_drained(fleet, values)["name"]
    if not _takers(fleet, name) and not values.get("seen"):
        raise Withdrawn(f"no other node takes accounts now, so those of {name} would run nowhere")
    fleet.drain(name, who, values.get("why", ""))
    return Outcome(True, f"Carried out: node {name} gives its accounts back.", [OBEYED])


def _ask_undrain(fleet: Fleet, values: Values) -> Question:
    node = _drained(fleet, values)
    why = f" ({node['drained_why']})" if node["drained_why"] else ""
    facts = [
        f"Now: {node['state']}, {node_words(node)}, drained by {node['drained_by']}{why}.",
        "Then: it gets its share of the accounts, step by step.",
    ]
    name = node["name"]
    title = f"Let node {name} take accounts again?"
    return Question(title, facts, "Take accounts again", hidden={"node": name})


def _drained(fleet: Fleet, values: Values) -> dict[str, Any]:
    node = _node(fleet, values)
    if not node["drained_by"]:
        raise Withdrawn(f"node {node['name']} is not drained")
    return node


def _undrain(fleet: Fleet, values: Values, who: str) -> Outcome:
    name = _drained(fleet, values)["name"]
    fleet.undrain(name, who, values.get("why", ""))
    return Outcome(True, f"Carried out: node {name} takes accounts again.", [OBEYED])


# Move.


def _account(fleet: Fleet, values: Values) -> tuple[str, AccountLine | None]:
    """Return the name of an account, and its line if the tables have the accounts."""
    name = values.get("account", "")
    line = account_of(fleet, name) if fleet.tells_accounts else None
    if not name or (line is None and fleet.tells_accounts):
        raise Withdrawn(f"the fleet has no account {name!r:.60}")
    return name, line


def _ask_move(fleet: Fleet, values: Values) -> Question:
    name, line = _account(fleet, values)
    number, is_asked = shard_of(name, fleet.shards), values.keys() & {"node", *ANYWHERE}
    facts = [] if line is None else [_now(line)]
    if fleet.tells_accounts:
        others = counted(accounts_of_shard(fleet, number) - 1, "other account")
        facts.append(f"The whole of shard {number} goes: {name} and {others}.")
    if not is_asked:
        takers = _takers(fleet, "" if line is None else line.node)
        pinned = line is not None and line.pinned
        nodes = [Choice(f"To {node}", {"account": name, "node": node}) for node in takers]
        free = [Choice("To any node", {"account": name, **ANYWHERE})] if pinned else []
        if not nodes and not free:
            raise Withdrawn("no other node takes accounts now")
        title = f"Where shall {name} run?"
        return Question(title, facts, "", choices=(*nodes, *free), hidden={"account": name})
    to = _target(fleet, values)
    title = f"Move {name} to {to or 'any node'}?"
    if to:
        facts.append(f"Then: it is closed in order, and runs on {to} while that node is alive.")
    else:
        facts.append("Then: it may run on any node, as its shard did before it was moved.")
    where = {"node": to} if to else ANYWHERE
    return Question(title, facts, "Move", hidden={"account": name, **where})


def _target(fleet: Fleet, values: Values) -> str:
    """Return the node that takes accounts, empty for any."""
    if values.keys() >= ANYWHERE.keys():
        return ""
    to = values.get("node", "")
    if to not in _takers(fleet):
        raise Withdrawn(f"node {to!r:.60} takes no accounts now")
    return to


def _move(fleet: Fleet, values: Values, who: str) -> Outcome:
    name, _ = _account(fleet, values)
    to = _target(fleet, values)
    shard = fleet.move(name, to, who, values.get("why", ""))
    where = f"goes to node {to}" if to else "may be on any node"
    return Outcome(True, f"Carried out: {name} {where}, with all of shard {shard}.", [OBEYED])


# Pause and resume.


def _paused(fleet: Fleet, values: Values) -> tuple[str, Mapping[str, Any] | None, list[str]]:
    """Return an account (empty for all), its pause, and what is true now."""
    if values.get("account"):
        name, line = _account(fleet, values)
        facts = [] if line is None else [_now(line)]
    else:
        name, nodes = "", fleet.nodes()
        facts = [f"Now: {sum(node['running'] for node in nodes)} accounts run."]
    pauses = {pause["account"]: pause for pause in fleet.pauses()}
    if name and "" in pauses:
        facts.append(f"The whole fleet is paused by {pauses['']['who']}, and stays so.")
    return name, pauses.get(name), facts


def _what(name: str) -> str:
    return name or "the whole fleet"


def _not_paused(fleet: Fleet, values: Values) -> tuple[str, list[str]]:
    name, pause, facts = _paused(fleet, values)
    if pause is not None:
        raise Withdrawn(f"{pause['who']} has paused {_what(name)} already")
    return name, facts


def _ask_pause(fleet: Fleet, values: Values) -> Question:
    name, facts = _not_paused(fleet, values)
    facts.append(f"Then: {EFFECTS['pause'][:1].lower()}{EFFECTS['pause'][1:]}")
    return Question(f"Pause {_what(name)}?", facts, "Pause", hidden={"account": name})


def _pause(fleet: Fleet, values: Values, who: str) -> Outcome:
    name, _ = _not_paused(fleet, values)
    if not fleet.pause(name, who, values.get("why", "")):
        # Between the look and the row.
        raise Withdrawn(f"somebody has paused {_what(name)} already")
    return Outcome(True, f"Carried out: {_what(name)} is paused.", [OBEYED])


def _is_paused(fleet: Fleet, values: Values) -> tuple[str, Mapping[str, Any], list[str]]:
    name, pause, facts = _paused(fleet, values)
    if pause is None:
        raise Withdrawn(f"no pause of the fleet is on {_what(name)}")
    return name, pause, facts


def _ask_resume(fleet: Fleet, values: Values) -> Question:
    name, pause, facts = _is_paused(fleet, values)
    why = f": {pause['why']}" if pause["why"] else ""
    facts = [
        f"{pause['who']} has paused {_what(name)}{why}.",
        *facts,
        "Then: the strategies go on. An account that was paused by itself stays paused.",
    ]
    return Question(f"Resume {_what(name)}?", facts, "Resume", hidden={"account": name})


def _resume(fleet: Fleet, values: Values, who: str) -> Outcome:
    name, _, _ = _is_paused(fleet, values)
    if not fleet.resume(name, who, values.get("why", "")):
        raise Withdrawn(f"somebody has resumed {_what(name)} already")
    return Outcome(True, f"Carried out: {_what(name)} is resumed.", [OBEYED])


def _now(line: AccountLine) -> str:
    where = f"on {line.node}" if line.node else "no node has it"
    paused = f", paused by {line.paused_by}" if line.paused_by else ""
    return f"Now: {line.state}, {where}{paused}."


def _listed(names: list[str]) -> str:
    shown = names[:3]
    rest = len(names) - len(shown)
    return f"{', '.join(shown)} and {rest} more" if rest else " and ".join(shown)


ACTS: dict[str, FleetAct] = {
    "drain": FleetAct(_ask_drain, _drain),
    "undrain": FleetAct(_ask_undrain, _undrain),
    "move": FleetAct(_ask_move, _move),
    "pause": FleetAct(_ask_pause, _pause),
    "resume": FleetAct(_ask_resume, _resume),
}
"""The actions, by their names in the page's addresses."""
