"""What a stranger sends to the page: guesses, forms, paths, floods, and nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.page.inside import ANNA, RITA
from trueup.doors.page import app, patience, visit
from trueup.doors.page.app import COOKIE, Page
from trueup.doors.page.later import ACTING, PAST, Screens
from trueup.doors.page.patience import Patient
from trueup.doors.page.people import People, form_key, new_cookie
from trueup.doors.page.samples import Samples
from trueup.doors.page.streams import MOST, Stream, Streams
from trueup.doors.watch import Place, Watch

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Told(NamedTuple):
    """The answer of the application."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """The application of an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "WRONG_TOKEN_SEC", 0.0)
    place = Place("none.db")
    watch = Watch(place)
    return Page(watch, People([ANNA, RITA])).application(Screens(place, Samples(), watch).by_path)


async def ask(
    page: Starlette, method: str, path: str, query: str = "", cookie: str = "", body: bytes = b""
) -> Told:
    """Ask the application as a server does."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path, errors="replace"),
        "query_string": query.encode(),
        "headers": [(b"cookie", f"{COOKIE}={cookie}".encode())],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await page(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Told(sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent))


PATHS = [
    *("/", "/books", "/live", *(path.removeprefix("POST ") for path in (*PAST, *ACTING))),
    *("/static/../page.tokens", "/static/%2e%2e%2fpage.tokens", "/static/..", "//etc/passwd"),
    *("/orders/%2e%2e", "/orders/..%2f..%2fpage.tokens", "/%00", "/act/approve/x", "/\u00ff", ""),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "DELETE", "X"])
def test_a_stranger_gets_nothing_by_any_path_and_method(
    page: Starlette, path: str, method: str
) -> None:
    for cookie in ("", "anna", "anna..", f"anna.x.{'0' * 64}"):
        response = asyncio.run(ask(page, method, path, "again=1&book=../../x", cookie, b"key=0"))
        assert response.status in (401, 404, 405), response.body
        assert b"anna" not in response.body
        assert b"Nothing is yours" not in response.body
        assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", [path.removeprefix("POST ") for path in ACTING])
def test_a_form_of_another_site_or_browser_does_nothing(page: Starlette, path: str) -> None:
    path = path.replace("{name}", "pause").replace("{number}", "1")
    mine, other = new_cookie(ANNA), new_cookie(ANNA)
    for key in ("", "0" * 64, form_key(ANNA, other), form_key(RITA, mine)):
        body = f"key={key}&why=x".encode()
        response = asyncio.run(ask(page, "POST", path, "", mine, body))
        assert response.status == (403 if path == "/act/pause" else 405), response.body


def test_guesses_are_slowed_and_no_more_than_some_are_compared_at_once(
    page: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    by_token = People.by_token

    def counted(people: People, token: str):  # type: ignore[no-untyped-def]
        compared.append(token)
        return by_token(people, token)

    monkeypatch.setattr(People, "by_token", counted)
    monkeypatch.setattr(app, "WRONG_TOKEN_SEC", 0.05)

    async def guess() -> list[int]:
        made = [ask(page, "POST", "/sign-in", body=b"token=%d" % n) for n in range(200)]
        answers = [response.status for response in await asyncio.gather(*made)]
        # Who has a cookie is answered meanwhile, and a right token again afterwards.
        right = b"token=" + ANNA.token.encode()
        answers.append((await ask(page, "POST", "/sign-in", body=right)).status)
        return answers

    answers = asyncio.run(guess())
    assert (answers.count(401), answers.count(429), answers[-1]) == (10, 190, 200)
    assert len(compared) == 11


def test_all_streams_together_are_bounded_and_the_oldest_make_room() -> None:
    async def opened() -> tuple[list[bool], int]:
        streams = Streams(Watch(Place("none.db")))
        async with contextlib.AsyncExitStack() as stack:
            # Many browsers, each with few tabs.
            made = [
                await stack.enter_async_context(streams.of(f"browser-{n // 2}"))
                for n in range(MOST + 5)
            ]
            rest = [one.must_rest for one in made]
        return rest, streams.count

    rest, left = asyncio.run(opened())
    assert rest == [True] * 5 + [False] * MOST
    assert left == 0


def test_streams_end_with_the_page_also_those_that_are_opened_while_it_ends() -> None:
    async def ended() -> list[tuple[bool, bool]]:
        watch = Watch(Place("none.db"))
        streams = Streams(watch)
        async with streams.of("early") as early:
            streams.end()
            # It is woken at once, and not at its next beat.
            await early.next_seen(60)
            async with streams.of("late") as late:
                return [(one.is_over, one.must_rest) for one in (early, late)]

    assert asyncio.run(ended()) == [(True, False), (True, False)]


def test_a_watch_that_tells_a_stream_while_the_page_ends_goes_on() -> None:
    async def opened() -> Stream:
        async with Streams(Watch(Place("none.db"))).of("browser") as stream:
            return stream

    asyncio.run(opened()).wake()


Answer = Callable[[Request], Awaitable[Response]]


@contextlib.asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[int]:
    """A server with the page's connections, on a real socket."""
    routes = [Route("/{path:path}", answer, methods=["GET", "POST"])]
    config = uvicorn.Config(
        Starlette(routes=routes, exception_handlers=app.REFUSALS),
        http=Patient,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        limit_concurrency=patience.MOST_CONNECTIONS + 1,
        h11_max_incomplete_event_size=patience.MOST_HEAD_BYTES,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def hello(request: Request) -> Response:
    size = len(str(await visit.form_of(request))) if request.method == "POST" else 0
    return PlainTextResponse(f"{request.method} {request.url.path} {size}")


async def said(port: int, *raw: bytes) -> bytes:
    """Send bytes, and return all that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    # A server that has refused a request may hang up before its end is sent.
    with contextlib.suppress(ConnectionError):
        for part in raw:
            writer.write(part)
        while part := await reader.read(65_536):
            got += part
    writer.close()
    return got


LAST = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (GET + LAST, b"GET /last 0"),
        (b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"content-length: 8\r\n"),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / 0"),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\n"
            b"content-length: 3\r\n\r\na=b",
            b"POST / 10",
        ),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            b"3\r\na=b\r\n0\r\n\r\n",
            b"POST / 10",
        ),
        (b"no http at all\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 400_000, b"HTTP/1.1 400 "),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000,
            b"HTTP/1.1 413 ",
        ),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9" + b"9" * 30 + b"\r\n\r\n", b""),
    ],
)
def test_any_bytes_get_an_answer_and_the_server_goes_on(
    raw: bytes, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LOOK_SEC", 1.0)

    async def check() -> tuple[bytes, bytes]:
        async with served(hello) as port:
            return await said(port, raw), await said(port, LAST)

    got, after = asyncio.run(check())
    assert answer in got, got
    assert after.endswith(b"GET /last 0")


def test_who_sends_a_request_slowly_or_not_at_all_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "LOOK_SEC", 0.1)
    monkeypatch.setattr(visit, "FORM_SEC", 0.2)

    async def check() -> list[bytes]:
        async with served(hello) as port:
            return list(
                await asyncio.gather(
                    said(port, b""),
                    said(port, GET[:5]),
                    said(port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\na"),
                    # A connection that is kept after an answer has no more time than a new one.
                    said(port, GET),
                )
            )

    got = asyncio.run(asyncio.wait_for(check(), 60))
    assert got[:2] == [b"", b""]
    assert b"HTTP/1.1 408 " in got[2]
    assert got[3].endswith(b"GET / 0")


def test_silent_connections_make_room_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 5)

    async def check() -> tuple[list[bytes], bytes]:
        async with served(hello) as port, contextlib.AsyncExitStack() as stack:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in silent:
                stack.callback(writer.close)
            ended = [await reader.read() for reader, _ in silent[:15]]
            return ended, await said(port, LAST)

    ended, answer = asyncio.run(asyncio.wait_for(check(), 60))
    assert ended == [b""] * 15
    assert answer.endswith(b"GET /last 0")


def test_who_reads_nothing_of_a_stream_is_hung_up_on_and_costs_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "LOOK_SEC", 0.1)
    sent, ended = [0], asyncio.Event()

    async def flood() -> AsyncGenerator[str, None]:
        try:
            while True:
                sent[0] += 1
                yield "x" * 100_000
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def answer(request: Request) -> Response:
        return StreamingResponse(flood())

    async def check() -> None:
        async with served(answer) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
            writer.write(GET)
            await ended.wait()
            writer.close()

    asyncio.run(asyncio.wait_for(check(), 60))
    # What the kernel takes for the socket, and no more.
    assert sent[0] < 200


def test_a_stream_whose_reader_is_gone_ends() -> None:
    ended = asyncio.Event()

    async def beats() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "beat"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def answer(request: Request) -> Response:
        return StreamingResponse(beats())

    async def check() -> None:
        async with served(answer) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await reader.readuntil(b"beat")
            writer.close()
            await ended.wait()

    asyncio.run(asyncio.wait_for(check(), 60))
