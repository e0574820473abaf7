"""How a request of a guest ends when there is no answer for it."""

from __future__ import annotations

from typing import Any

from husk.errors import HuskError


class HttpError(HuskError):
    """A request got no answer.

    rule: a word for the rule or the step that ended it. message: what was wrong, where, what to do.
    Both may be shown to the guest: there is nothing in them that it could not find out by asking.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.rule}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rule, self.message)


class HttpRefused(HttpError):
    """A rule of the host refused the request, or what came back.

    Rules: "url", "origin", "method", "header", "body" (the request); "address" (where its name
    leads); "redirect", "head size", "body size", "wire size" (the answer); "count", "time",
    "cancelled".
    """


class HttpFailed(HttpError):
    """The network or the server failed.

    Steps: "name", "connect", "tls", "send", "receive", "protocol", "coding".
    """
