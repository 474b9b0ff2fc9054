"""Start the nodes of a fleet on the machines of a Ray cluster, and start them again when they fail.

Ray only starts processes: PostgreSQL decides which node has which accounts.

    pip install ray
    ray job submit -- python ops/trueup_ray.py 3 --accounts /srv/trueup/accounts.toml

The first number is that of the nodes; the rest are options of `trueup fleet node`. The setting
TRUEUP_JOURNAL, the file of accounts, strategies and keys are on each machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import ray

PAUSE_SEC, LOOK_SEC = 2.0, 0.2
# Closing waits for replies under way, and then gives the accounts back.
END_SEC = 90.0


@ray.remote(num_cpus=1, max_retries=-1, scheduling_strategy="SPREAD")
def run_node(name: str, options: list[str]) -> None:
    """Run one node until the task is cancelled; start it again when it fails."""
    command = [sys.executable, "-m", "trueup", "fleet", "node", "--name", name, *options]
    while True:
        child = subprocess.Popen(command)
        try:
            # In short waits: a cancelled task is interrupted between two of them.
            while child.poll() is None:
                time.sleep(LOOK_SEC)
            time.sleep(PAUSE_SEC)
        finally:
            # Cancelled while the node runs: it gives its accounts back first.
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(END_SEC)
                except subprocess.TimeoutExpired:
                    # Its lease gives the accounts to the others.
                    child.kill()


def main() -> None:
    """Run the nodes until Ctrl-C or SIGTERM."""
    number_of_nodes, *options = sys.argv[1:] or [""]
    if not number_of_nodes.isdecimal():
        sys.exit("Give the number of nodes first, as in: trueup_ray.py 3 --accounts FILE")
    stop = threading.Event()
    ray.init()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    nodes = [run_node.remote(f"ray{number}", options) for number in range(int(number_of_nodes))]
    while not stop.wait(LOOK_SEC):
        pass
    for node in nodes:
        ray.cancel(node)
    ray.wait(nodes, num_returns=len(nodes), timeout=END_SEC)


if __name__ == "__main__":
    main()
