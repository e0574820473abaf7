"""Whether an address is another machine's, as the kernel's routes have it.

A public address may be this machine's own, and services listen there that a firewall hides from
others; or the broadcast address of its network. Deliberately not by bind() or by the source that
connect() chooses: the first depends on ip_nonlocal_bind, the second misses secondary addresses.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from husk.sandbox._http._addresses import Address

# rtnetlink(7): requests and answers are headers (nlmsghdr, rtmsg), then attributes (rtattr).
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # family, bits of destination, …; the eighth is the route's type
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ERROR = struct.Struct("=i")
_NLM_F_REQUEST, _NLMSG_ERROR = 1, 2
_RTM_NEWROUTE, _RTM_GETROUTE, _RTA_DST = 24, 26, 1
_TYPES = {1: None, 2: "this machine's own", 3: "broadcast", 4: "anycast", 5: "multicast"}


def kind_of_route(address: Address) -> str | None:
    """Why the route to an address is refused; None for one to another machine.

    Raises OSError, with ENETUNREACH and the like where there is no route.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    request = _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(1)  # the kernel answers while it takes the request
        netlink.sendto(request, (0, 0))
        return _read(netlink.recv(1 << 16))


def _read(answer: bytes) -> str | None:
    message = _HEADER.unpack_from(answer)[1]
    if message == _NLMSG_ERROR:
        code = -_ERROR.unpack_from(answer, _HEADER.size)[0]
        raise OSError(code, os.strerror(code))
    if message != _RTM_NEWROUTE:
        raise OSError(errno.EPROTO, f"an answer of the kind {message} to a question for a route")
    route = _ROUTE.unpack_from(answer, _HEADER.size)[7]
    return _TYPES.get(route, f"a route of the kind {route}")
