"""URLs, read so strictly that no two readers can differ on them.

A guest's URL, a rule's and a redirect's are all read here. What is sent and where it is sent come
from the parts found here, never from the text again. Deliberately not urllib.parse or a library's:
they accept backslashes, spaces, userinfo, odd numbers or a second "@", each in its own way, and a
rule that was checked by one reader and obeyed by another is a hole. Whatever RFC 3986 does not
allow is refused; international names must be in punycode.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from husk.sandbox._http._errors import HttpRefused

DEFAULT_PORTS = {"http": 80, "https": 443}

_PCT = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|{_PCT})"
# RFC 3986 has no brackets and no "|" in queries, but half the web writes them. There they mean
# nothing.
_QUERY = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]|]|{_PCT})"
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+\-.]*)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._\-]{1,253})"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    rf"(?P<path>(?:/{_PCHAR}*)*)"
    rf"(?P<query>\?{_QUERY}*)?"
    rf"(?:#{_QUERY}*)?"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?")
# As WHATWG has it: a host whose last label is a number is an IPv4 address, or nothing.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request goes. host: a name in lower case, or an address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Url:
    """A URL. target: path and query, as they are sent."""

    origin: Origin
    target: str

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def shown(text: str) -> str:
    """A text for a message: short, and without characters that would change a log or a terminal."""
    return ascii(text if len(text) <= 200 else text[:200] + "…")


def parse(text: object, longest: int) -> Url:
    """The parts of a URL. Raises HttpRefused."""
    if not isinstance(text, str):
        raise HttpRefused("url", f"a URL must be text, not {type(text).__name__}")
    if len(text) > longest:
        raise HttpRefused("url", f"a URL of {len(text)} characters is longer than {longest}")
    found = _URL.fullmatch(text)
    if found is None:
        raise HttpRefused("url", f"{shown(text)} is no URL that is served: {_why(text)}")
    scheme = found["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise HttpRefused(
            "url", f"{shown(text)} is of the scheme {scheme!r}; only http and https are served"
        )
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    if port > 65535:
        raise HttpRefused("url", f"{shown(text)} has the port {port}; ports are from 1 to 65535")
    origin = Origin(scheme, _host(found["host"].lower()), port)
    return Url(origin, (found["path"] or "/") + (found["query"] or ""))


def _why(text: str) -> str:
    """The likely reason why a text is no URL."""
    odd = next((c for c in text if not "!" <= c <= "~"), None)
    if odd is not None and ord(odd) < 128:
        return f"the character {odd!r} must be percent-encoded"
    if odd is not None:
        return f"{odd!a} must be percent-encoded, or in a name be in punycode (xn--…)"
    if "\\" in text:
        return "it has a backslash"
    if "://" not in text:
        return "it must begin with https:// or http://"
    authority = re.split(r"[/?#]", text.split("://", 1)[1], maxsplit=1)[0]
    if "@" in authority:
        return "it has a user or password; use the header Authorization"
    if "%" in authority:
        return "percent signs and zones are not served in hosts"
    if not re.fullmatch(r"(\[.*\]|[^:\[\]]+)(:[1-9][0-9]{0,4})?", authority):
        return f"{authority!r} is not a host with or without a port"
    return "see RFC 3986"


def _host(text: str) -> str:
    """The canonical host. A literal IPv4 address must be canonical: it has one reading then."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise HttpRefused("url", f"{text} is no IPv6 address") from None
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise HttpRefused("url", f"{text} is no IPv4 address of four decimal numbers") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise HttpRefused(
            "url", f"{text} is no host name: labels are of 1 to 63 letters, digits, - and _"
        )
    return text


def join(base: Url, reference: str, longest: int) -> Url:
    """Where a redirect leads: RFC 3986, 5.2. Dot segments are the server's to remove."""
    if re.match(r"[A-Za-z][A-Za-z0-9+\-.]*:", reference):
        return parse(reference, longest)
    if reference.startswith("//"):
        return parse(f"{base.origin.scheme}:{reference}", longest)
    path = base.target.split("?", 1)[0]
    if reference.startswith("/"):
        return parse(f"{base.origin}{reference}", longest)
    if reference.startswith("?"):
        return parse(f"{base.origin}{path}{reference}", longest)
    if reference == "" or reference.startswith("#"):
        return base
    return parse(f"{base.origin}{path.rsplit('/', 1)[0]}/{reference}", longest)
