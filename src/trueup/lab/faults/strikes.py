"""The table of faults: the function that carries out each fault of the plan."""

from __future__ import annotations

import random
from collections.abc import Callable

from trueup.lab.faults import access, habits, journal, people, terminal, terms, wire
from trueup.lab.faults import broker as office
from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.plan.plan import Fault, Strike
from trueup.lab.system.bot import Doom
from trueup.runtime.bot.crash_points import CrashPoint
from trueup.sim.market.records import Refusal
from trueup.sim.market.switches import ListAnswer

Deed = Callable[[StruckWorld, random.Random], str | None]
"""Changes a world now, and returns the rest of the sentence about the fault; an empty text if the
fault had no effect, and None if the fault waits for a later event."""

DEEDS: dict[Fault, Deed] = {
    Fault.PARTITION: wire.cut_network,
    Fault.HINTS_LOST: lambda w, c: wire.spoil_hints(w, Fault.HINTS_LOST, c),
    Fault.HINTS_FALSE: lambda w, c: wire.spoil_hints(w, Fault.HINTS_FALSE, c),
    Fault.GATEWAY_RESTARTED: wire.restart_gateway,
    Fault.GATEWAY_POWER_LOST: wire.lose_gateway_power,
    Fault.GATEWAY_DISK_FULL: wire.fill_gateway_disk,
    Fault.GATEWAY_DOWNGRADED: wire.downgrade_gateway,
    Fault.DISK_FULL: wire.fill_disk,
    Fault.DISK_SLOW: wire.slow_disk,
    Fault.POWER_LOST: wire.lose_power,
    Fault.JOURNAL_PUT_BACK: journal.put_back,
    Fault.JOURNAL_MOVED: journal.move,
    Fault.CLOCK_JUMPS: lambda w, c: wire.set_clock(w, c, starts_anew=True),
    Fault.CLOCK_SET: lambda w, c: wire.set_clock(w, c, starts_anew=False),
    Fault.DST_CHANGED: wire.change_dst,
    Fault.DAY_CHANGED: wire.change_day,
    Fault.SUSPENDED: wire.suspend,
    Fault.SUSPENDED_LONG: wire.suspend_for_minutes,
    Fault.TERMINAL_RESTARTED: terminal.restart_terminal,
    Fault.DISCONNECTED_OLD: lambda w, c: terminal.disconnect(w, ListAnswer.CACHED, c),
    Fault.DISCONNECTED_EMPTY: lambda w, c: terminal.disconnect(w, ListAnswer.EMPTY, c),
    Fault.DISCONNECTED_HALF: lambda w, c: terminal.disconnect(w, ListAnswer.PARTIAL, c),
    Fault.IPC_LOST: terminal.break_pipe,
    Fault.OTHER_ACCOUNT: terminal.other_account,
    Fault.SAME_LOGIN_ELSEWHERE: terminal.same_login_elsewhere,
    Fault.LATE_POSITIONS: terminal.late_positions,
    Fault.LATE_POSITIONS_UNPROVEN: terminal.late_positions_unproven,
    Fault.LATE_DEALS: terminal.late_deals,
    Fault.LATE_ORDERS: terminal.late_orders,
    Fault.COMMENT_REWRITTEN: terminal.rewrite_comments,
    Fault.COMMENT_CUT: terminal.cut_comments,
    Fault.COMMISSION_LATE: office.charge_late,
    Fault.COMMISSION_BLOCKED: office.block_commission,
    Fault.DEAL_AMENDED: office.amend_deal,
    Fault.DEAL_CANCELLED: office.cancel_deal,
    Fault.REOPENED_ANEW: office.reopen_anew,
    Fault.SPLIT: office.split,
    Fault.ROLLED: office.roll,
    Fault.MARGIN_REOPENS: lambda w, c: office.settle_margin(w, c, by_money=False),
    Fault.MARGIN_BY_MONEY: lambda w, c: office.settle_margin(w, c, by_money=True),
    Fault.HISTORY_ARCHIVED: office.archive_history,
    Fault.TRADE_MODE: terms.restrict_trading,
    Fault.FILLING_MODE: terms.change_filling,
    Fault.STEPS: terms.change_steps,
    Fault.STEPS_FINER: terms.make_steps_finer,
    Fault.SYMBOL_RENAMED: terms.rename,
    Fault.HABITS: habits.take_on,
    Fault.TRADING_OFF: terminal.switch_trading_off,
    Fault.READ_ONLY: terminal.read_only,
    Fault.CHANGED_WHILE_READ: terminal.change_while_read,
    Fault.LIST_SWAPPED: terminal.swap_behind_list,
    Fault.ALLOW_EDITED: access.edit_allow_file,
    Fault.TICKET_CHANGED: people.change_ticket,
    Fault.LOST_FILL: people.lose_fill,
    Fault.HAND_OPENS: people.opens,
    Fault.HAND_CLOSES: people.closes,
    Fault.HAND_CLOSES_PART: people.closes_part,
    Fault.HAND_MOVES_STOPS: people.moves_stops,
    Fault.HAND_CLOSES_BY: people.closes_by,
    Fault.HAND_REVERSES: people.reverses,
    Fault.HAND_PLACES: people.places,
    Fault.HAND_CANCELS: people.cancels,
    Fault.ROBOT: people.robot,
    Fault.STOPS_HIT: people.run_into_stops,
    Fault.FILLED_UNSEEN: people.fill_unseen,
    Fault.FILLED_IN_PARTS: people.fill_in_parts,
    Fault.BALANCE_MOVED: people.move_balance,
    Fault.STOP_OUT: people.stop_out,
}
KILLS: dict[Fault, CrashPoint | str] = {
    Fault.KILL_BEFORE_INTENT: CrashPoint.BEFORE_INTENT,
    Fault.KILL_AFTER_INTENT: CrashPoint.AFTER_INTENT,
    Fault.KILL_AFTER_SEND_STARTED: CrashPoint.AFTER_SEND_STARTED,
    Fault.KILL_AFTER_SEND: CrashPoint.AFTER_SEND,
    Fault.KILL_BEFORE_OUTCOME: CrashPoint.BEFORE_OUTCOME,
    Fault.KILL_AFTER_OUTCOME: CrashPoint.AFTER_OUTCOME,
    Fault.KILL_INSIDE_PLAN: CrashPoint.INSIDE_PLAN,
    Fault.KILL_BEFORE_COMMIT: "before a commit",
    Fault.KILL_AFTER_COMMIT: "after a commit",
}
DOWN_MS = (50, 700, 4_000, 15_000)


