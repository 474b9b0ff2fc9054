"""The commands of a second shell to a process with many accounts.

Each account has a state file of its own, with the one port of the process, so every command finds
it as it finds any bot. A thread takes the commands: a command waits for its account alone, and no
account waits for a command.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from trueup.core.dates import iso
from trueup.doors.accounts.accounts_loop import AccountsLoop
from trueup.doors.accounts.machine import ATTENDED_NS, AccountMachine, State
from trueup.doors.accounts.process_control import ProcessCommand, ProcessControl
from trueup.errors import SettingsError, TrueupError
from trueup.journal.backends.location import database_at, is_file
from trueup.logs import about_account
from trueup.observe.status.facts import BotFacts
from trueup.runtime.control.bots import Bot, state_file
from trueup.runtime.control.commands.bot_commands import BotCommands
from trueup.runtime.control.listener import noted
from trueup.runtime.time.clock import Clock

# A command waits so long for its account, which may wait for the broker's reply to an order.
TURN_SEC = 3.0
# The times in the state files are at most this old; a thousand files are written in that time.
REFRESH_NS = 30_000_000_000


class AccountsControl(ProcessControl):
    """Takes the commands of a second shell, in a thread.

    Args:
        loop: the accounts.
        clock: the source of time.
        reread: reads the file of the accounts again; takes who asks for it, and why.

    Raises:
        TrueupError: no loopback port is free, or the state folder cannot be written.
    """

    def __init__(
        self, loop: AccountsLoop, clock: Clock, reread: Callable[[str, str], None]
    ) -> None:
        super().__init__(clock)
        self._loop, self._clock, self._reread = loop, clock, reread
        self._commands: dict[AccountMachine, BotCommands] = {}
        self._bots: dict[AccountMachine, Bot] = {}
        self._refresh_ns = clock.age_ns() + REFRESH_NS
        self.start()

    def prepare(self, machine: AccountMachine) -> None:
        """Let a second shell reach an account from its opening to its end."""
        machine.on_open, machine.on_close = self._opened, self._closed

    # Called by the account's own thread.

    def _opened(self, machine: AccountMachine) -> None:
        facts, control = self._facts(machine), self._server.endpoint
        bot = noted(machine.running.loop, facts, control, machine.name)
        self._bots[machine] = bot
        # Without the file the account is not found, but it trades as well.
        with contextlib.suppress(OSError, SettingsError):
            state_file(self._pid, machine.name).write(self._present(machine, bot))

    def _closed(self, machine: AccountMachine) -> None:
        self._bots.pop(machine, None)
        commands = self._commands.pop(machine, None)
        if commands is not None:
            commands.close()
        with contextlib.suppress(OSError, SettingsError):
            state_file(self._pid, machine.name).remove(self._pid)

    def _facts(self, machine: AccountMachine) -> BotFacts:
        opened = machine.running
        place, url = opened.place, opened.gateway.url
        return BotFacts(
            pid=self._pid,
            started=self._started,
            gateway=f"at {url}",
            endpoint=url,
            journal=database_at(place).name if place else "",
            journal_file=os.path.abspath(place) if place and is_file(place) else "",
            stream=opened.account.manager.stream if place else "",
        )

    def _present(self, machine: AccountMachine, bot: Bot) -> Bot:
        pm = machine.running.loop.pm
        asked = None if pm.as_of_ns is None else iso(pm.as_of_ns)
        return msgspec.structs.replace(bot, alive=iso(self._clock.now_ns()), asked=asked)

    # The thread of the commands.

    def look(self) -> None:
        """Write the times into the state files, where they are old."""
        if self._clock.age_ns() >= self._refresh_ns:
            self._refresh_ns = self._clock.age_ns() + REFRESH_NS
            self._refresh()

    def _refresh(self) -> None:
        for machine, bot in list(self._bots.items()):
            # An account that is closed just now loses its file; it must not come back.
            if machine.lock.acquire(blocking=False):
                try:
                    if machine in self._bots:
                        with contextlib.suppress(OSError, SettingsError):
                            state = self._present(machine, bot)
                            state_file(self._pid, machine.name).refresh(state)
                finally:
                    machine.lock.release()

    def answer(self, command: ProcessCommand, raw: bytes) -> dict[str, Any] | bytes:
        """Carry out a command to the process, or to one of its accounts.

        Raises:
            TrueupError: the command is refused, with this text.
        """
        if command.account:
            return self._of_account(command.account, raw)
        return self._of_process(command)

    def _of_account(self, name: str, raw: bytes) -> bytes:
        machine = self._loop.machines.get(name)
        if machine is None:
            raise TrueupError(f"This process has no account {name}.")
        if not machine.lock.acquire(timeout=TURN_SEC):
            raise TrueupError(
                f"{name} waits for its gateway or its broker just now: give the command again."
            )
        try:
            if machine.state is not State.RUNNING or machine.opened is None:
                raise TrueupError(f"{name} does not run: {machine.trouble or 'it is opened'}")
            commands = self._commands_of(machine)
            with about_account(name):
                answer = commands.handle(raw)
            machine.attend = commands.turn
            machine.attended_until_ns = self._clock.age_ns() + ATTENDED_NS
        finally:
            machine.lock.release()
        self._loop.step_soon(machine)
        return answer

    def _commands_of(self, machine: AccountMachine) -> BotCommands:
        """Return the commands of an account; they are made at the first command."""
        if machine not in self._commands:
            opened = machine.running
            # A connection of its own: a command must not wait behind the account's requests.
            second = opened.gateway.another()
            self._commands[machine] = BotCommands(opened.loop, second, self._facts(machine))
        return self._commands[machine]

    def _of_process(self, command: ProcessCommand) -> dict[str, Any]:
        if command.command == "hello":
            return {"pid": self._pid, "accounts": len(self._loop.machines)}
        if command.command == "accounts":
            machines = list(self._loop.machines.values())
            return self.told(self._loop.late, [_row(one) for one in machines])
        if command.command == "reread":
            self._reread(command.who, command.why)
            return {}
        if command.command == "stop":
            self._loop.call_soon(partial(self._loop.drop_all, command.who, command.why))
            return {"journalled": True, "trouble": "", "positions": [], "pending": 0}
        raise TrueupError(
            f"{len(self._loop.machines)} accounts run in process {self._pid}: name one of them "
            "with --account NAME; `trueup accounts` lists them."
        )


def _row(machine: AccountMachine) -> dict[str, Any]:
    """Return an account as plain values; without its turn, so that a busy one delays nothing."""
    opened = machine.opened
    is_running = machine.state is State.RUNNING and opened is not None
    row: dict[str, Any] = {
        "name": machine.name,
        "state": machine.state.value,
        "trouble": "" if is_running else machine.trouble,
        "account": "",
        "paused": "",
        "positions": 0,
        "syncs": machine.late.count,
        "late_ms": round(machine.late.within_ms(0.99), 1),
    }
    if opened is not None:
        manager = opened.account.manager
        unknown = opened.loop.reconciler.unknown
        row |= {
            "account": opened.account.name,
            "paused": "" if manager.paused is None else manager.paused.by,
            "positions": len(manager.book.holdings),
            "trouble": row["trouble"] or ("" if unknown is None else unknown.sentence),
        }
    return row
