"""Threads of simulated processes, of which one at a time runs, in virtual time.

A process that waits must not keep the others from going on, and each of them may go on in the
middle of what another one does. So each task is a thread. It runs until it waits. The thread that
waits carries out the next events of the world, until a task may go on, and hands over to that one:
a run depends on its seed alone.
"""

from __future__ import annotations

import contextlib
import heapq
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from trueup.lab.system.bot import Killed
from trueup.lab.system.schedule import Endless, Schedule


class Owner(Protocol):
    """The process of a task."""

    @property
    def is_frozen(self) -> bool:
        """Whether the process stands still."""


class _World:
    """The owner of the thread that runs the whole plan."""

    is_frozen = False


class TaskSchedule(Schedule):
    """A schedule whose `run` lets a task wait, and the rest of the world go on meanwhile."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.failure: BaseException | None = None
        """An error that no task caught, or Ctrl-C; it ends the run."""
        self._world = self._running = Task(self, _World(), nothing)
        # The tasks that wait, in the order in which they began to.
        self._waiting: list[Task] = []
        self._is_in_event = False
        self._is_interrupted = self._is_ending = False

    @contextlib.contextmanager
    def stopped_by_interrupts(self) -> Iterator[None]:
        """Let Ctrl-C end the run at the plan's next wait, and not where two threads hand over.

        Raises:
            KeyboardInterrupt: Ctrl-C came.
        """
        # Python gives signals to its main thread alone. A program that handles Ctrl-C in its own
        # way, or ignores it, goes on doing so.
        is_ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if not is_ours:
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        self._is_interrupted = True
        if not self._is_ending:
            self.failure = KeyboardInterrupt()

    def start(self, owner: Owner, body: Callable[[], None]) -> Task:
        """Begin a task, which runs as soon as the present one waits."""
        task = Task(self, owner, body)
        self._waiting.append(task)
        return task

    def run(self, until_ns: int, done: Callable[[], object] = bool) -> None:
        """Wait until a time, or until `done` is true; an event does not wait.

        Raises:
            Killed: the process of this task was killed.
            Endless: there were too many events.
        """
        if not self._is_in_event:
            self._running.wait(until_ns, done)

    def end(self) -> None:
        """End all tasks, and their threads; only for the thread that runs the plan."""
        # In this order: an interrupt between the two must not let the world go on before the tasks.
        self._is_ending = True
        self.failure = None
        for task in self._waiting:
            task.kill()
        # The world waits behind all of them, and for no time.
        self._world.wait_no_longer()
        self.pass_on(self._world)

    def pass_on(self, task: Task | None) -> None:
        """Carry out events until a task may go on, and hand over unless it is this one.

        Returns once this one may go on; for None, which has ended, at once.
        """
        if task is not None:
            self._waiting.append(task)
        while (following := self._next()) is None:
            self._step()
        self._waiting.remove(following)
        self._running = following
        if following is not task:
            following.wake()
            if task is not None:
                task.sleep()

    def _next(self) -> Task | None:
        """Return the first task that may go on; None if an event has to come first."""
        return next((task for task in self._waiting if task.may_go_on()), None)

    def is_world(self, task: Task) -> bool:
        """Return whether a task is the one that runs the plan."""
        return task is self._world

    def _step(self) -> None:
        self.now_ns, _, act = heapq.heappop(self._queue)
        self.count += 1
        self._is_in_event = True
        try:
            if self.count > self._most:
                raise Endless(f"More than {self._most} events.")
            act()
        except BaseException as error:  # noqa: BLE001 - not of the task that waits here
            self.failure = error
        finally:
            self._is_in_event = False


class Task:
    """A thread that runs only when it is its turn."""

    def __init__(self, schedule: TaskSchedule, owner: Owner, body: Callable[[], None]) -> None:
        self._schedule, self._owner, self._body = schedule, owner, body
        self.until_ns = schedule.now_ns
        self.done: Callable[[], object] = bool
        self.is_killed = False
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    def may_go_on(self) -> bool:
        """Return whether the wait is over."""
        schedule = self._schedule
        if self.is_killed or (schedule.failure is not None and schedule.is_world(self)):
            return True
        # Asked for every task after every event, so what is false most often comes first.
        is_over = schedule.now_ns >= self.until_ns or (self.done is not bool and self.done())
        return bool(is_over) and not self._owner.is_frozen

    def wake(self) -> None:
        """Let the thread go on, or begin."""
        if self._thread is None and not self._schedule.is_world(self):
            self._thread = threading.Thread(target=self._live, name="simulated", daemon=True)
            self._thread.start()
        else:
            self._turn.release()

    def sleep(self) -> None:
        """Wait, as the thread of this task, for `wake`."""
        self._turn.acquire()

    def kill(self) -> None:
        """End the task where it waits, before anything else happens in the world."""
        self.is_killed = True

    def wait_no_longer(self) -> None:
        """Let the task go on as soon as it is its turn, whatever it waited for."""
        self.until_ns = self._schedule.now_ns

    def wait(self, until_ns: int, done: Callable[[], object]) -> None:
        """Wait until a time, or until `done` is true; longer while the process stands still.

        Raises:
            Killed: the process was killed.
        """
        schedule = self._schedule
        self.until_ns, self.done = until_ns, done
        if not self.may_go_on():
            schedule.at(until_ns, nothing)
            schedule.pass_on(self)
        if self.is_killed:
            raise Killed("in the middle of something")
        if schedule.failure is not None and schedule.is_world(self):
            raise schedule.failure

    def _live(self) -> None:
        try:
            if not self.is_killed:
                self._body()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the thread that runs the plan raises it
            self._schedule.failure = error
        finally:
            self._schedule.pass_on(None)


def nothing() -> None:
    """Do nothing: an event at which a wait may be over."""