def strike(world: StruckWorld, strike: Strike) -> None:
    """Carry out a strike of the plan."""
    fault, chance = strike.fault, world.plan.chance(f"strike {strike.number}")
    try:
        text = _deed(fault)(world, chance)
    except Refusal:
        return
    if text:
        world.struck(fault, text, number=strike.number)


def _deed(fault: Fault) -> Deed:
    # Groups of faults share a function, which gets the fault as an argument.
    if fault in wire.MESSAGE_FAULTS:
        return lambda w, c: wire.on_message(w, fault, c)
    if fault in wire.DISK_FAULTS:
        return lambda w, c: wire.on_disk(w, fault, c)
    if fault in terminal.SENDS:
        return lambda w, c: terminal.on_send(w, fault, c)
    if fault in terminal.READS:
        return lambda w, c: terminal.on_list(w, fault, c)
    if fault in terminal.ROWS:
        return lambda w, c: terminal.on_row(w, fault, c)
    if fault is Fault.CALL_FAILS:
        return lambda w, c: terminal.on_call(w, fault, c)
    if fault in KILLS:
        return lambda w, c: _kill_at(w, fault, KILLS[fault], c)
    return DEEDS.get(fault) or LIFE[fault]


# Faults of the bot's process.


def _kill_at(
    world: StruckWorld, fault: Fault, where: CrashPoint | str, chance: random.Random
) -> None:
    bot = world.bot
    bot.doom = Doom(where, chance.choice(DOWN_MS), lambda: world.struck(fault, bot.name))


def _kill_anywhere(world: StruckWorld, chance: random.Random) -> None:
    """Kill the bot now, if a bot lives. The cause is recorded before the death."""
    if not world.bot.is_alive():
        return
    world.struck(Fault.KILL_ANYWHERE, world.bot.name)
    world.bot.kill(chance.choice(DOWN_MS))


def _copy(world: StruckWorld, chance: random.Random) -> None:
    """Let the bot die before it sends a recorded intent, and a copy of its journal send that."""
    bot = world.bot

    def send_it() -> None:
        try:
            order_id, text = people.send_copied(world)
        except Refusal:
            # The broker may take no order in the symbol at that moment.
            return
        if text:
            world.struck(Fault.COPY, text, order_id)

    where = CrashPoint.AFTER_INTENT
    bot.doom = Doom(where, chance.choice(DOWN_MS), lambda: None, meanwhile=send_it)


def _stop(world: StruckWorld, chance: random.Random) -> str:
    world.bot.stop(chance.choice(DOWN_MS))
    return world.bot.name


def _kill_inside_checkpoint(world: StruckWorld, chance: random.Random) -> None:
    """Let the bot die while saving its book, at the end of an orderly stop."""
    _kill_at(world, Fault.KILL_INSIDE_CHECKPOINT, CrashPoint.INSIDE_CHECKPOINT, chance)
    world.bot.stop(chance.choice(DOWN_MS))


def _sync_by_hand(world: StruckWorld, chance: random.Random) -> None:
    """Ask for a sync by hand while another sync waits for its reading, mostly at a fault.

    The bot handles the first reading after the second, although the first is older.
    """
    # A fault between the two readings makes them differ, which is the case of interest.
    bot = world.bot

    def ask() -> None:
        why = ""
        if chance.random() < 0.3:
            terminal.on_list(world, chance.choice(list(terminal.READS)), chance)
        elif chance.random() < 0.7:
            shown = chance.choice((ListAnswer.CACHED, ListAnswer.EMPTY, ListAnswer.PARTIAL))
            why = f", as the terminal loses its link {terminal.disconnect(world, shown, chance)}"
        bot.sync()
        world.struck(Fault.SYNC_BY_HAND, f"{bot.name}{why}")

    bot.meanwhile = ask


def _interrupt(world: StruckWorld, chance: random.Random) -> None:
    bot = world.bot
    bot.interrupted = lambda: world.struck(Fault.INTERRUPTED, bot.name)


def _second_bot(world: StruckWorld, chance: random.Random) -> str:
    other = world.start_another(take_over=False)
    if other is None:
        return ""
    return f"{other.name} is refused" if other.was_refused else f"{other.name} is let in"


def _take_over(world: StruckWorld, chance: random.Random) -> str:
    other = world.start_another(take_over=True)
    return other.name if other is not None else ""


LIFE: dict[Fault, Deed] = {
    Fault.KILL_ANYWHERE: _kill_anywhere,
    Fault.KILL_INSIDE_CHECKPOINT: _kill_inside_checkpoint,
    Fault.STOPPED: _stop,
    Fault.COPY: _copy,
    Fault.SECOND_BOT: _second_bot,
    Fault.TAKEN_OVER: _take_over,
    Fault.SYNC_BY_HAND: _sync_by_hand,
    Fault.INTERRUPTED: _interrupt,
}
