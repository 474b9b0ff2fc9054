"""`python -m trueup` is the command `trueup`."""

from __future__ import annotations

from trueup.cli import app

if __name__ == "__main__":
    app(prog_name="trueup")
