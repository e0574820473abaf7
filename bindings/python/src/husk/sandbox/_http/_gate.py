"""HttpGate: requests of guests, made by the host."""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import itertools
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from husk.sandbox._http import _channel, _dns, _headers, _libraries, _route, _url
from husk.sandbox._http._addresses import Address, refused_kind
from husk.sandbox._http._channel import Channel
from husk.sandbox._http._errors import HttpFailed, HttpRefused
from husk.sandbox._http._exchange import Answer, Request, exchange
from husk.sandbox._http._limits import HttpLimits
from husk.sandbox._http._rules import Rules, method_of
from husk.sandbox._http._wait import Cancellable, Clock

if TYPE_CHECKING:
    import ssl

_REDIRECTS = (301, 302, 303, 307, 308)


class HttpAnswer(TypedDict):
    """An answer. headers: names in lower case. url: after redirects."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class HttpGate:
    """An allow list, and the requests that it allows. Nothing is allowed at first.

    Names are looked up once a connection, by the host's name servers, and the connection goes to an
    address that was judged: only public ones, of other machines than this. Certificates are
    verified. The host's proxies, cookies and .netrc are not used, and a connection serves one
    request. Of redirects each is judged as a request is; to another origin none takes credentials
    along.

    limits: what requests may cost. ca_file: authorities in PEM that servers are verified by, in
    place of the system's. refuse: networks that are refused besides those that are not public, such
    as a prefix of NAT64 or the public addresses of the embedder's own network.

    A gate may be used by several threads at the same time. Each request takes one thread, and gives
    it back at its deadline. Raises ImportError without the packages h11 and dnspython.
    """

    def __init__(
        self,
        limits: HttpLimits | None = None,
        *,
        ca_file: str | None = None,
        refuse: Iterable[str] = (),
    ) -> None:
        _libraries.need()
        self._limits = limits or HttpLimits()
        self._rules = Rules()
        self._refuse = [ipaddress.ip_network(network) for network in refuse]
        self._tls: list[ssl.SSLContext] = []
        self._ca_file = ca_file
        self._count = itertools.count(1)

    def allow(self, target: str, methods: Iterable[str] | None = None) -> None:
        """Allow an origin, such as "https://example.com" or "http://example.com:8080".

        methods: None for all of METHODS. What was allowed for the origin before stays allowed.
        Raises ValueError, TypeError.
        """
        self._rules.allow(target, methods, self._limits.url_max)

    @property
    def allowed(self) -> dict[str, list[str]]:
        """Methods by origin."""
        return self._rules.origins

    def for_run(self) -> HttpGate:
        """A gate with the same rules, also those to come, that counts its requests anew."""
        gate = copy.copy(self)
        gate._count = itertools.count(1)
        return gate

    def request(
        self,
        request: Mapping[str, Any],
        deadline: float | None = None,
        cancel: Cancellable | None = None,
    ) -> HttpAnswer:
        """Make a request of "method" (GET), "url", "headers" (a mapping or pairs), "body" (bytes or
        text).

        deadline: a moment of time.monotonic(). The request ends then, or when the limit of its
        seconds is over. cancel: asked every 50 milliseconds whether to end. Raises HttpRefused,
        HttpFailed.
        """
        end, why = time.monotonic() + self._limits.seconds, f"{self._limits.seconds:g} seconds"
        if deadline is not None and deadline < end:
            end, why = deadline, "the deadline of the run"
        return self._follow(self._checked(request), Clock(end, why, cancel))

    def _checked(self, request: Mapping[str, Any]) -> Request:
        """A guest's request without its doubtful parts. Raises HttpRefused."""
        if not isinstance(request, Mapping):
            raise HttpRefused("body", f"a request must be a mapping, not {type(request).__name__}")
        unknown = sorted(map(str, set(request) - {"method", "url", "headers", "body"}))
        if unknown:
            raise HttpRefused("body", f"a request has no {unknown[0]!a:.60}")
        method = request.get("method")
        method = method_of("GET" if method is None else method)
        url = _url.parse(request.get("url"), self._limits.url_max)
        headers = _headers.of_guest(request.get("headers"), self._limits)
        body = request.get("body")
        try:
            data = body.encode() if isinstance(body, str) else b"" if body is None else body
        except UnicodeEncodeError as error:
            raise HttpRefused("body", f"the body is no good text: {error.reason}") from None
        if not isinstance(data, bytes | bytearray | memoryview):
            raise HttpRefused("body", f"a body must be bytes or text, not {type(body).__name__}")
        if len(data) > self._limits.request_body_max:
            message = f"a body of {len(data)} bytes is larger than {self._limits.request_body_max}"
            raise HttpRefused("body", message)
        if len(data) > 0 and method in ("GET", "HEAD"):
            raise HttpRefused("body", f"{method} has no body")
        return Request(method, url, headers, bytes(data))

    def _follow(self, request: Request, clock: Clock) -> HttpAnswer:
        """The answer behind all redirects."""
        for _ in range(self._limits.redirects_max + 1):
            self._rules.check(request.url.origin, request.method)
            answer = self._one(request, clock)
            places = _headers.values(answer.headers, "location")
            if answer.status not in _REDIRECTS or not places:
                headers = _headers.joined(answer.headers)
                return HttpAnswer(
                    status=answer.status, headers=headers, body=answer.body, url=str(request.url)
                )
            if len(set(places)) > 1:
                raise HttpRefused("redirect", f"{request.url} redirects to several places")
            request = self._redirected(request, answer.status, places[0])
        raise HttpRefused("redirect", f"more than {self._limits.redirects_max} redirects")

    def _redirected(self, request: Request, status: int, place: str) -> Request:
        """The request that a redirect asks for. Raises HttpRefused."""
        try:
            url = _url.join(request.url, place, self._limits.url_max)
            method, headers, body = request.method, request.headers, request.body
            # As browsers do: 307 and 308 keep the method.
            if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
                method, headers, body = "GET", _headers.without_body(headers), b""
            if url.origin != request.url.origin:
                headers = _headers.across_origins(headers)
            self._rules.check(url.origin, method)
        except HttpRefused as error:
            message = f"{request.url} redirects to where the request may not go: {error.message}"
            raise HttpRefused("redirect", message) from None
        return Request(method, url, headers, body)

    def _one(self, request: Request, clock: Clock) -> Answer:
        """One request over one connection."""
        if next(self._count) > self._limits.requests_max:
            raise HttpRefused("count", f"more than {self._limits.requests_max} requests in one run")
        clock.check()
        with contextlib.closing(self._connect(request.url.origin, clock)) as channel:
            return exchange(request, channel, clock, self._limits)

    def _connect(self, origin: _url.Origin, clock: Clock) -> Channel:
        """A connection to the first address that answers. Raises HttpFailed, HttpRefused."""
        failure = HttpFailed("connect", f"{origin} cannot be reached")
        for address in self._good(origin, self._addresses(origin, clock))[
            : self._limits.addresses_max
        ]:
            moment = clock.until(self._limits.connect_seconds)
            try:
                sock = _channel.connect(str(address), origin.port, clock, moment)
            except OSError as error:
                message = f"{origin} cannot be reached: {address}: {error.strerror}"
                failure = HttpFailed("connect", message)
                continue
            channel = Channel(sock, clock, self._limits.wire_max)
            try:
                if origin.scheme == "https":
                    channel.start_tls(self._context(), origin.host, moment)
                return channel
            except OSError as error:
                channel.close()
                failure = HttpFailed("tls", f"no TLS with {origin}: {address}: {error.strerror}")
            except BaseException:
                channel.close()
                raise
        raise failure

    def _addresses(self, origin: _url.Origin, clock: Clock) -> list[Address]:
        try:
            return [ipaddress.ip_address(origin.host)]
        except ValueError:
            return _dns.addresses_of(origin.host, clock, self._limits.name_seconds)

    def _good(self, origin: _url.Origin, addresses: list[Address]) -> list[Address]:
        """Those that are public, another machine's, and have a route.

        Raises HttpRefused, HttpFailed.
        """
        good: list[Address] = []
        refused: list[str] = []
        unreachable: list[str] = []
        for address in dict.fromkeys(addresses):
            try:
                kind = self._refused_kind(address)
            except OSError as error:
                unreachable.append(f"{address}: {error.strerror}")
                continue
            if kind is None:
                good.append(address)
            else:
                refused.append(f"{address} ({kind})")
        if not good and refused:
            message = (
                f"{origin} leads to addresses that guests may not reach: {', '.join(refused[:4])}"
            )
            raise HttpRefused("address", message)
        if not good:
            raise HttpFailed("connect", f"{origin} cannot be reached: {'; '.join(unreachable[:4])}")
        return _in_turns(good)

    def _refused_kind(self, address: Address) -> str | None:
        kind = refused_kind(address)
        if kind is None and any(address in network for network in self._refuse):
            kind = "refused by the embedder"
        return kind or _route.kind_of_route(address)

    def _context(self) -> ssl.SSLContext:
        """Authorities are read once, by the first request that needs them."""
        if not self._tls:
            self._tls.append(_channel.tls_context(self._ca_file))
        return self._tls[0]


def _in_turns(addresses: list[Address]) -> list[Address]:
    """The addresses, of IPv6 and IPv4 in turns: a host may have one of both that does not work."""
    kinds = ([each for each in addresses if each.version == version] for version in (6, 4))
    rows = itertools.zip_longest(*kinds)
    return [address for row in rows for address in row if address is not None]
