"""The lines from the nodes of a fleet to its gateways: a process of TCP proxies that can be cut.

Each node has a port of its own for each gateway. A cut line is silent, as a network without a way:
nothing moves, nobody is told, and what was sent before the end of the cut arrives then. Commands
come on standard input, a line each: `cut K` and `heal K` for node K, and `held K`, which prints how
many orders wait in its cut line.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import selectors
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.many_gateways import ChildProcess

PIECE = 65_536
# Sockets that wait have no timeout of Python's, which would wait at each look as well.
SEND_SEC = 10.0
SEND_TIMEOUT = struct.pack("ll", int(SEND_SEC), 0)
ORDER = re.compile(rb'"action":"(BUY|SELL|CLOSE)"')


class Pair(NamedTuple):
    """A connection of a node, and ours to the gateway."""

    client: socket.socket
    server: socket.socket


class NodeLine:
    """The line of one node."""

    def __init__(self, poller: selectors.BaseSelector, targets: Sequence[int]) -> None:
        self._poller = poller
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
        self.ports = [one.getsockname()[1] for one in self._listeners]
        self._targets = dict(zip(self._listeners, targets, strict=True))
        self._pairs: set[Pair] = set()
        self._is_cut = True
        self.heal()

    def cut(self) -> None:
        """Let nothing move."""
        if not self._is_cut:
            self._is_cut = True
            for one in self._ends():
                self._poller.unregister(one)

    def heal(self) -> None:
        """Let everything move, also what was sent meanwhile."""
        if self._is_cut:
            self._is_cut = False
            for listener in self._listeners:
                self._poller.register(listener, selectors.EVENT_READ, (self, None))
            for pair in self._pairs:
                self._watch(pair)

    def held(self) -> int:
        """Return how many orders wait in the line."""
        return sum(len(ORDER.findall(_peeked(pair.client))) for pair in self._pairs)

    def take(self, ready: socket.socket, pair: Pair | None) -> None:
        """Move what has come."""
        if pair is None:
            self._accept(ready)
            return
        to = pair.server if ready is pair.client else pair.client
        try:
            piece = ready.recv(PIECE)
            to.sendall(piece)
        except OSError:
            piece = b""
        if not piece:
            self._end(pair)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._targets[listener]), SEND_SEC)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(client, server)
        self._pairs.add(pair)
        self._watch(pair)

    def _watch(self, pair: Pair) -> None:
        for end in pair:
            self._poller.register(end, selectors.EVENT_READ, (self, pair))

    def _end(self, pair: Pair) -> None:
        self._pairs.remove(pair)
        for end in pair:
            self._poller.unregister(end)
            end.close()

    def _ends(self) -> list[socket.socket]:
        return [*self._listeners, *(end for pair in self._pairs for end in pair)]


def _peeked(end: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return end.recv(PIECE, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""


class NodeLines(ChildProcess):
    """The process, for tests; `ports` has the ports of each node, one for each gateway."""

    def __init__(self, nodes: int, targets: Sequence[int]) -> None:
        super().__init__(Path(__file__), str(nodes), *map(str, targets))
        self.ports: list[list[int]] = json.loads(self.heard())


def main(nodes: int, targets: Sequence[int]) -> None:
    """Serve until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poller = selectors.DefaultSelector()
    lines = [NodeLine(poller, targets) for _ in range(nodes)]
    poller.register(sys.stdin, selectors.EVENT_READ)
    _say(json.dumps([line.ports for line in lines]))
    while True:
        for key, _ in poller.select():
            if key.data is None:
                command = sys.stdin.readline()
                if not command:
                    return
                _say(_obeyed(lines, *command.split()))
            # An event before it in the same look may have closed it, or cut its line.
            elif _is_watched(poller, key):
                line, pair = key.data
                line.take(key.fileobj, pair)


def _is_watched(poller: selectors.BaseSelector, key: selectors.SelectorKey) -> bool:
    return isinstance(key.fileobj, socket.socket) and poller.get_map().get(key.fd) == key


def _obeyed(lines: Sequence[NodeLine], command: str, number: str) -> str:
    found = getattr(lines[int(number)], command)()
    return "done" if found is None else str(found)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), list(map(int, sys.argv[2:])))
