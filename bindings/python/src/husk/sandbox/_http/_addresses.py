"""Which addresses a guest's request may reach: the public internet's, and no others.

The table is from IANA's registries of special addresses (IPv4, IPv6) and of IPv6 space, with what
clouds use besides. Deliberately not ipaddress.is_global: it differs between patch releases of
Python, and it looks into no address in an address.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The first row that fits names the kind.
_ROWS_4 = """
0.0.0.0/8           this network
10.0.0.0/8          private
100.64.0.0/10       shared address space
127.0.0.0/8         loopback
169.254.169.254/32  cloud metadata
169.254.0.0/16      link-local
172.16.0.0/12       private
192.0.0.0/24        IETF protocols
192.0.2.0/24        documentation
192.31.196.0/24     AS112
192.52.193.0/24     AMT
192.88.99.0/24      6to4 relays
192.168.0.0/16      private
192.175.48.0/24     AS112
198.18.0.0/15       benchmarking
198.51.100.0/24     documentation
203.0.113.0/24      documentation
168.63.129.16/32    cloud metadata
224.0.0.0/4         multicast
255.255.255.255/32  broadcast
240.0.0.0/4         reserved
"""
_ROWS_6 = """
::/128              unspecified
::1/128             loopback
::ffff:0:0/96       IPv4 in IPv6 (mapped)
::ffff:0:0:0/96     IPv4 in IPv6 (translated)
::/96               IPv4 in IPv6 (compatible)
64:ff9b::/96        IPv4 in IPv6 (NAT64)
64:ff9b:1::/48      IPv4 in IPv6 (NAT64)
100::/64            discard
100:0:0:1::/64      dummy
2001::/32           IPv4 in IPv6 (Teredo)
2001:2::/48         benchmarking
2001:10::/28        ORCHID
2001:20::/28        ORCHID
2001::/23           IETF protocols
2001:db8::/32       documentation
2002::/16           IPv4 in IPv6 (6to4)
2620:4f:8000::/48   AS112
3ffe::/16           6bone
3fff::/20           documentation
5f00::/16           segment routing
fd00:ec2::254/128   cloud metadata
fd20:ce::254/128    cloud metadata
fc00::/7            private
fe80::/10           link-local
fec0::/10           site-local
ff00::/8            multicast
"""


def _table(rows: str) -> list[tuple[Network, str]]:
    pairs = (row.split(maxsplit=1) for row in rows.strip().splitlines())
    return [(ipaddress.ip_network(network), kind) for network, kind in pairs]


_TABLE = {4: _table(_ROWS_4), 6: _table(_ROWS_6)}
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")  # the only IPv6 space that IANA gives to hosts
# The last 64 bits of an ISATAP address are one of these two words, then an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)


def refused_kind(address: Address) -> str | None:
    """Why an address is refused, or None for a public one."""
    for network, kind in _TABLE[address.version]:
        if address in network:
            return kind
    if address.version == 6 and address not in _GLOBAL_6:
        return "not assigned"
    if address.version == 6 and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "IPv4 in IPv6 (ISATAP)"
    return None
