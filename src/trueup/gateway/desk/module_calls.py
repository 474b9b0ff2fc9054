"""Answer CALL: call a function of the module that changes no account, for a client."""

from __future__ import annotations

from trueup.gateway.terminal.call_wire import Call, answer_of
from trueup.gateway.terminal.terminal import Terminal
from trueup.protocol.module_calls import ROWS_MOST, CallReply, CallRequest
from trueup.protocol.requests import ErrorReply


def make_call(terminal: Terminal, request: CallRequest) -> CallReply | ErrorReply:
    """Make a call that `decode_request` has checked; FAILED if the answer has too many rows."""
    answer = answer_of(terminal, Call(request.function, request.args, request.named))
    rows = _rows_of(answer.content, answer.shape, answer.fields)
    if rows > ROWS_MOST:
        # Do not cut the list: the client would take the part for the whole.
        return ErrorReply(
            "FAILED",
            f"{request.function} has {rows} rows, and a reply at most {ROWS_MOST}: ask for a "
            "shorter span, or for a number of rows",
        )
    return CallReply(
        request.id, answer.error, answer.shape, answer.content, answer.name, answer.fields
    )


def _rows_of(content: object, shape: str, fields: tuple[str, ...]) -> int:
    if shape == "array" and isinstance(content, bytes):
        return len(content) // sum(int(field[-1]) for field in fields)
    return len(content) if shape == "rows" and isinstance(content, list) else 0
