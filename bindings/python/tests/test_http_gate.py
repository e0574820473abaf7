"""Guests' requests in a world of the test's own: names, addresses, redirects, certificates."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

import pytest
from http_world import GATE, GATE_6, GATE_SECOND, World

from husk.sandbox._http import HttpAnswer, HttpFailed, HttpGate, HttpLimits, HttpRefused

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def gate_for(world: World, *origins: str, **limits: Any) -> HttpGate:
    gate = HttpGate(HttpLimits(**limits), ca_file=world.ca_file)
    for origin in origins or ("http://a.example", "https://a.example"):
        gate.allow(origin)
    return gate


def get(world: World, url: str, gate: HttpGate | None = None, **request: Any) -> HttpAnswer:
    gate = gate or gate_for(world)
    return world.run(gate.request, {"url": url, **request})


def refused(world: World, url: str, rule: str, *words: str, **more: Any) -> None:
    with pytest.raises(HttpRefused) as caught:
        get(world, url, **more)
    assert caught.value.rule == rule, caught.value
    for word in words:
        assert word in caught.value.message


def failed(world: World, url: str, rule: str, *words: str, **more: Any) -> None:
    with pytest.raises(HttpFailed) as caught:
        get(world, url, **more)
    assert caught.value.rule == rule, caught.value
    for word in words:
        assert word in caught.value.message


def redirect(place: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} X\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode(
        "latin-1"
    )


# ---- Requests ----


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request(world: World, scheme: str) -> None:
    world.pages["/x"] = (
        b"HTTP/1.1 201 Made\r\nX-One: a\r\nx-one: b\r\nSet-Cookie: c=1, d\r\nSet-Cookie: e=2\r\n"
        b"Content-Length: 2\r\n\r\nhi"
    )
    headers = {"Authorization": "Bearer word", "X-Own": "ä"}
    answer = get(world, f"{scheme}://a.example/x?y#z", method="post", headers=headers, body="ü")
    assert answer == {
        "status": 201,
        "headers": {"x-one": "a, b", "set-cookie": "c=1, d\ne=2", "content-length": "2"},
        "body": b"hi",
        "url": f"{scheme}://a.example/x?y",
    }
    (seen,) = world.seen
    assert seen.line == "POST /x?y HTTP/1.1"
    assert seen.body == "ü".encode()
    assert seen.header("host") == ["a.example"]
    assert seen.header("authorization") == ["Bearer word"]
    assert seen.header("x-own") == ["ä"]
    assert seen.header("content-length") == ["2"]
    assert seen.header("connection") == ["close"]
    assert len(seen.head.split(b"\r\n")) == 9


def test_other_requests(world: World) -> None:
    world.pages["/"] = b"HTTP/1.1 204 None\r\n\r\n"
    gate = gate_for(world, "http://a.example:8080")
    for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH"):
        answer = get(world, "http://a.example:8080", gate, method=method)
        assert (answer["status"], answer["body"]) == (204, b"")
        seen = world.seen[-1]
        assert (seen.line, seen.header("host")) == (f"{method} / HTTP/1.1", ["a.example:8080"])
        assert seen.header("content-length") == (["0"] if method in ("PUT", "PATCH") else [])
    world.pages["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    assert get(world, "http://a.example:8080", gate, method="HEAD")["body"] == b""


def test_a_large_body_each_way(world: World) -> None:
    body = os.urandom(3 << 20)
    world.pages["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    for scheme in ("http", "https"):
        answer = get(world, f"{scheme}://a.example", method="PUT", body=body)
        assert answer["body"] == body == world.seen[-1].body


def test_the_hosts_own_settings_are_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Proxies, .netrc, cookies, SSLKEYLOGFILE."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.setenv(name, "http://20.0.0.66:8080")
    (tmp_path / ".netrc").write_text("machine a.example login l password p\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    world.pages["/"] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    gate = gate_for(world)
    for _ in range(2):
        get(world, "https://a.example", gate)
        assert world.seen[-1].header("cookie") == world.seen[-1].header("authorization") == []
    assert {place for place, _ in world.visitors} == {"20.0.0.1"}
    assert not (tmp_path / "keys").exists()


# ---- Names and addresses ----


def test_bad_addresses_are_not_tried(world: World) -> None:
    """Of an answer with both kinds, only the good are tried, in whatever order they come."""
    world.pages["/"] = HELLO
    bad = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:20.0.0.5", "2002:1400:1::"]
    for rows in (["20.0.0.1", *bad], [*bad, "20.0.0.1"], [*bad, "2600:5::1", *bad]):
        world.names["a.example"] = rows
        assert get(world, "http://a.example")["body"] == b"hello"
    assert {place for place, _ in world.visitors} == {"20.0.0.1", "2600:5::1"}


@pytest.mark.parametrize(
    "rows",
    [
        ["127.0.0.1"],
        ["0.0.0.0"],
        ["::"],
        ["::1"],
        ["10.0.0.1", "192.168.0.1", "fd00::1"],
        ["169.254.169.254"],
        ["::ffff:169.254.169.254"],
        ["::ffff:20.0.0.1"],
        ["64:ff9b::1400:1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::1"],
        ["2001:0:1400:1::1"],
        ["100.64.0.1"],
        ["224.0.0.1", "255.255.255.255"],
        ["168.63.129.16"],
        [("CNAME", "private.example."), ("A", "10.1.1.1")],
        [("CNAME", "x.example."), ("CNAME", "localhost."), ("A", "127.0.0.1")],
        [GATE],
        [GATE_SECOND],
        [GATE_6],
        ["11.0.0.255"],
    ],
)
def test_names_that_lead_inside(world: World, rows: list[Any]) -> None:
    """No packet goes there: neither to the machine's own servers nor to the rest of the world."""
    world.names["a.example"] = rows
    refused(world, "http://a.example", "address", "guests may not reach")
    gate = gate_for(world, "http://a.example:8888")
    refused(world, "http://a.example:8888", "address", gate=gate)
    assert world.visitors == []


