"""One request and its answer, over one connection that serves nothing else.

h11 writes and reads HTTP/1.1. It has no sockets, proxies, cookies, redirects or decompression, so
there is none to switch off, and it accepts no more than the standard does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from husk.sandbox._http import _headers
from husk.sandbox._http._body import ACCEPTED, Body
from husk.sandbox._http._channel import Channel
from husk.sandbox._http._errors import HttpFailed, HttpRefused
from husk.sandbox._http._limits import HttpLimits
from husk.sandbox._http._url import Url
from husk.sandbox._http._wait import Clock

if TYPE_CHECKING:
    import h11


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. All of it has been checked."""

    method: str
    url: Url
    headers: _headers.Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: _headers.Headers
    body: bytes


def exchange(request: Request, channel: Channel, clock: Clock, limits: HttpLimits) -> Answer:
    """Send a request and read its answer. Raises HttpFailed, HttpRefused."""
    import h11

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head_max)
    data = connection.send(_head(request)) or b""
    if request.body:
        data += connection.send(h11.Data(data=request.body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    channel.send(data)
    try:
        return _read(connection, channel, clock, limits)
    except h11.RemoteProtocolError as error:
        if error.error_status_hint == 431:
            raise HttpRefused("head size", f"a head of more than {limits.head_max} bytes") from None
        raise HttpFailed("protocol", f"the answer is no good HTTP: {str(error)[:200]!a}") from None


def _head(request: Request) -> h11.Request:
    import h11

    own = [
        ("Host", request.url.origin.authority),
        ("Connection", "close"),
        ("Accept-Encoding", ACCEPTED),
    ]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        own.append(("Content-Length", str(len(request.body))))
    names = {name.lower() for name, _ in request.headers}
    defaults = [("Accept", "*/*"), ("User-Agent", "husk")]
    own += [(name, value) for name, value in defaults if name.lower() not in names]
    pairs = [
        (name.encode("ascii"), value.encode("latin-1")) for name, value in own + request.headers
    ]
    return h11.Request(method=request.method, target=request.url.target, headers=pairs)


def _read(connection: h11.Connection, channel: Channel, clock: Clock, limits: HttpLimits) -> Answer:
    import h11

    interim = 0
    head: h11.Response | None = None
    headers: _headers.Headers = []
    body = Body("", 0)
    while True:
        clock.check()  # also where much comes in little parts
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(channel.receive())
        elif isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > limits.interim_max:
                raise HttpRefused("head size", f"more than {limits.interim_max} answers 1xx")
        elif isinstance(event, h11.Response):
            if event.http_version not in (b"1.0", b"1.1"):
                message = f"the answer is of HTTP {event.http_version.decode('latin-1')}, not 1.1"
                raise HttpFailed("protocol", message)
            head = event
            headers = _headers.of_answer(event.headers, limits)
            body = Body(_headers.joined(headers).get("content-encoding", ""), limits.body_max)
        elif isinstance(event, h11.Data):
            body.add(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Answer(head.status_code, headers, body.finish())
        else:
            raise HttpFailed("protocol", "the server closed the connection without an answer")
