"""The addresses of a name, asked from the name servers of the host.

Deliberately not getaddrinfo(): nothing can end it at a deadline, and /etc/hosts and the search list
are the host's own names, not the public's. dnspython makes and reads the messages; the waiting is
done here, within the request's time.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

from husk.sandbox._http._addresses import Address
from husk.sandbox._http._channel import connect
from husk.sandbox._http._errors import HttpFailed
from husk.sandbox._http._wait import READABLE, WRITABLE, Clock, TooLate

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.resolver import Resolver

_ROUNDS = 2  # over all servers
_UDP_SIZE = 1232  # what all networks carry unbroken
_ANSWER_MAX = 8 << 10  # hundreds of addresses; reading the 64 KiB that DNS allows takes a second
_PORT = 53


class _NoAnswer(Exception):
    """A server gave no answer that can be used."""


def addresses_of(name: str, clock: Clock, seconds: float) -> list[Address]:
    """All addresses of a name, those of IPv6 first. Raises HttpFailed, HttpRefused."""
    end = clock.until(seconds)
    resolver = _configuration()
    reasons: list[str] = []
    for _ in range(_ROUNDS):
        for server in map(str, resolver.nameservers):
            try:
                return _ask(name, server, clock, min(end, clock.until(resolver.timeout)))
            except TooLate:
                reasons.append(f"{server}: no answer in time")
            except _NoAnswer as error:
                reasons.append(f"{server}: {error}")
            except OSError as error:
                reasons.append(f"{server}: {error.strerror}")
            clock.check()
    raise HttpFailed("name", f"the addresses of {name} cannot be found: {'; '.join(reasons[-4:])}")


def _configuration() -> Resolver:
    """The host's /etc/resolv.conf."""
    import dns.exception
    import dns.resolver

    try:
        return dns.resolver.Resolver()
    except (dns.exception.DNSException, OSError) as error:
        raise HttpFailed("name", f"the host's /etc/resolv.conf names no server: {error}") from None


def _ask(name: str, server: str, clock: Clock, moment: float) -> list[Address]:
    """Ask one server for both kinds of addresses at the same time."""
    import dns.flags
    import dns.message

    queries = [
        dns.message.make_query(f"{name}.", kind, use_edns=0, payload=_UDP_SIZE)
        for kind in ("AAAA", "A")
    ]
    answers = _ask_udp(queries, server, clock, moment)
    for index, answer in answers.items():
        if answer.flags & dns.flags.TC:
            answers[index] = _ask_tcp(queries[index], server, clock, moment)
    return _addresses(name, [answers[index] for index in sorted(answers)])


def _ask_udp(
    queries: list[QueryMessage], server: str, clock: Clock, moment: float
) -> dict[int, Message]:
    """The answers by the queries' indices. One may lack: some servers answer for one kind only."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    answers: dict[int, Message] = {}
    with socket.socket(family, kind) as sock:
        sock.connect((server, _PORT))  # the kernel drops what others send
        for query in queries:
            sock.send(query.to_wire())
        while len(answers) < len(queries):
            try:
                clock.wait(sock, READABLE, moment)
            except TooLate:
                if answers:
                    break
                raise
            with contextlib.suppress(BlockingIOError):
                wire = sock.recv(_ANSWER_MAX)
                for index, query in enumerate(queries):
                    answer = _message(wire, query)
                    if answer is not None:
                        answers.setdefault(index, answer)
    return answers


def _ask_tcp(query: QueryMessage, server: str, clock: Clock, moment: float) -> Message:
    """The whole of an answer that was cut off (RFC 7766: its length goes before it)."""
    wire = query.to_wire()
    with connect(server, _PORT, clock, moment) as sock:
        request = len(wire).to_bytes(2, "big") + wire
        while request:
            clock.wait(sock, WRITABLE, moment)
            request = request[sock.send(request) :]
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            clock.wait(sock, READABLE, moment)
            part = sock.recv(_ANSWER_MAX)
            if not part:
                raise _NoAnswer("the answer was cut")
            data += part
            if int.from_bytes(data[:2], "big") > _ANSWER_MAX:
                raise _NoAnswer(f"the answer is larger than {_ANSWER_MAX} bytes")
    answer = _message(data[2 : 2 + int.from_bytes(data[:2], "big")], query)
    if answer is None:
        raise _NoAnswer("no answer to what was asked")
    return answer


def _message(wire: bytes, query: QueryMessage) -> Message | None:
    """A query's answer, or None if it is something else."""
    import dns.exception
    import dns.message

    try:
        answer = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    return answer if query.is_response(answer) else None


def _addresses(name: str, answers: list[Message]) -> list[Address]:
    """The addresses of all answers, at the end of CNAMEs. Raises HttpFailed, _NoAnswer."""
    import dns.exception
    import dns.message
    import dns.rcode

    found: list[Address] = []
    bad: list[str] = []
    for answer in answers:
        code = answer.rcode()
        if code == dns.rcode.NXDOMAIN:
            raise HttpFailed("name", f"there is no name {name}")
        if code != dns.rcode.NOERROR or not isinstance(answer, dns.message.QueryMessage):
            bad.append(dns.rcode.to_text(code))
            continue
        try:
            rows = answer.resolve_chaining().answer
        except dns.exception.DNSException as error:
            bad.append(str(error))
            continue
        found += [ipaddress.ip_address(str(row)) for row in rows or ()]
    if not found and bad:
        raise _NoAnswer(bad[0])
    if not found:
        raise HttpFailed("name", f"the name {name} has no addresses")
    return found
