"""`RemoteTerminal`: call the official module's reading functions through a gateway.

Bars, ticks, symbols, lists and calculations are returned as on the terminal's own machine. Bars and
ticks are read in pages, so that no order waits behind a whole download, and neither the gateway nor
a message holds more than a page.
"""

from __future__ import annotations

from typing import Any

from trueup.errors import NotSent, OutcomeUnknown, Refused, RemoteProtocolError, TrueupError
from trueup.gateway.client.link import Link, exchange
from trueup.gateway.client.price_pages import (
    Paging,
    are_numbers,
    bars_back,
    bars_between,
    ticks_between,
    ticks_on,
)
from trueup.gateway.terminal import mt5_constants as mt5
from trueup.gateway.terminal.call_wire import (
    SUCCESS,
    Answer,
    Call,
    Error,
    failed,
    plain_call,
    value_of,
)
from trueup.gateway.terminal.forwarding import ForwardingTerminal
from trueup.protocol import guide
from trueup.protocol.module_calls import (
    CAPABILITY,
    FORWARDED,
    CallRequest,
    decode_call_reply,
    encode_call_request,
)
from trueup.protocol.text import read_json
from trueup.turns import Turn

_OF_THE_GATEWAY = "The terminal is the gateway's own, and is logged in already."
_NOT_FORWARDED = {
    "initialize": _OF_THE_GATEWAY,
    "login": _OF_THE_GATEWAY,
    "order_send": "An order goes out with PortfolioManager.submit, which sends it at most once.",
}


class RemoteTerminal(ForwardingTerminal):
    """The terminal behind a gateway, for all functions that change no account.

    The functions have the arguments, return values and `last_error()` of the official module. A
    call that did not reach the terminal returns the module's value for a failed call, and
    `last_error()` has the reason.

    Thread-safe: one call is made at a time. As in the module, `last_error()` describes the latest
    call of any thread.

    Args:
        link: a connection to the gateway for this object alone.
        name: the gateway's name in error texts.
        timeout_ms: how long to wait for a connection, and for each reply.

    Raises:
        Refused: `order_send`, `initialize` or `login` is called.
        ImportError: bars or ticks are read, and numpy is not installed.
    """

    def __init__(self, link: Link, name: str, timeout_ms: int) -> None:
        self._link, self._name, self._timeout_ms = link, name, timeout_ms
        self._turn = Turn()
        self._error: Error = SUCCESS
        self._id = 0
        self._serves_calls = False

    def last_error(self) -> Error:
        """Code and text of the latest call."""
        return self._error

    def shutdown(self, *args: Any, **kwargs: Any) -> bool:
        """Close the connection; the next call opens it again. The terminal is not touched."""
        with self._turn:
            self._link.close()
            self._serves_calls, self._error = False, SUCCESS
        return True

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        if function not in FORWARDED:
            raise Refused(f"{function}: {_NOT_FORWARDED[function]}")
        with self._turn:
            return self._forwarded(function, *args, **kwargs)

    def _forwarded(self, function: str, *args: Any, **kwargs: Any) -> Any:
        call = plain_call(Call(function, args, kwargs))
        try:
            answer = self._asked(call)
            self._error = answer.error
            return value_of(answer)
        except (NotSent, OutcomeUnknown, RemoteProtocolError) as error:
            self._error = _error_of(error)
            return failed(function)

    def _asked(self, call: Call) -> Answer:
        if not self._serves_calls:
            self._require_calls()
        self._id += 1
        request = CallRequest(self._id, call.function, call.args, call.kwargs)
        reply = decode_call_reply(self._exchanged(encode_call_request(request)), self._id)
        return Answer(reply.error, reply.shape, reply.value, reply.name, reply.fields)

    def _require_calls(self) -> None:
        """Ask on the guide's wire whether CALL is served; a gateway may not know a CALL itself."""
        try:
            reply = read_json(self._exchanged(guide.GET_POSITIONS))
        except (ValueError, RecursionError):
            reply = None
        if CAPABILITY not in guide.capabilities_of(reply):
            raise RemoteProtocolError(
                f"{self._name} does not serve {CAPABILITY}: it takes a `trueup gateway` of this "
                "version or a later one"
            )
        self._serves_calls = True

    def _exchanged(self, message: bytes) -> bytes:
        return exchange(self._link, message, self._timeout_ms, self._name)

    # Bars and ticks, page by page.

    def copy_rates_from(self, *args: Any, **kwargs: Any) -> Any:
        """Bars up to a date."""
        return self._paged(bars_back, "copy_rates_from", args, kwargs)

    def copy_rates_from_pos(self, *args: Any, **kwargs: Any) -> Any:
        """Bars up to a position, counted back from the current bar."""
        return self._paged(bars_back, "copy_rates_from_pos", args, kwargs)

    def copy_rates_range(self, *args: Any, **kwargs: Any) -> Any:
        """Bars between two dates."""
        return self._paged(bars_between, "copy_rates_range", args, kwargs)

    def copy_ticks_from(self, *args: Any, **kwargs: Any) -> Any:
        """Ticks from a date on."""
        return self._paged(ticks_on, "copy_ticks_from", args, kwargs)

    def copy_ticks_range(self, *args: Any, **kwargs: Any) -> Any:
        """Ticks between two dates."""
        return self._paged(ticks_between, "copy_ticks_range", args, kwargs)

    def _paged(
        self, pages: Paging, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with self._turn:
            plain = plain_call(Call(function, args, kwargs)).args
            # Pass on any other arguments unchanged: the terminal refuses them with its own error.
            if kwargs or not are_numbers(plain):
                return self._forwarded(function, *args, **kwargs)
            try:
                return pages(self._forwarded, function, plain)
            except RemoteProtocolError as error:
                self._error = _error_of(error)
                return failed(function)


def _error_of(error: TrueupError) -> Error:
    found = (code for kind, code in _CODES.items() if isinstance(error, kind))
    code = next(found, mt5.RES_E_INTERNAL_FAIL)
    return code, f"{mt5.LAST_ERROR_TEXTS[code]}: {error}"


_CODES: dict[type[TrueupError], int] = {
    NotSent: mt5.RES_E_INTERNAL_FAIL_CONNECT,
    OutcomeUnknown: mt5.RES_E_INTERNAL_FAIL_TIMEOUT,
}
