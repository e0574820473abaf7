"""One request and its answer, over one connection that serves nothing else.

h11 writes and reads HTTP/1.1. It has no sockets, proxies, cookies, redirects or decompression, so
there is none to switch off, and it accepts no more than the standard does.
"""

from __future__ import annotations

import re
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

    feed = _Feed(connection, channel)
    interim = 0
    head: h11.Response | None = None
    headers: _headers.Headers = []
    body = Body("", 0)
    while True:
        clock.check()  # also where much comes in little parts
        event = connection.next_event()
        if event is h11.NEED_DATA:
            feed.more()
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


class _Feed:
    """Gives h11 what comes, in such parts that no line costs it more than its length.

    Its regular expressions try every split of a run of spaces before they refuse a line, so 64 KiB
    of spaces and a NUL would take most of a minute, with the interpreter's lock held. Heads go in
    line by line, without long runs and folded lines; chunks' lines and trailers are short.
    """

    _STEP = 2048
    _RUN = re.compile(rb"[ \t]{256}")

    def __init__(self, connection: h11.Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._data = b""
        self._tail = b"\r\n"

    def more(self) -> None:
        """One more part. Raises HttpFailed, HttpRefused."""
        import h11

        self._data = self._data or self._channel.receive()
        size = self._STEP
        if self._connection.their_state is h11.SEND_BODY:
            # Contents are gone by now: what is left is the start of a line.
            if len(self._connection.trailing_data[0]) > self._STEP:
                message = f"a line between chunks is longer than {self._STEP} bytes"
                raise HttpRefused("head size", message)
        else:
            size = self._data.find(b"\n") + 1 or len(self._data)
            self._check(self._data[:size])
        part, self._data = self._data[:size], self._data[size:]
        self._connection.receive_data(part)

    def _check(self, part: bytes) -> None:
        """Look at a line of a head, or a part of one."""
        if self._tail.endswith(b"\n") and part[:1] in (b" ", b"\t"):
            raise HttpFailed("protocol", "the answer has folded lines in its head")
        known = self._tail + part
        if self._RUN.search(known):
            raise HttpFailed("protocol", "the answer has a long run of spaces in its head")
        self._tail = known[-256:]