def test_a_name_that_changes(world: World) -> None:
    """Rebinding: the connection goes to the address that was judged, and each request asks anew."""
    world.pages["/"] = HELLO
    turns = iter(range(100))

    def changing(kind: str, *_: Any) -> list[str]:
        return ["20.0.0.1", "127.0.0.1"][next(turns) % 2 :][:1] if kind == "A" else []

    world.names["a.example"] = changing
    gate = gate_for(world)
    for number in range(6):
        if number % 2 == 0:
            get(world, "http://a.example", gate)
        else:
            refused(world, "http://a.example", "address", gate=gate)
    assert world.visitors == [("20.0.0.1", 80)] * 3
    assert world.asked.count(("a.example", "A")) == 6


def test_cnames(world: World) -> None:
    world.pages["/"] = HELLO
    world.names["a.example"] = [("CNAME", "b.example."), ("CNAME", "c.example."), ("A", "20.0.0.7")]
    assert get(world, "http://a.example")["body"] == b"hello"
    assert world.seen[0].header("host") == ["a.example"]
    assert world.visitors == [("20.0.0.7", 80)]
    world.names["a.example"] = [("CNAME", "a.example.")]
    failed(world, "http://a.example", "name", "cannot be found")
    world.names["a.example"] = [("CNAME", f"{n}.example.") for n in range(40)] + ["20.0.0.1"]
    failed(world, "http://a.example", "name", "cannot be found")


def test_names_that_fail(world: World) -> None:
    world.names["a.example"] = "NXDOMAIN"
    failed(world, "http://a.example", "name", "no name a.example")
    world.names["a.example"] = []
    failed(world, "http://a.example", "name", "no addresses")
    world.names["a.example"] = "SERVFAIL"
    failed(world, "http://a.example", "name", "9.9.9.9: SERVFAIL")
    world.names["a.example"] = "REFUSED"
    failed(world, "http://a.example", "name", "REFUSED")


