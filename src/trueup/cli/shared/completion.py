"""`trueup completion`: print the script by which a shell completes commands and options.

The script calls `trueup` at each Tab with two variables of typer in the environment, and gets the
words that fit. So the words are always those of the installed release.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer

# typer has no public names for these two; its own options --show-completion are made of them.
from typer._completion_classes import completion_init
from typer._completion_shared import get_completion_script

from trueup.cli.shared.say import say

VARIABLE = "_TRUEUP_COMPLETE"


class Shell(StrEnum):
    """A shell that can ask a program for completions."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


class Word(NamedTuple):
    """A word that fits, as the shells' scripts of typer read an item of click."""

    value: str
    help: str
    type: str = "plain"


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that you use.")],
) -> None:
    """Print a script that completes commands and options.

    bash: eval "$(trueup completion bash)" in ~/.bashrc. zsh: the same with zsh in ~/.zshrc, after
    compinit. fish: trueup completion fish > ~/.config/fish/completions/trueup.fish. PowerShell:
    trueup completion powershell >> $PROFILE.
    """
    say(get_completion_script(prog_name="trueup", complete_var=VARIABLE, shell=shell.value))


def get_ready_for_a_shell() -> None:
    """Make typer know the shells, if a shell's script has started this process."""
    if VARIABLE in os.environ:
        completion_init()
