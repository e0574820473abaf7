"""The allow list: origins, and the methods that may be used there."""

from __future__ import annotations

from collections.abc import Iterable

from husk.sandbox._http import _url
from husk.sandbox._http._errors import HttpRefused

# CONNECT makes tunnels, TRACE shows credentials, and others are not HTTP's own.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RULES_MAX = 1024


def method_of(text: object) -> str:
    """A method's name, in upper case. Raises HttpRefused."""
    upper = text.upper() if isinstance(text, str) and text.isascii() else ""
    if upper not in METHODS:
        raise HttpRefused(
            "method", f"the method {text!a:.100} is not served: one of {', '.join(METHODS)}"
        )
    return upper


class Rules:
    """Origins that are allowed, each with its methods."""

    def __init__(self) -> None:
        self._methods: dict[_url.Origin, frozenset[str]] = {}

    def allow(self, target: str, methods: Iterable[str] | None, longest: int) -> None:
        """Allow an origin. Raises ValueError, TypeError."""
        try:
            url = _url.parse(target, longest)
            if isinstance(methods, str):
                raise TypeError(f"methods must be a list of names, not the text {methods!r}")
            names = frozenset(METHODS if methods is None else map(method_of, methods))
        except HttpRefused as error:
            raise ValueError(f"allow_domain: {error.message}") from None
        if url.target != "/" or any(mark in target for mark in "?#"):
            raise ValueError(
                f"allow_domain: {target!r} has a path or query: rules are for whole origins, "
                f"here {str(url.origin)!r}"
            )
        if url.origin not in self._methods and len(self._methods) >= RULES_MAX:
            raise ValueError(f"allow_domain: there are {RULES_MAX} rules already")
        self._methods[url.origin] = self._methods.get(url.origin, frozenset()) | names

    def check(self, origin: _url.Origin, method: str) -> None:
        """Refuse what no rule allows. Raises HttpRefused."""
        methods = self._methods.get(origin)
        if methods is None:
            raise HttpRefused("origin", f"{origin} is not in the allow list{self._near(origin)}")
        if method not in methods:
            allowed = ", ".join(name for name in METHODS if name in methods) or "none"
            raise HttpRefused("method", f"{method} is not allowed for {origin}; allowed: {allowed}")

    def _near(self, origin: _url.Origin) -> str:
        """A hint for those who mistook the scheme or the port."""
        near = sorted(str(known) for known in self._methods if known.host == origin.host)
        return f" (for this host: {', '.join(near[:4])})" if near else ""

    @property
    def origins(self) -> dict[str, list[str]]:
        """What is allowed, to show it."""
        return {
            str(origin): [name for name in METHODS if name in methods]
            for origin, methods in self._methods.items()
        }