def test_half_an_answer(world: World) -> None:
    """Servers that answer for one kind of addresses only, or with an error for the other."""
    world.pages["/"] = HELLO
    world.names["a.example"] = lambda kind, *_: ["20.0.0.1"] if kind == "A" else "SERVFAIL"
    assert get(world, "http://a.example")["body"] == b"hello"
    world.names["a.example"] = lambda kind, *_: ["20.0.0.1"] if kind == "A" else None
    assert get(world, "http://a.example")["body"] == b"hello"


def test_forged_answers(world: World) -> None:
    """Those with another number or question, broken ones, and more than one."""
    import dns.message
    import dns.rrset

    def forged(kind: str, query: Any, _: bool) -> list[bytes]:
        good = dns.message.make_response(query)
        if kind == "A":
            good.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "A", "20.0.0.1"))
        wrong = dns.message.make_response(query)
        wrong.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "A", "20.0.0.99"))
        wrong.id ^= 1
        other = dns.message.make_response(dns.message.make_query("b.example.", "A"))
        other.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "20.0.0.98"))
        other.id = query.id
        unasked = dns.message.make_response(query)
        unasked.id = query.id
        wire = good.to_wire()
        loop = wire[:12] + b"\xc0\x0c" + wire[14:]
        return [
            b"\0",
            wire[:5],
            wrong.to_wire(),
            other.to_wire(),
            query.to_wire(),
            loop,
            wire,
            wire,
        ]

    world.names["a.example"] = forged
    world.pages["/"] = HELLO
    assert get(world, "http://a.example")["body"] == b"hello"
    assert world.visitors == [("20.0.0.1", 80)]


def test_answers_of_other_names(world: World) -> None:
    """Addresses in an answer that belong to another name are not the name's."""
    import dns.message
    import dns.rrset

    def other(kind: str, query: Any, _: bool) -> list[bytes]:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "20.0.0.1"))
        answer.additional.append(dns.rrset.from_text("a.example.", 60, "IN", "A", "20.0.0.1"))
        return [answer.to_wire()]

    world.names["a.example"] = other
    failed(world, "http://a.example", "name", "no addresses")


def test_an_answer_that_needs_tcp(world: World) -> None:
    import dns.flags
    import dns.message

    def cut(kind: str, query: Any, is_tcp: bool) -> Any:
        if is_tcp:
            return (
                [f"10.0.{n >> 8}.{n & 255}" for n in range(count)] + ["20.0.0.1"]
                if kind == "A"
                else []
            )
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return [answer.to_wire()]

    world.names["a.example"] = cut
    world.pages["/"] = HELLO
    count = 100
    assert get(world, "http://a.example")["body"] == b"hello"
    assert world.visitors == [("20.0.0.1", 80)]
    count = 550
    failed(world, "http://a.example", "name", "larger than 8192 bytes")


def test_names_in_time(world: World) -> None:
    """A silent server, and one that only sends what is no answer, end with the request."""
    world.names["a.example"] = lambda *_: None
    failed(
        world,
        "http://a.example",
        "name",
        "no answer in time",
        gate=gate_for(world, name_seconds=0.2),
    )
    gate = gate_for(world, seconds=0.2)
    refused(world, "http://a.example", "time", "0.2 seconds", gate=gate)
    begin = time.monotonic()
    with pytest.raises(HttpRefused, match="deadline of the run"):
        world.run(gate_for(world).request, {"url": "http://a.example"}, begin + 0.2)
    assert time.monotonic() - begin < 0.6


def test_the_next_address(world: World) -> None:
    """Where nothing listens, the next address is tried; a bounded number of them."""
    world.pages["/"] = HELLO
    gate = gate_for(world, "http://a.example:81", addresses_max=2)
    failed(world, "http://a.example:81", "connect", "20.0.0.1: Connection refused", gate=gate)
    world.names["a.example"] = ["2600:5::1", "20.0.0.1", "20.0.0.2"]
    failed(world, "http://a.example:81", "connect", "20.0.0.1: Connection refused", gate=gate)
    # The machine has no route there.
    world.run(_route, "add", "unreachable", "20.0.9.0/24")
    try:
        world.names["a.example"] = ["20.0.9.1"]
        failed(world, "http://a.example", "connect", "20.0.9.1")
        world.names["a.example"] = ["20.0.9.1", "20.0.0.1"]
        assert get(world, "http://a.example")["body"] == b"hello"
    finally:
        world.run(_route, "del", "unreachable", "20.0.9.0/24")


