"""Decorator that gives a method the error handling of a function of the official module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from trueup.gateway.terminal import mt5_constants as mt5
from trueup.sim.terminal.arguments import BadArgument, Unrepresentable
from trueup.sim.terminal.program import SUCCESS, CallFailed, TerminalProgram

_Program = TypeVar("_Program", bound=TerminalProgram)
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Failed = TypeVar("_Failed")


def module_call(
    failed: _Failed,
) -> Callable[
    [Callable[Concatenate[_Program, _Arguments], _Answer]],
    Callable[Concatenate[_Program, _Arguments], _Answer | _Failed],
]:
    """Make a method a module function: a failure returns `failed` and sets `last_error()`."""

    def of(
        answer: Callable[Concatenate[_Program, _Arguments], _Answer],
    ) -> Callable[Concatenate[_Program, _Arguments], _Answer | _Failed]:
        @functools.wraps(answer)
        def called(
            self: _Program, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
        ) -> _Answer | _Failed:
            # Every call replaces the error of the last call, also after a success.
            self.error = SUCCESS
            try:
                return answer(self, *args, **kwargs)
            except BadArgument as bad:
                self.error = (mt5.RES_E_INVALID_PARAMS, bad.text)
            except CallFailed as failure:
                self.error = failure.error
            except Unrepresentable as bad:
                # The module itself raises here, so the caller gets the exception.
                if bad.text is not None:
                    self.error = (mt5.RES_E_INVALID_PARAMS, bad.text)
                raise
            return failed

        return called

    return of
