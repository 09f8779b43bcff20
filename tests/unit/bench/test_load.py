from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from bench.load import Load, Result, collected, quantile, run_load

_REQUEST = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
Answer = Callable[[int], bytes]


def _plain(number: int) -> bytes:
    body = b"answer %d" % number
    return b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def serving(answer: Answer, pieces: int = 1) -> Iterator[int]:
    """Serve on a port of the loopback: each request gets what `answer` makes of its number, in pieces."""
    ports, asked = list[int](), iter(range(10**9))
    ready, ended = threading.Event(), asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            text = answer(next(asked))
            if not text:
                break
            size = -(-len(text) // pieces)
            for start in range(0, len(text), size):
                writer.write(text[start : start + size])
                await asyncio.sleep(0)
        writer.close()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await ended.wait()

    loops = list[asyncio.AbstractEventLoop]()
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(10)


def _run(answer: Answer, load: Load | None = None, pieces: int = 1) -> Result:
    with serving(answer, pieces) as port:
        wanted = load or Load(port, [_REQUEST], connections=4, seconds=0.3, warm_up=0.1)
        return run_load(replace(wanted, port=port))


@pytest.mark.parametrize("pieces", [1, 3])
def test_good_answers_are_counted_and_timed(pieces: int) -> None:
    result = _run(_plain, pieces=pieces)
    assert result.answered > 10
    assert result.failures == {}
    assert result.per_second == pytest.approx(result.answered / result.seconds)
    assert 0 < result.p50_ms <= result.p99_ms <= result.max_ms
    assert result.cpu_us["client"] > 0


def test_an_answer_in_chunks_is_understood() -> None:
    result = _run(
        lambda _: b"HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", pieces=2
    )
    assert result.answered > 10
    assert result.failures == {}


def test_another_status_is_a_failure_and_not_an_answer() -> None:
    result = _run(lambda number: _plain(number).replace(b"201", b"503") if number % 2 else _plain(number))
    assert result.failures["503"] > 0
    assert result.answered > 0


def test_a_broken_connection_is_a_failure() -> None:
    result = _run(lambda number: b"" if number == 50 else _plain(number))
    assert result.failures == {"lost": 1}


def test_the_rate_of_an_open_loop_is_kept() -> None:
    result = _run(
        _plain, Load(0, [_REQUEST], connections=8, seconds=1.0, warm_up=0.2, rate=100.0, window=0.25)
    )
    assert 80 <= result.answered <= 120
    assert len(result.windows) in {4, 5}


def test_an_answer_that_cannot_be_verified_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    load = Load(0, [_REQUEST], connections=1, seconds=0.2, signing_requests=["no CSR"])
    with pytest.raises(CalledProcessError):
        _run(_plain, load)
    assert "no certificate in" in capfd.readouterr().err


def test_collecting_sends_each_request_once_and_keeps_the_order(tmp_path: Path) -> None:
    file = tmp_path / "answers"
    requests = [_REQUEST.replace("POST /", f"POST /{number}") for number in range(25)]
    _run(_plain, Load(0, requests, connections=3, seconds=0, collect=str(file)))
    assert sorted(collected(file)) == sorted(b"answer %d" % number for number in range(25))


def test_a_quantile_is_the_value_that_the_share_does_not_exceed() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