def _route(*words: str) -> None:
    import subprocess

    subprocess.run(["ip", "route", *words], check=True)


# ---- Redirects ----


def test_redirects(world: World) -> None:
    world.pages.update({"/1": redirect("/2?a"), "/2": redirect("3", 301), "/3": HELLO})
    answer = get(world, "http://a.example/1", headers={"Authorization": "word", "Cookie": "c=1"})
    assert (answer["body"], answer["url"]) == (b"hello", "http://a.example/3")
    assert [seen.line.split()[1] for seen in world.seen] == ["/1", "/2?a", "/3"]
    assert all(seen.header("authorization") == ["word"] for seen in world.seen)


@pytest.mark.parametrize(
    "place",
    ["http://b.example/2", "https://a.example/2", "http://a.example:8080/2", "//b.example/2"],
)
def test_redirects_lose_credentials(world: World, place: str) -> None:
    """Another scheme or port is another origin."""
    world.pages.update(
        {"/1": redirect(place, 307), "/2": redirect("http://a.example/3"), "/3": HELLO}
    )
    gate = gate_for(
        world, "http://a.example", "http://b.example", "https://a.example", "http://a.example:8080"
    )
    secrets = ("Authorization", "Cookie", "X-Api-Key", "X-Amz-Security-Token", "Referer", "Origin")
    headers = {**dict.fromkeys(secrets, "word"), "Accept": "text/plain"}
    assert get(world, "http://a.example/1", gate, headers=headers)["body"] == b"hello"
    first, second, third = world.seen
    for name in secrets:
        assert first.header(name) == ["word"]
        # What was lost does not come back where it was first sent, either.
        assert second.header(name) == third.header(name) == []
    assert second.header("accept") == ["text/plain"]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "DELETE", "GET"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
        (303, "HEAD", "HEAD"),
    ],
)
def test_methods_of_redirects(world: World, status: int, method: str, then: str) -> None:
    world.pages.update({"/1": redirect("/2", status), "/2": HELLO})
    body = None if method == "HEAD" else b"body"
    get(world, "http://a.example/1", method=method, body=body, headers={"Content-Type": "text/x"})
    second = world.seen[1]
    assert second.line == f"{then} /2 HTTP/1.1"
    assert second.body == (b"" if then in ("GET", "HEAD") else b"body")
    assert second.header("content-type") == ([] if then == "GET" else ["text/x"])


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "https://b.example/",
        "http://a.example:8080/",
        "//127.0.0.1/",
        "http://a.example@127.0.0.1/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://a.example/",
        "http:/\\127.0.0.1/",
        "\\\\127.0.0.1/",
        "/\\127.0.0.1/",
        "http://a.example /",
        "http://ä.example/",
        "http:127.0.0.1",
    ],
)
def test_redirects_are_judged(world: World, place: str) -> None:
    world.pages["/1"] = redirect(place)
    refused(world, "http://a.example/1", "redirect", "http://a.example/1 redirects to")
    assert world.visitors == [("20.0.0.1", 80)]


def test_redirects_to_a_method_or_address_that_is_refused(world: World) -> None:
    gate = gate_for(world)
    gate.allow("http://b.example", ["POST"])
    world.names["b.example"] = ["10.0.0.1"]
    world.pages["/1"] = redirect("http://b.example/", 303)
    refused(world, "http://a.example/1", "redirect", "GET is not allowed", gate=gate, method="POST")
    world.pages["/1"] = redirect("http://b.example/", 307)
    refused(world, "http://a.example/1", "address", "10.0.0.1", gate=gate, method="POST")
    assert world.visitors == [("20.0.0.1", 80)] * 2


