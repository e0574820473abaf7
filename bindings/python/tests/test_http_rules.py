"""The rules of guests' requests, without a network: origins, headers, bodies, addresses."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
import time
from typing import Any

import pytest

from husk.sandbox._http import HttpError, HttpGate, HttpLimits, HttpRefused
from husk.sandbox._http._addresses import refused_kind

for library in ("h11", "dns"):
    pytest.importorskip(library)

# No test here may reach a network: each request is refused before, or would go to this address.
NOWHERE = "http://192.0.2.1"


def refused(gate: HttpGate, request: Any, rule: str, message: str, **more: Any) -> None:
    with pytest.raises(HttpRefused) as caught:
        gate.request(request, **more)
    assert caught.value.rule == rule, caught.value
    assert message in caught.value.message
    assert str(caught.value).isprintable()


@pytest.fixture
def gate() -> HttpGate:
    gate = HttpGate(HttpLimits(request_body_max=100, request_head_max=300, request_headers_max=4))
    gate.allow(NOWHERE)
    return gate


def test_nothing_is_allowed_at_first() -> None:
    refused(HttpGate(), {"url": "https://a.example/"}, "origin", "not in the allow list")


def test_origins() -> None:
    gate = HttpGate()
    gate.allow("https://a.example", ["GET"])
    for url in (
        *("http://a.example/", "https://a.example:444/", "http://a.example:443/"),
        *("https://b.a.example/", "https://example/", "https://a.example.b.example/"),
        *("https://xa.example/", "https://20.0.0.1/", "https://[2600::1]/"),
    ):
        refused(gate, {"url": url}, "origin", "not in the allow list")
    refused(gate, {"url": "http://a.example/"}, "origin", "for this host: https://a.example")
    refused(gate, {"url": "https://a.example", "method": "POST"}, "method", "allowed: GET")
    gate.allow("https://A.EXAMPLE:443/", ["post"])
    assert gate.allowed == {"https://a.example": ["GET", "POST"]}
    # Rules made later are those of gates made before.
    assert gate.for_run().allowed is not None
    run = gate.for_run()
    gate.allow("http://b.example")
    assert "http://b.example" in run.allowed
    assert len(run.allowed["http://b.example"]) == 7


@pytest.mark.parametrize(
    ("target", "methods", "kind", "message"),
    [
        ("a.example", None, ValueError, "must begin with https://"),
        ("*.example", None, ValueError, "must begin with"),
        ("https://*.example", None, ValueError, "RFC 3986"),
        ("https://a.example/path", None, ValueError, "whole origins"),
        ("https://a.example/?", None, ValueError, "whole origins"),
        ("https://a.example/#x", None, ValueError, "whole origins"),
        ("https://u@a.example", None, ValueError, "user or password"),
        ("ws://a.example", None, ValueError, "only http and https"),
        ("https://a.example", ["GET", "CONNECT"], ValueError, "'CONNECT' is not served"),
        ("https://a.example", ["TRACE"], ValueError, "is not served"),
        ("https://a.example", "GET", TypeError, "a list of names"),
        (None, None, ValueError, "must be text"),
    ],
)
def test_rules_that_are_none(target: Any, methods: Any, kind: type, message: str) -> None:
    gate = HttpGate()
    with pytest.raises(kind) as caught:
        gate.allow(target, methods)
    assert message in str(caught.value)
    assert gate.allowed == {}


def test_rules_are_bounded() -> None:
    gate = HttpGate()
    for number in range(1024):
        gate.allow(f"https://a{number}.example")
    gate.allow("https://a7.example")
    with pytest.raises(ValueError, match="1024 rules"):
        gate.allow("https://b.example")


@pytest.mark.parametrize(
    "method",
    [
        "CONNECT",
        "trace",
        "GET\r\n",
        "GET ",
        "",
        "PRI",
        "\uff27ET",
        "GET /x HTTP/1.1",
        0,
        1,
        ["GET"],
        "\ufb01",
    ],
)
def test_methods(gate: HttpGate, method: Any) -> None:
    refused(gate, {"url": NOWHERE, "method": method}, "method", "is not served")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X": "a\r\nHost: b"}, "a line break"),
        ({"X": "a\nb"}, "a line break"),
        ({"X": "a\rb"}, "a line break"),
        ({"X": "a\0b"}, "a line break"),
        ({"X": "a\x0bb"}, "a line break"),
        ({"X": "a\x7f"}, "a line break"),
        ({"X": "\u010a"}, "a line break"),  # whose low byte is a line feed
        ({"X": "a\u2028b"}, "a line break"),
        ({"X": " a"}, "a space at an end"),
        ({"X": "a\n"}, "a line break"),
        ({"X\r\nY": "a"}, "no name"),
        ({"X:": "a"}, "no name"),
        ({"X Y": "a"}, "no name"),
        ({"": "a"}, "no name"),
        ({"\uff38": "a"}, "no name"),
        ({"X\n": "a"}, "no name"),
        ({"x" * 257: "a"}, "no name"),
        ({":authority": "a"}, "no name"),
        ({"X": 1}, "must be texts"),
        ({1: "a"}, "must be texts"),
        ({"X": None}, "must be texts"),
        ({"X": b"a"}, "must be texts"),
        ([("X", "a"), ("x", "b")], "given twice"),
        ([("X",)], "a mapping"),
        ("X: a", "a mapping"),
        (1, "a mapping"),
        ({str(number): "a" for number in range(5)}, "more than 4"),
        ({"X": "a" * 300}, "larger than 300"),
        *(
            ({name: "a"}, "not the guest's")
            for name in (
                *("Host", "HOST", "content-length", "Transfer-Encoding", "transfer_encoding", "TE"),
                *("Connection", "Proxy-Authorization", "proxy-connection", "Keep-Alive", "Upgrade"),
                *("Expect", "Trailer", "Accept-Encoding", "Content-Encoding", "HTTP2-Settings"),
                *("X-HTTP-Method-Override", "X_HTTP_METHOD_OVERRIDE", "X-Original-URL", "Via"),
                *("X-Forwarded-Host", "Sec-Fetch-Site"),
            )
        ),
    ],
)
def test_headers(gate: HttpGate, headers: Any, message: str) -> None:
    refused(gate, {"url": NOWHERE, "headers": headers}, "header", message)


@pytest.mark.parametrize(
    ("request_", "rule", "message"),
    [
        ({"method": "POST", "body": "a" * 101}, "body", "larger than 100"),
        ({"method": "POST", "body": "ä" * 51}, "body", "larger than 100"),
        ({"method": "POST", "body": b"a" * 101}, "body", "larger than 100"),
        ({"method": "POST", "body": "\ud800"}, "body", "no good text"),
        ({"method": "POST", "body": ["a"]}, "body", "bytes or text"),
        ({"method": "POST", "body": 5}, "body", "bytes or text"),
        ({"method": "GET", "body": "a"}, "body", "GET has no body"),
        ({"method": "POST", "timeout": 5}, "body", "has no 'timeout'"),
        ({"method": "POST", "body": b"a" * 100}, "address", "documentation"),
        ({"headers": [("X-Own", "ä\tb c"), ["Y", ""]]}, "address", "documentation"),
        ({"headers": None, "body": None, "method": None}, "address", "documentation"),
    ],
)
def test_requests(gate: HttpGate, request_: dict[str, Any], rule: str, message: str) -> None:
    refused(gate, {"url": NOWHERE, **request_}, rule, message)


def test_what_is_no_request(gate: HttpGate) -> None:
    refused(gate, None, "body", "must be a mapping")
    refused(gate, [], "body", "must be a mapping")
    refused(gate, {}, "url", "must be text")


def test_a_deadline_that_is_over(gate: HttpGate) -> None:
    refused(
        gate, {"url": NOWHERE}, "time", "the deadline of the run", deadline=time.monotonic() - 1
    )


def test_requests_are_counted() -> None:
    gate = HttpGate(HttpLimits(requests_max=3))
    gate.allow(NOWHERE)
    run = gate.for_run()
    for _ in range(3):
        refused(run, {"url": NOWHERE}, "address", "documentation")
    refused(run, {"url": NOWHERE}, "count", "more than 3 requests")
    refused(gate.for_run(), {"url": NOWHERE}, "address", "documentation")


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({"seconds": -1}, ValueError),
        ({"seconds": float("nan")}, ValueError),
        ({"seconds": float("inf")}, ValueError),
        ({"seconds": "5"}, TypeError),
        ({"body_max": 1.5}, TypeError),
        ({"body_max": True}, TypeError),
        ({"body_max": 1 << 41}, ValueError),
    ],
)
def test_limits_that_are_none(limits: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind):
        HttpLimits(**limits)


# ---- Addresses ----

BAD = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1
127.255.255.255 169.254.0.1 169.254.169.254 168.63.129.16 172.16.0.1 172.31.255.255 192.0.0.1
192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:20.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::1400:1 64:ff9b:1::1 64:ff9b:1:ffff::1 100::1 2001::1 2001:0:1400:1::1 2001:2::1 2001:10::1
2001:20::1 2001:1ff::1 2001:db8::1 2002:7f00:1::1 2002:1400:1::1 3ffe::1 3fff::1 5f00::1 fc00::1
fd00:ec2::254 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 4000::1 1::1 8000::1 200::1
2600:1::5efe:7f00:1 2600:1::200:5efe:a00:1
"""
GOOD = """
1.1.1.1 9.255.255.255 11.0.0.1 20.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1
198.17.255.255 198.20.0.1 223.255.255.255 2001:200::1 2001:4860:4860::8888 2003::1 2600:1::1
2a00:1450::1 3ffd::1
"""


