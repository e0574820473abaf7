"""HTTP of guests, from their code to servers in a network of the test's own, and back."""

from __future__ import annotations

import threading
import time
from functools import partial

from http_world import World
from sandbox_guest import options

from husk.sandbox import Cancel, Result, Sandbox

HELLO = b"HTTP/1.1 200 OK\r\nX-One: a\r\nContent-Length: 5\r\n\r\nhello"


def test_requests_of_a_guest(world: World) -> None:
    world.pages["/x"] = HELLO
    world.names["inside.example"] = ["127.0.0.1"]
    with Sandbox(**options()) as sandbox:
        sandbox.allow_domain("http://a.example")
        sandbox.allow_domain("http://inside.example", ["GET"])
        sandbox.run("")

        def run(code: str, **how: object) -> Result:
            return world.run(partial(sandbox.run, code, **how))  # type: ignore[arg-type]

        code = "answer = http_get('http://a.example/x', headers={'X-Own': 'mine'})\nprint(answer)"
        result = run(code)
        wanted = {
            "status": 200,
            "headers": {"x-one": "a", "content-length": "5"},
            "body": "hello",
            "url": "http://a.example/x",
        }
        assert (result.stdout, result.stderr) == (f"{wanted}\n", "")
        assert run("print(http_post('http://a.example/x', '{}')['body'])").stdout == "hello\n"
        assert [seen.line for seen in world.seen] == ["GET /x HTTP/1.1", "POST /x HTTP/1.1"]
        assert world.seen[0].header("x-own") == ["mine"] and world.seen[1].body == b"{}"
        assert world.seen[1].header("content-type") == ["application/json"]
        for call, why in {
            "http_get('http://b.example/x')": "HttpRefused",
            "http_get('http://inside.example/x')": "127.0.0.1 (loopback",
            "http_post('http://inside.example/x')": "HttpRefused",
            "http_get('http://a.example/x', headers={'A': 'b\\r\\nC: d'})": "HttpRefused",
        }.items():
            assert why in run(call).stderr, call
        assert len(world.seen) == 2


def test_requests_that_hang_end(world: World) -> None:
    gone = threading.Event()
    world.pages["/hangs"] = lambda _sock, _seen: gone.wait(20)
    code = "http_get('http://a.example/hangs')"
    with Sandbox(**options()) as sandbox:
        sandbox.allow_domain("http://a.example")
        sandbox.run("")
        try:
            begun = time.monotonic()
            assert world.run(partial(sandbox.run, code, deadline=0.3)).stopped == "deadline"
            cancel = Cancel()
            timer = threading.Timer(0.3, cancel.cancel)
            timer.start()
            assert world.run(partial(sandbox.run, code, cancel=cancel)).stopped == "cancelled"
            assert time.monotonic() - begun < 5
            assert len(world.seen) == 2
        finally:
            gone.set()
        world.pages["/x"] = HELLO
        assert world.run(sandbox.run, "print(http_get('http://a.example/x')['body'])").stdout == (
            "hello\n"
        )


def test_a_number_of_requests(world: World) -> None:
    """It is counted for each run anew."""
    world.pages["/x"] = HELLO
    code = "while True: http_get('http://a.example/x'); n += 1"
    code = f"n = 0\ntry:\n {code}\nexcept RuntimeError as e: print(n, e)"
    with Sandbox(**options()) as sandbox:
        sandbox.allow_domain("http://a.example")
        for _ in range(2):
            printed = world.run(sandbox.run, code).stdout
            assert "requests in one run" in printed and int(printed.split()[0]) == len(world.seen)
            world.seen.clear()