def test_redirects_are_bounded(world: World) -> None:
    world.pages["/1"] = redirect("/1")
    refused(world, "http://a.example/1", "redirect", "more than 10 redirects")
    assert len(world.seen) == 11
    gate = gate_for(world, requests_max=5)
    refused(world, "http://a.example/1", "count", "more than 5 requests", gate=gate)
    assert len(world.seen) == 16
    world.pages["/1"] = redirect("/" + "a" * 9000)
    refused(world, "http://a.example/1", "redirect", "longer than 8192")


def test_redirects_that_are_none(world: World) -> None:
    """Other statuses, none or several places."""
    for page in (
        b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 201 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 X\r\nLocation: http://127.0.0.1/\r\n\r\n",
        b"HTTP/1.1 200 X\r\nRefresh: 0; url=http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
    ):
        world.pages["/1"] = page
        assert get(world, "http://a.example/1")["url"] == "http://a.example/1"
    world.pages["/1"] = (
        b"HTTP/1.1 302 X\r\nLocation: /2\r\nLocation: /3\r\nContent-Length: 0\r\n\r\n"
    )
    refused(world, "http://a.example/1", "redirect", "several places")


# ---- Certificates ----


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("https://c.example", "Hostname mismatch"),
        (
            "https://common.example",
            "Hostname mismatch",
        ),  # the subject's name, not an alternative one
        ("https://x.y.wild.example", "Hostname mismatch"),
        ("https://20.0.0.1", "IP address mismatch"),
        ("https://a.example:8443", "self-signed"),
        ("https://a.example:80", "no answer in time"),
    ],
)
def test_certificates_that_are_refused(world: World, origin: str, words: str) -> None:
    for name in ("c.example", "common.example", "x.y.wild.example"):
        world.names[name] = ["20.0.0.1"]
    gate = gate_for(world, origin, connect_seconds=0.3 if origin.endswith(":80") else 5)
    failed(world, origin, "tls", words, gate=gate)
    assert world.seen == []


def test_certificates_that_are_good(world: World) -> None:
    world.names["x.wild.example"] = ["20.0.0.1"]
    world.pages["/"] = HELLO
    for origin in ("https://x.wild.example", "https://20.0.0.9"):
        assert get(world, origin, gate_for(world, origin))["body"] == b"hello"


def test_without_the_tests_authority(world: World) -> None:
    gate = HttpGate()
    gate.allow("https://a.example")
    failed(world, "https://a.example", "tls", "certificate is not good for a.example", gate=gate)


# ---- Threads ----


def test_many_at_once(world: World) -> None:
    """One gate, several threads, and the count is exact."""
    world.pages["/"] = HELLO
    gate = gate_for(world, "http://a.example", requests_max=20)
    ends: list[str] = []

    def ask() -> None:
        for _ in range(5):
            try:
                ends.append(gate.request({"url": "http://a.example"})["body"].decode())
            except HttpRefused as error:
                ends.append(error.rule)

    def start() -> list[threading.Thread]:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        return threads

    for thread in world.run(start):
        thread.join(20)
    assert sorted(ends) == ["count"] * 20 + ["hello"] * 20


def test_nothing_is_left(world: World, descriptors: Any) -> None:
    """Neither sockets nor threads, after requests of all ends."""
    world.pages.update({"/": HELLO, "/1": redirect("/1"), "/2": b"\0"})
    gate = gate_for(world, "https://a.example", "http://a.example:81", redirects_max=1)

    def ask_all() -> None:
        for url in (
            *(
                "https://a.example/",
                "https://a.example/1",
                "https://a.example/2",
                "http://20.0.0.1",
            ),
            *("http://a.example:81", "http://a.example:82", "no url"),
        ):
            with contextlib.suppress(HttpRefused, HttpFailed):
                gate.request({"url": url})

    world.run(ask_all)
    # Servers' threads end when they see that the gate has closed.
    counts = []
    for _ in range(2):
        world.run(ask_all)
        deadline = time.monotonic() + 5
        while threading.active_count() > world.threads and time.monotonic() < deadline:
            time.sleep(0.01)
        counts.append((descriptors(), threading.active_count()))
    assert counts[0] == counts[1] and counts[0][1] == world.threads
