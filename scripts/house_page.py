"""docs/internals/house.md: the rooms of the package and the way of an order, from the code."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.desk_world import DeskLink
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.gateway.desk.desk import Desk
from trueup.journal import MemoryJournal
from trueup.runtime.bot.portfolio import PortfolioManager
from trueup.runtime.sync.reconciler import StateReconciler
from trueup.runtime.time.clock import ManualClock, SystemClock
from trueup.sim.market.symbols import AccountSetup
from trueup.sim.terminal.terminal import SimulatedTerminal

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "trueup"
HEAD = """\
# The house, drawn

<!-- Written by `make docs` from the code, by scripts/house_page.py. Change it there. -->

What belongs where is said in [architecture.md](architecture.md). This page is drawn from the
imports and from a traced order, so it shows what is there.

"""


def house_page() -> str:
    """Return the page: every floor with its rooms and arrows, and an order's way."""
    floors = _floors(_arrows())
    return HEAD + "\n".join(floors) + "\n" + "\n".join(order_way())


# The rooms.


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _arrows() -> dict[str, set[str]]:
    """Return which rooms each room imports; a room is a package, or a module beside packages."""
    modules = _modules()
    rooms = {name: _room(name, path) for name, path in modules.items()}
    found: dict[str, set[str]] = {room: set() for room in rooms.values()}
    for name, path in modules.items():
        for imported in _imports(ast.parse(path.read_text(encoding="utf-8")), set(modules)):
            if rooms[imported] != rooms[name] and name:
                found[rooms[name]].add(rooms[imported])
    return found


def _room(name: str, path: Path) -> str:
    is_package = path.name == "__init__.py"
    return name if is_package or "." not in name else name.rpartition(".")[0]


def _imports(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Yield the modules of ours that are imported at run time."""
    for node in ast.iter_child_nodes(tree):
        yield from _imports_of(node, modules)


def _imports_of(node: ast.AST, modules: set[str]) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "trueup":
        package = (node.module or "").removeprefix("trueup").removeprefix(".")
        for alias in node.names:
            full = f"{package}.{alias.name}".removeprefix(".")
            yield full if full in modules else package
    # Only statements have others, in these; an expression imports nothing.
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            yield from _imports_of(child, modules)


def _floors(arrows: dict[str, set[str]]) -> Iterator[str]:
    """Yield a drawing of the packages, and one of the rooms of each package that has some."""
    tops = sorted({room.partition(".")[0] for room in arrows if room})
    between: dict[str, set[str]] = defaultdict(set)
    for room, imported in arrows.items():
        top = room.partition(".")[0]
        between[top] |= {one.partition(".")[0] for one in imported} - {top, ""}
    packages = [top for top in tops if (PACKAGE / top).is_dir()]
    yield "## The packages\n"
    yield _drawing({top: between[top] & set(packages) for top in packages})
    for top in packages:
        rooms = {room: arrows[room] for room in arrows if room.startswith(f"{top}.")}
        if rooms:
            yield f"## The rooms of `{top}`\n"
            yield _told(rooms)
            yield _drawing(
                {
                    room.removeprefix(f"{top}."): {
                        one.removeprefix(f"{top}.") for one in imported if one.startswith(f"{top}.")
                    }
                    for room, imported in rooms.items()
                }
            )


def _told(rooms: Iterable[str]) -> str:
    """Return a table of rooms: what each is for, by its own docstring, and how many modules."""
    lines = ["| room | modules | what is in it |", "| --- | --- | --- |"]
    for room in sorted(rooms):
        folder = PACKAGE / room.replace(".", "/")
        told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        lines.append(f"| `{room}` | {count} | {(told or '').partition(chr(10))[0]} |")
    return "\n".join([*lines, ""])


def _drawing(arrows: dict[str, set[str]]) -> str:
    """Return a Mermaid drawing; an arrow goes from who imports to what is imported."""
    reached = _reached(arrows)

    def by_others(room: str, imported: str) -> set[str]:
        """What is imported by way of another room needs no arrow of its own."""
        return set().union(*(reached[other] for other in arrows[room] - {imported}))

    lines = ["```mermaid", "flowchart TD", *(f"    {room}" for room in sorted(arrows))]
    for room in sorted(arrows):
        lines += [
            f"    {room} --> {one}"
            for one in sorted(arrows[room])
            if one not in by_others(room, one)
        ]
    return "\n".join([*lines, "```", ""])


def _reached(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the rooms that each room imports, also by way of others."""
    found: dict[str, set[str]] = {}

    def of(room: str, above: tuple[str, ...]) -> set[str]:
        if room not in found:
            below = [of(one, (*above, room)) | {one} for one in arrows[room] if one not in above]
            found[room] = set().union(*below)
        return found[room]

    for room in arrows:
        of(room, ())
    return found


# The way of an order.


class _Tracer:
    """Which modules of ours a call enters in this thread, how deep, in the order of first entry."""

    def __init__(self) -> None:
        self.entered: dict[str, int] = {}
        self._path: list[str] = []

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Trace what a block calls."""
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Trace nothing of a block."""
        before = sys.getprofile()
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(before)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        file = Path(frame.f_code.co_filename)
        # Python 3.12 and later have no frame for a comprehension.
        if not file.is_relative_to(PACKAGE) or frame.f_code.co_name.endswith("comp>"):
            return
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        if event == "call":
            if not self._path or self._path[-1] != name:
                self.entered.setdefault(name, len(self._path) + 1)
            self._path.append(name)
        elif self._path:
            self._path.pop()


def order_way() -> Iterator[str]:
    """Trace `pm.submit` on the bot's side, down to the link, and yield it as a list."""
    # In a process of its own: what was called before has filled caches, and is not called again.
    traced = subprocess.run(
        [sys.executable, "-m", "scripts.house_page"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    entered: dict[str, int] = json.loads(traced)
    yield "## The way of an order\n"
    yield '`pm.submit("buy", 0.1)` with a journal, on the bot\'s side down to the link:'
    yield f"{len(entered)} modules, entered at most {max(entered.values())} calls deep. In the"
    yield "order of their first call:\n"
    yield "| module | depth |\n| --- | --- |"
    yield from (f"| `{name}` | {depth} |" for name, depth in entered.items())
    yield ""


def _traced() -> dict[str, int]:
    clock = ManualClock(SystemClock().now_ns())
    terminal = SimulatedTerminal(
        account=AccountSetup(), now_msc=lambda: clock.now_ns() // 1_000_000
    )
    terminal.initialize()
    terminal.quote("EURUSD", 1.1, 1.1001)
    tracer = _Tracer()
    desk = Desk(terminal, "drawn", clock.now_ns)

    def answer(message: bytes) -> bytes:
        """Have the desk answer, untraced: the way ends at the link, and is the same each time."""
        with tracer.looking_away():
            return desk.handle(message)

    link = DeskLink(answer)
    gateway = ExecutionGateway("127.0.0.1", 5555, 2_000, link=lambda _: link)
    with PortfolioManager("EURUSD", journal=MemoryJournal(), clock=clock) as pm:
        StateReconciler(pm, gateway, 15).startup_recovery()
        # The first order imports and asks what later ones know.
        pm.submit("buy", 0.1)
        with tracer.looking():
            pm.submit("buy", 0.1)
    return tracer.entered


if __name__ == "__main__":
    print(json.dumps(_traced()))
