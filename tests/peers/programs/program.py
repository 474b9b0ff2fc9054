"""A user's program: it uses one package, and says on each line of its output what it was told.

    python program.py PACKAGE open      one position, asked for again where that is said to fail
    python program.py PACKAGE look N    N times: look, and open a position where none is shown
    python program.py PACKAGE tour      each kind of call once, without any fault

Before each look, and before what follows from it, the program waits for a line from the harness.
Runs in the package's own environment, so it imports nothing of this project. The adapters call the
packages as their own pages show.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

ATTEMPTS = 3
PAUSE_SEC = 0.5


def say(kind: str, **facts: Any) -> None:
    """Write one line for the harness."""
    sys.stdout.write(json.dumps({"kind": kind, **facts}, default=str) + "\n")
    sys.stdout.flush()


async def ask(peer: Any, wish: int = 0) -> bool:
    """Ask the package for a position, and return whether the package says that it is open."""
    begun = time.monotonic()
    says, text = await peer.open_one(wish)
    say("told", says=says, text=str(text)[:400], seconds=round(time.monotonic() - begun, 2))
    return bool(says == "done")


async def open_(peer: Any) -> None:
    """Ask for one position, and ask again where the package says that this failed."""
    for _ in range(ATTEMPTS):
        if await ask(peer):
            break
        await asyncio.sleep(PAUSE_SEC)


async def wait() -> None:
    """Wait until the harness has prepared the next step."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    # A reading of a moment ago may be shared, and would be that of the step before.
    await asyncio.sleep(PAUSE_SEC)


async def look(peer: Any, rounds: str) -> None:
    """Look, and open a position where the package shows none; each is a new wish."""
    for wish in range(1, int(rounds) + 1):
        await wait()
        count = await peer.shown()
        say("shown", count=count)
        await wait()
        # A program cannot tell a failure from an empty list unless the package does.
        if count == 0:
            await ask(peer, wish)


async def tour(peer: Any) -> None:
    """Make each kind of call once, and say what came back."""
    for name, call in peer.tour():
        try:
            value = await call()
        except Exception as error:  # noqa: BLE001
            value = f"{type(error).__name__}: {error}"
        say("toured", name=name, value=value)


DEEDS: dict[str, Callable[..., Awaitable[None]]] = {"open": open_, "look": look, "tour": tour}


async def main(package: str, deed: str, *words: str) -> None:
    """Connect, do the deed, and disconnect."""
    adapter = importlib.import_module(f"adapters.{package.replace('-', '_')}_adapter")
    async with adapter.connected() as peer:
        say("connected")
        await DEEDS[deed](peer, *words)
    say("over")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