def test_addresses() -> None:
    for text in BAD.split():
        assert refused_kind(ipaddress.ip_address(text)), text
    for text in GOOD.split():
        assert refused_kind(ipaddress.ip_address(text)) is None, text


def test_no_address_is_better_than_pythons_word() -> None:
    """Whatever Python's own tables call not global is refused, at the edges of all networks."""
    edges = []
    for version, size in ((4, 32), (6, 128)):
        kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        for prefix in range(1, 1 << 16, 29):
            low = prefix << (size - 16)
            edges += [kind(low), kind(low + 1), kind(low + (1 << (size - 16)) - 1), kind(low - 1)]
    assert len(edges) > 15_000
    for address in edges:
        if not address.is_global or address.is_multicast or address.is_reserved:
            assert refused_kind(address), address


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1", "http://10.0.0.1", "http://169.254.169.254", "http://0.0.0.0"),
        *("http://[::1]", "http://[::ffff:127.0.0.1]", "http://[fd00:ec2::254]", "http://[::]"),
        *("https://[64:ff9b::7f00:1]", "https://[2002:7f00:1::]", "http://255.255.255.255"),
    ],
)
def test_literal_addresses(url: str) -> None:
    """A rule for an address does not make it public."""
    gate = HttpGate()
    gate.allow(url)
    refused(gate, {"url": url}, "address", "may not reach")


def test_networks_of_the_embedder() -> None:
    gate = HttpGate(refuse=["20.1.0.0/16", "2600:64::/96"])
    for origin in ("http://20.1.2.3", "http://[2600:64::7f00:1]"):
        gate.allow(origin)
        refused(gate, {"url": origin}, "address", "refused by the embedder")
    with pytest.raises(ValueError):
        HttpGate(refuse=["20.1.2.3/16"])


# ---- Libraries ----


@pytest.mark.parametrize(("library", "package"), [("h11", "h11"), ("dns", "dnspython")])
def test_without_a_library(library: str, package: str) -> None:
    """Husk imports none of them, and a gate says which one lacks."""
    program = f"""
import sys
import husk.sandbox._http as http
assert "h11" not in sys.modules and "dns" not in sys.modules
sys.modules[{library!r}] = None
try:
    http.HttpGate()
except ImportError as error:
    print(error)
"""
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert f"need the package {package}" in made.stdout
    assert "pip install h11 dnspython" in made.stdout


def test_errors_travel() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(HttpRefused("origin", "not allowed")))
    assert (type(error), error.rule, str(error)) == (HttpRefused, "origin", "not allowed [origin]")
    assert isinstance(error, HttpError)
