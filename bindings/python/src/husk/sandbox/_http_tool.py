"""http_get() and http_post() of guests: tools over the gate of husk.sandbox._http."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from husk.sandbox._tools import Tools

if TYPE_CHECKING:
    from husk.limits import Cancel


class _Ends:
    """Whether requests of a run must end: it was cancelled, or it is over and nobody waits."""

    def __init__(self, cancel: Cancel | None) -> None:
        self._cancel = cancel
        self.is_over = False

    @property
    def is_cancelled(self) -> bool:
        return self.is_over or (self._cancel is not None and self._cancel.is_cancelled)


class Http:
    """The network of one sandbox: nothing, until something is allowed."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._gate: Any = None
        self._deadline: float | None = None
        self._run: Any = None
        self._ends = _Ends(None)

    def allow(self, target: str, methods: Iterable[str] | None) -> None:
        """Allow an origin. The first one makes the gate, which needs its packages."""
        if self._gate is None:
            from husk.sandbox._http import HttpGate  # type: ignore[import-not-found,unused-ignore]

            self._gate = HttpGate()
            self._tools.register("http_get", self._get)
            self._tools.register("http_post", self._post)
        self._gate.allow(target, methods)

    def begin(self, deadline: float | None, cancel: Cancel | None) -> None:
        """A run begins: its number of connections is counted anew."""
        self._deadline = deadline
        self._ends = _Ends(cancel)
        self._run = self._gate.for_run() if self._gate is not None else None

    def end(self) -> None:
        """The run is over, however it ended: what it still asks for on other threads ends."""
        self._ends.is_over = True

    def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        return self._request("GET", url, headers or {}, "")

    def _post(
        self,
        url: str,
        body: str = "",
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        return self._request("POST", url, {"Content-Type": content_type, **(headers or {})}, body)

    def _request(self, method: str, url: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        asked = {"method": method, "url": url, "headers": headers, "body": body.encode()}
        end = time.monotonic() + 60 if self._deadline is None else self._deadline
        answer = self._run.request(asked, end, self._ends)
        content = answer["body"]
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
        return {
            "status": answer["status"],
            "headers": dict(answer["headers"]),
            "body": text,
            "url": answer["url"],
        }
