"""Headers: those that a guest may set, those that a redirect keeps, and those of answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from husk.sandbox._http._errors import HttpFailed, HttpRefused
from husk.sandbox._http._limits import HttpLimits

Headers = list[tuple[str, str]]

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

# Those that say how messages are framed and where they go, which the host says; those that ask
# servers for another protocol or proxies for something; and those by which some servers take one
# method or path for another, which the allow list would not see.
_HOSTS_OWN = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "te", "trailer", "connection"),
        *("keep-alive", "upgrade", "expect", "via", "http2-settings"),
        *("accept-encoding", "content-encoding"),
        *("x-http-method", "x-http-method-override", "x-method-override"),
        *("x-original-url", "x-rewrite-url", "x-forwarded-host", "x-host"),
    )
)
_HOSTS_OWN_PREFIXES = ("proxy-", "sec-", ":")
# What goes on to another origin: nothing that may be a credential, so no X-Api-Key either.
_KEPT_ACROSS_ORIGINS = frozenset(
    (
        *("accept", "accept-language", "cache-control", "content-language", "content-type"),
        *("range", "user-agent"),
    )
)


def of_guest(headers: Any, limits: HttpLimits) -> Headers:
    """The headers of a guest's request, checked: a mapping, or pairs. Raises HttpRefused."""
    pairs = list(_pairs(headers))
    if len(pairs) > limits.request_headers_max:
        message = f"{len(pairs)} headers are more than {limits.request_headers_max}"
        raise HttpRefused("header", message)
    size = 0
    for name, value in pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise HttpRefused("header", "names and values of headers must be texts")
        size += len(name) + len(value)
        if size > limits.request_head_max:
            raise HttpRefused(
                "header", f"the headers are larger than {limits.request_head_max} bytes"
            )
        _check(name, value)
    names = [name.lower() for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise HttpRefused(
            "header", f"the header {twice} is given twice: join its values with a comma"
        )
    return pairs


def _pairs(headers: Any) -> Iterable[tuple[Any, Any]]:
    if headers is None:
        return ()
    if isinstance(headers, Mapping):
        return headers.items()
    if isinstance(headers, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in headers
    ):
        return ((pair[0], pair[1]) for pair in headers)
    raise HttpRefused(
        "header", "headers must be a mapping of names to values, or a list of such pairs"
    )


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise HttpRefused("header", f"{name!a:.80} is no name of a header")
    # CGI and its kin make "_" of "-", so both are one to some server.
    plain = name.lower().replace("_", "-")
    if plain in _HOSTS_OWN or plain.startswith(_HOSTS_OWN_PREFIXES):
        raise HttpRefused("header", f"the header {name} is not the guest's to set")
    if not _VALUE.fullmatch(value):
        raise HttpRefused(
            "header",
            f"the value of the header {name} has a line break, a control character, a character "
            "beyond U+00FF, or a space at an end",
        )


def across_origins(headers: Headers) -> Headers:
    """What a redirect to another origin keeps."""
    return [(name, value) for name, value in headers if name.lower() in _KEPT_ACROSS_ORIGINS]


def without_body(headers: Headers) -> Headers:
    """What a redirect keeps that becomes a GET: nothing that describes a body."""
    return [(name, value) for name, value in headers if not name.lower().startswith("content-")]


def of_answer(raw: Iterable[tuple[bytes, bytes]], limits: HttpLimits) -> Headers:
    """An answer's headers, names in lower case. Raises HttpRefused, HttpFailed."""
    headers = [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in raw]
    if len(headers) > limits.headers_max:
        raise HttpRefused("head size", f"the answer has more than {limits.headers_max} headers")
    names = {name for name, _ in headers}
    if "transfer-encoding" in names and "content-length" in names:
        raise HttpFailed("protocol", "the answer has both Content-Length and Transfer-Encoding")
    return headers


def values(headers: Headers, wanted: str) -> list[str]:
    """All values of a header."""
    return [value for name, value in headers if name == wanted]


def joined(headers: Headers) -> dict[str, str]:
    """Values by name. Several are joined by commas, those of Set-Cookie by line breaks."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {
        name: ("\n" if name == "set-cookie" else ", ").join(values)
        for name, values in found.items()
    }
