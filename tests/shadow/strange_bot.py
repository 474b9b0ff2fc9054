"""A bot that has never heard of trueup: it speaks JSON over ZeroMQ, and keeps only its own memory.

    python strange_bot.py tcp://127.0.0.1:PORT

Each line of its input is an order: `buy LOTS SL`. Each line of its output is the ticket.
"""

from __future__ import annotations

import json
import sys

import zmq


def main() -> None:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
    socket.connect(sys.argv[1])
    for number, line in enumerate(sys.stdin):
        side, lots, sl = line.split()
        order = {
            "order_id": f"strange-{number}",
            "symbol": "EURUSD",
            "action": side.upper(),
            "volume": float(lots),
            "price": 0.0,
            "sl": float(sl),
            "tp": 0.0,
            "magic": 7,
        }
        socket.send_string(json.dumps(order))
        answer = json.loads(socket.recv_string())
        sys.stdout.write(f"{answer['ticket']}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
