"""Servers that answer guests' requests badly, slowly, or without end."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_world import Seen, World

from husk.sandbox._http import HttpAnswer, HttpError, HttpFailed, HttpGate, HttpLimits, HttpRefused

URL = "http://a.example/"
OK = b"HTTP/1.1 200 OK\r\n"


def ask(world: World, scheme: str = "http", **request: Any) -> HttpAnswer:
    limits = {key: request.pop(key) for key in list(request) if key in HttpLimits.__slots__}
    gate = HttpGate(HttpLimits(**{"seconds": 10, **limits}), ca_file=world.ca_file)
    gate.allow(f"{scheme}://a.example")
    return world.run(gate.request, {"url": f"{scheme}://a.example/", **request})


def ends(world: World, kind: type[HttpError], rule: str, words: str, **more: Any) -> None:
    with pytest.raises(kind) as caught:
        ask(world, **more)
    assert caught.value.rule == rule, caught.value
    assert words in caught.value.message
    assert str(caught.value).isprintable()


def chunked(data: bytes) -> bytes:
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + data


def sized(body: bytes, more: bytes = b"") -> bytes:
    return OK + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def endless(parts: Iterator[bytes], pause: float = 0) -> Callable[[socket.socket, Seen], None]:
    """Sends until the gate has had enough."""

    def talk(sock: socket.socket, _: Seen) -> None:
        with contextlib.suppress(OSError):
            for part in parts:
                sock.sendall(part)
                if pause:
                    time.sleep(pause)

    return talk


# ---- What is no HTTP ----


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"hello\n",
        b"<html>hello</html>",
        b"\0\0\0\0\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes",
        OK + b"NoColon\r\n\r\n",
        OK + b": empty\r\n\r\n",
        OK + b" folded: first\r\n\r\n",
        OK + b"X: folded\r\n line\r\n\r\n",
        OK + b"Space : a\r\n\r\n",
        OK + b"Nul: a\0b\r\n\r\n",
        OK + b"Return: a\rb\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: 0x5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5, 6\r\n\r\nhello",
        OK + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 6\r\n\r\nhello",
        chunked(b"zz\r\n"),
        chunked(b"-1\r\n"),
        chunked(b"0x5\r\nhello\r\n0\r\n\r\n"),
        chunked(b"5\r\nhelloxx0\r\n\r\n"),
        chunked(b"5\r\nhello\r\n"),
        chunked(b"5\r\nhel"),
        chunked(b"fffffffffffffffffffff\r\nhello"),
        chunked(b"0\r\nno trailer\r\n\r\n"),
        chunked(b"0\r\n"),
    ],
)
def test_what_is_no_http(world: World, page: bytes) -> None:
    world.pages["/"] = page
    ends(world, HttpFailed, "protocol", "")


@pytest.mark.parametrize(
    ("page", "body"),
    [
        (OK + b"\r\nto the end", b"to the end"),
        (b"HTTP/1.0 200\r\n\r\nto the end", b"to the end"),
        (OK + b"Content-Length: 3\r\n\r\nhello HTTP/1.1 200 OK\r\n\r\n", b"hel"),
        (OK + b"Content-Length: 3, 3\r\n\r\nhel", b"hel"),
        (chunked(b"5;ext=1\r\nhello\r\n0\r\nTrailer: a\r\n\r\n") + b"more", b"hello"),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n" + sized(b"hi"), b"hi"),
        (b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello", b""),
        (b"HTTP/1.1 200 OK\nX: a\n\nlines of Unix", b"lines of Unix"),
    ],
)
def test_what_is_odd_but_good(world: World, page: bytes, body: bytes) -> None:
    world.pages["/"] = page
    assert ask(world)["body"] == body


# ---- Too much ----


def test_endless_heads(world: World) -> None:
    for parts in (
        itertools.chain([OK], itertools.repeat(b"X: a\r\n" * 100)),
        itertools.chain([OK, b"X: "], itertools.repeat(b"a" * 1000)),
        itertools.repeat(b"H" * 1000),
        itertools.chain(
            [OK, b"Transfer-Encoding: chunked\r\n\r\n5;"], itertools.repeat(b"x" * 999)
        ),
        itertools.chain([chunked(b"0\r\n")], itertools.repeat(b"X: a\r\n" * 100)),
    ):
        world.pages["/"] = endless(parts)
        with pytest.raises(HttpError) as caught:
            ask(world)
        assert caught.value.rule in ("head size", "protocol")
    world.pages["/"] = OK + b"X: a\r\n" * 129 + b"\r\n"
    ends(world, HttpRefused, "head size", "more than 128 headers")


def test_endless_interim_answers(world: World) -> None:
    world.pages["/"] = endless(itertools.repeat(b"HTTP/1.1 100 Go on\r\n\r\n"))
    ends(world, HttpRefused, "head size", "more than 16 answers 1xx")


def test_endless_bodies(world: World) -> None:
    part = b"a" * 16384
    heads_and_parts = [
        (OK + b"\r\n", part),
        (chunked(b""), b"4000\r\n" + part + b"\r\n"),
        (OK + b"Content-Length: 99999999999\r\n\r\n", part),
    ]
    for head, rest in heads_and_parts:
        for scheme in ("http", "https"):
            world.pages["/"] = endless(itertools.chain([head], itertools.repeat(rest)))
            words = "larger than 100000"
            ends(world, HttpRefused, "body size", words, scheme=scheme, body_max=100_000)
    assert ask_exactly(world, 100_000)["body"] == b"a" * 100_000


def ask_exactly(world: World, count: int) -> HttpAnswer:
    world.pages["/"] = sized(b"a" * count)
    return ask(world, body_max=count)


def test_what_only_the_wire_has(world: World) -> None:
    """Chunks of one byte, and compressed emptiness: small contents, endless bytes."""
    squeezer = zlib.compressobj(wbits=31)
    head = squeezer.compress(b"") + squeezer.flush(zlib.Z_FULL_FLUSH)
    nothing = squeezer.flush(zlib.Z_FULL_FLUSH) or b"\0\0\0\xff\xff"
    gzipped = OK + b"Content-Encoding: gzip\r\n\r\n" + head
    pages = [
        itertools.chain(
            [chunked(b"")], itertools.repeat(b"1;xxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n" * 100)
        ),
        itertools.chain([gzipped], itertools.repeat(nothing * 1000)),
    ]
    for page in pages:
        world.pages["/"] = endless(page)
        ends(world, HttpRefused, "wire size", "more than 50000", wire_max=50_000)


@pytest.mark.parametrize(
    "page",
    [
        OK + b"X:" + b" " * 60_000 + b"\0\r\n\r\n",
        OK + b"X: a\r\n" + b" \r\n" * 20_000 + b"\0\r\n\r\n",
        chunked(b"1;" + b" " * 60_000 + b"\nx\r\n"),
        chunked(b"0\r\nX:" + b" " * 60_000 + b"\0\r\n\r\n"),
        OK + b"X: " + b"\t " * 30_000 + b"\r\n\r\n",
    ],
)
def test_lines_that_are_slow_to_refuse(world: World, page: bytes) -> None:
    for data in (page, [page[i : i + 999] for i in range(0, len(page), 999)]):
        world.pages["/"] = data if isinstance(data, bytes) else endless(iter(data))
        begin = time.process_time()
        with pytest.raises(HttpError) as caught:
            ask(world)
        assert caught.value.rule in ("protocol", "head size")
        assert time.process_time() - begin < 1.5


# ---- Compression ----


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", gzip.compress(b"hello")),
        (b"X-GZIP", gzip.compress(b"hello")),
        (b"gzip", gzip.compress(b"he") + gzip.compress(b"") + gzip.compress(b"llo")),
        (b"deflate", zlib.compress(b"hello")),
        (b"deflate", zlib.compress(b"hello")[2:-4]),
        (b"identity", b"hello"),
    ],
)
def test_codings(world: World, coding: bytes, packed: bytes) -> None:
    page = sized(packed, b"Content-Encoding: %s\r\n" % coding)
    # Also a byte at a time.
    for data in (page, [page[i : i + 1] for i in range(len(page))]):
        world.pages["/"] = data if isinstance(data, bytes) else endless(iter(data))
        assert ask(world)["body"] == b"hello"
    assert world.seen[0].header("accept-encoding") == ["gzip, deflate"]


def test_coded_emptiness(world: World) -> None:
    world.pages["/"] = sized(b"", b"Content-Encoding: gzip\r\n")
    assert ask(world)["body"] == b""
    assert ask(world, method="HEAD")["body"] == b""


@pytest.mark.parametrize(
    ("coding", "packed", "words"),
    [
        (b"gzip", b"hello", "no good gzip"),
        (b"gzip", gzip.compress(b"hello")[:-1], "in the middle"),
        (b"gzip", gzip.compress(b"hello")[:5], "in the middle"),
        (b"gzip", gzip.compress(b"hello") + b"more", "no good gzip"),
        (b"gzip", gzip.compress(b"hello")[:-8] + b"\0" * 8, "no good gzip"),
        (b"deflate", zlib.compress(b"hello") + b"more", "behind"),
        (b"deflate", zlib.compress(b"hello")[:-1], "in the middle"),
        (b"br", b"hello", "coding 'br'"),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"hello")), "'gzip, gzip'"),
        (b"gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(b"hello")), "'gzip, gzip'"),
        (b"\xe4\x1b[31m", b"hello", "\\xe4\\x1b"),
    ],
)
def test_codings_that_are_none(world: World, coding: bytes, packed: bytes, words: str) -> None:
    world.pages["/"] = sized(packed, b"Content-Encoding: %s\r\n" % coding)
    ends(world, HttpFailed, "coding", words)


def test_bombs(world: World) -> None:
    """A little that becomes much: neither memory nor time goes with what it would become."""
    squeezer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(30)) + squeezer.flush()
    members = gzip.compress(bytes(10_000)) * 200
    for packed in (bomb, members):
        world.pages["/"] = sized(packed, b"Content-Encoding: gzip\r\n")
        ends(world, HttpRefused, "body size", "larger than 1000000", body_max=1_000_000)


# ---- Time ----


def quick(world: World, kind: type[HttpError], rule: str, words: str = "", **more: Any) -> None:
    begin = time.monotonic()
    ends(world, kind, rule, words, **{"seconds": 0.2, **more})
    assert 0.15 < time.monotonic() - begin < 1.5


def test_drips(world: World) -> None:
    """Each byte comes soon; the end does not."""
    for head in (b"", OK, OK + b"\r\n", chunked(b""), OK + b"Content-Length: 5000\r\n\r\n"):
        parts = itertools.chain([head], itertools.repeat(b"1"))
        world.pages["/"] = endless(parts, pause=0.02)
        quick(world, HttpRefused, "time", "0.2 seconds")


def test_silence(world: World) -> None:
    for scheme in ("http", "https"):
        world.pages["/"] = lambda *_: world.quiet(2)
        quick(world, HttpRefused, "time", scheme=scheme, seconds=0.3)


def test_a_flood_of_little_parts(world: World) -> None:
    """What comes without a pause is cut off in time, too, though nothing ever waits."""
    world.pages["/"] = endless(
        itertools.chain([chunked(b"")], itertools.repeat(b"1\r\na\r\n" * 5000))
    )
    quick(world, HttpRefused, "time", wire_max=1 << 40, body_max=1 << 40)


def test_a_server_that_does_not_read(world: World) -> None:
    def talk(sock: socket.socket, _: Seen) -> None:
        world.quiet(2)

    talk.is_impatient = True  # type: ignore[attr-defined]
    world.pages["/"] = talk
    quick(world, HttpRefused, "time", method="POST", body=bytes(8 << 20))


def test_a_handshake_that_drips(world: World) -> None:
    """A server whose TLS is one byte at a time."""
    listener = world.run(lambda: socket.socket())
    listener.close()
    world.names["a.example"] = ["20.0.0.1"]
    gate = HttpGate(HttpLimits(seconds=0.3), ca_file=world.ca_file)
    gate.allow("https://a.example:8081")
    with pytest.raises(HttpRefused, match="time"):
        world.run(gate.request, {"url": "https://a.example:8081/"})
    gate = HttpGate(HttpLimits(connect_seconds=0.3), ca_file=world.ca_file)
    gate.allow("https://a.example:8081")
    with pytest.raises(HttpFailed, match="no answer in time"):
        world.run(gate.request, {"url": "https://a.example:8081/"})


class Flag:
    is_cancelled = False


def test_cancelling(world: World) -> None:
    """While it waits for a name, a connection, an answer."""
    world.pages["/"] = lambda *_: world.quiet(2)
    world.names["b.example"] = lambda *_: None
    gate = HttpGate(ca_file=world.ca_file)
    for origin in ("http://a.example", "http://b.example"):
        gate.allow(origin)
        flag = Flag()
        timer = threading.Timer(0.1, setattr, (flag, "is_cancelled", True))
        timer.start()
        begin = time.monotonic()
        with pytest.raises(HttpRefused) as caught:
            world.run(gate.request, {"url": origin}, None, flag)
        assert caught.value.rule == "cancelled"
        assert time.monotonic() - begin < 1
        timer.join()


# ---- Connections that end ----


def reset(sock: socket.socket, _: Seen) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_connections_that_break(world: World) -> None:
    world.pages["/"] = reset
    ends(world, HttpFailed, "receive", "reset")


def test_tls_that_is_cut(world: World) -> None:
    """An end that anybody on the way could make is not taken for the end of the contents."""

    def cut(sock: Any, _: Seen) -> None:
        sock.sendall(OK + b"\r\nhello")
        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    world.pages["/"] = cut
    ends(world, HttpFailed, "receive", "TLS was not ended", scheme="https")
    world.pages["/"] = OK + b"\r\nhello"
    assert ask(world, "https")["body"] == b"hello"


def test_an_answer_before_the_body_is_read(world: World) -> None:
    def early(sock: socket.socket, _: Seen) -> None:
        sock.sendall(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while sock.recv(1 << 20):
                pass

    early.is_impatient = True  # type: ignore[attr-defined]
    world.pages["/"] = early
    answer = ask(world, method="POST", body=bytes(4 << 20))
    assert (answer["status"], answer["body"]) == (413, b"no")


# ---- Anything at all ----


class Wire:
    """A channel whose server has said all of it already."""

    def __init__(self, data: bytes, step: int) -> None:
        self._parts = iter([data[i : i + step] for i in range(0, len(data), step)])

    def send(self, data: bytes) -> None:
        pass

    def receive(self) -> bytes:
        return next(self._parts, b"")


def test_any_bytes() -> None:
    """Good answers with random changes: an answer or an HttpError, and nothing else."""
    from husk.sandbox._http import _exchange, _url
    from husk.sandbox._http._wait import Clock

    source = random.Random(23)
    seeds = [
        sized(b"hello", b"X: a\r\n"),
        chunked(b"5;a=b\r\nhello\r\n0\r\nT: b\r\n\r\n"),
        sized(gzip.compress(b"hello" * 50), b"Content-Encoding: gzip\r\n"),
        b"HTTP/1.1 100 X\r\n\r\n"
        + sized(zlib.compress(b"hello"), b"Content-Encoding: deflate\r\n"),
        b"HTTP/1.0 302 X\r\nLocation: /x\r\nSet-Cookie: a\r\n\r\nto the end",
    ]
    request = _exchange.Request("GET", _url.parse(URL, 100), [], b"")
    kinds = set()
    for _ in range(700):
        data = bytearray(source.choice(seeds))
        for _ in range(source.randint(0, 4)):
            at = source.randrange(len(data))
            change = source.choice([b"", b"\r\n", b"\0", b" ", b":", b"\xff", data[at:], data[:at]])
            data[at : at + source.randint(0, 3)] = change or bytes([source.randrange(256)])
            data = data or bytearray(b"H")
        clock = Clock(time.monotonic() + 10, "a test's", None)
        limits = HttpLimits(body_max=4096, head_max=1024)
        wire: Any = Wire(bytes(data), source.choice([1, 7, 1000]))
        try:
            kinds.add(_exchange.exchange(request, wire, clock, limits).status)
        except HttpError as error:
            kinds.add(error.rule)
    assert {200, 302, "protocol", "coding"} <= kinds


def test_any_name_servers_bytes() -> None:
    """A name server's answers with random changes: addresses, or an error of a known kind."""
    dns_message = pytest.importorskip("dns.message")
    import dns.rrset

    from husk.sandbox._http import _dns

    source = random.Random(24)
    query = dns_message.make_query("a.example.", "A", use_edns=0)
    good = dns_message.make_response(query)
    good.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "CNAME", "b.example."))
    good.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "20.0.0.1", "20.0.0.2"))
    good.additional.append(dns.rrset.from_text("x.example.", 60, "IN", "TXT", "text"))
    wire, ends_seen = good.to_wire(), set()
    for _ in range(700):
        data = bytearray(wire)
        for _ in range(source.randint(0, 3)):
            at = source.randrange(2, len(data))
            data[at] = source.choice([0, 1, 0xC0, 0x0C, 0xFF, 5, 28, 41, source.randrange(256)])
        if source.random() < 0.2:
            data = data[: source.randrange(len(data))]
        answer = _dns._message(bytes(data), query)
        if answer is None:
            ends_seen.add("none")
            continue
        try:
            ends_seen.add(len(_dns._addresses("a.example", [answer])))
        except (HttpFailed, _dns._NoAnswer) as error:
            ends_seen.add(type(error).__name__)
    assert {2, "none", "HttpFailed", "_NoAnswer"} <= ends_seen
