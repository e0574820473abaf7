"""How a request reaches the guest of _wasi_python.py, and what the guest asks for meanwhile.

The guest has an inbox: a range of its memory, whose address the snapshot's note says. A request is
laid out there, and one call of `turn` runs it:

    32 bytes for the random generators
    4 numbers of 4 bytes: count of the options, of the code, of the files' bytes; flags
    the options (JSON; none without files), the code (UTF-8), the files' bytes

If that is more than the inbox has, only the first two are there: the guest makes room and fetches
the rest. The guest asks through the module's import `host.call`, with a range of its memory that
has the question and gets the answer: _wasi_python_guest.py has that side. The code that the guest
runs can ask anything, so the host trusts nothing in it.
"""

from __future__ import annotations

import json
import struct
import threading
from typing import TYPE_CHECKING, Any

from husk.errors import LimitError, StateError
from husk.imports import Caller, Imports
from husk.sandbox._channel import RequestChannel
from husk.values import I32
from husk.wasi import Callback, Dir, Wasi

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.instance import Sandbox
    from husk.sandbox._interpreter import Progress, Request

INBOX_BYTES = 64 << 10
OUTBOX_BYTES = 8 << 10
MESSAGE_MAX = 64 << 20
"""Bytes of a question. Whoever answers has limits of its own, below this one."""
FILE_MAX = 256 << 20
"""Bytes of a file that the guest gives."""

_IS_SEEDED, _IS_FETCHED, _IS_LIVE = 1, 2, 4
_HAS_NO_MEMORY = 256  # in what `turn` returns
_HEAD = struct.Struct("<32s4I")
_QUESTION = struct.Struct("<cI")
_COUNT = struct.Struct("<I")

_ANSWERED, _FAULT = 0, -2  # what the module's import returns; the guest raises for the second


class Channel(RequestChannel):
    """Joins the sandbox of one set of imports with its request."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()
        self.inbox = 0
        """Its address, told by a guest that is being prepared."""
        self.progress: Progress | None = None
        """Gets what a guest that is being prepared imports."""
        self._body = b""  # of a request that the guest fetches
        self._rest = b""  # of an answer without room
        self._file: tuple[str, bytearray] | None = None  # that the guest sends

    # ---- Requests ----

    def begin(self, code: str, request: Request) -> bytes:
        """Lay a request out. Returns the bytes for the inbox. After it, end() must be called."""
        source = code.encode("utf-8", "surrogatepass")
        options = files = b""
        if request.files or request.output is not None:
            rows = [[f"/input/{name}", len(data)] for name, data in request.files.items()]
            options = json.dumps({"files": rows, "output": request.output is not None}).encode()
            files = b"".join(request.files.values())
        body = b"".join((options, source, files))
        if len(body) >= 1 << 31:
            raise LimitError(f"code and files have {len(body)} bytes; 2 GiB are the most")
        is_small = _HEAD.size + len(body) <= INBOX_BYTES
        flags = (0 if request.seed is None else _IS_SEEDED) | (0 if is_small else _IS_FETCHED)
        if request.is_live:
            flags |= _IS_LIVE
        head = _HEAD.pack(
            request.seed or b"",
            len(options),
            len(source),
            len(files),
            flags,
        )
        if not self._turn.acquire(blocking=False):
            raise StateError("a request runs already in a sandbox with these imports")
        self._request, self._body = request, b"" if is_small else body
        return head + body if is_small else head

    def end(self) -> None:
        """The request is over, however it ended."""
        self._request, self._body, self._rest, self._file = None, b"", b"", None
        self._turn.release()

    def finish(self, returned: int) -> int:
        """The guest has sent everything. Returns the exit status."""
        self._end_file()
        if self._request is not None:
            self._request.memory_ran_out = bool(returned & _HAS_NO_MEMORY)
        return returned & 0xFF

    # ---- Questions ----

    def call(self, caller: Caller, address: int, count: int, *_answers: int) -> Any:
        """Serve `host.call`. The import's last two arguments say where an allocated answer would
        go; an empty one leaves both as they are, which is zero."""
        address, count = address & 0xFFFFFFFF, count & 0xFFFFFFFF
        memory = caller.memory
        try:
            kind = memory.read(address, 1)
            if kind in (b"t", b"f", b"d"):
                data = self._question(caller, address, count)
                if kind == b"t":
                    return self._tool(caller.sandbox, address, count, data)
                answer = self._name(data) if kind == b"f" else self._piece(data)
            elif kind == b"i" and self._request is None:
                self.inbox, answer = address, b""
            elif kind == b"p" and self.progress is not None:
                what, _zero, part = self._question(caller, address, count).partition(b"\0")
                self.progress(what.decode(), float(part))
                answer = b""
            elif kind == b"m":
                answer, self._rest = self._rest, b""
            elif kind == b"r":
                memory.write(address, self._body[:count])
                self._body = b""
                return _ANSWERED
            else:
                return _FAULT
            self._answer(caller.sandbox, address, count, answer)
        except LimitError:  # a range outside of the memory
            return _FAULT
        return _ANSWERED

    def _question(self, caller: Caller, address: int, room: int) -> bytes:
        _kind, count = _QUESTION.unpack(caller.memory.read(address, _QUESTION.size))
        if count > min(room - _QUESTION.size, MESSAGE_MAX):
            raise LimitError(f"a question of {count} bytes")
        return caller.memory.read(address + _QUESTION.size, count)

    def _answer(self, sandbox: Sandbox, address: int, room: int, answer: bytes) -> None:
        whole = _COUNT.pack(len(answer)) + answer
        if len(whole) > room:
            self._rest, whole = answer, whole[: _COUNT.size]
        sandbox.memory.write(address, whole)

    def _tool(self, sandbox: Sandbox, address: int, room: int, question: bytes) -> Any:
        def answer(to: Sandbox, said: bytes) -> int:
            self._answer(to, address, room, said)
            return _ANSWERED

        return self._call_tool(sandbox, question, answer, _FAULT)

    # ---- Files of the guest's ----

    def _name(self, data: bytes) -> bytes:
        self._end_file()
        if self._request is not None and self._request.output is not None:
            self._file = (data.decode("utf-8", "surrogateescape"), bytearray())
        return b""

    def _piece(self, data: bytes) -> bytes:
        if self._file is not None:
            content = self._file[1]
            if len(content) + len(data) > FILE_MAX:
                raise LimitError(f"a file of more than {FILE_MAX} bytes")
            content += data
        return b""

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None and self._request is not None and self._request.output is not None:
            self._request.output(file[0], bytes(file[1]))


# The guest's files: a private root, which restores bring back, and the library of the package.
_ENVIRONMENT = {"HOME": "/tmp/home", "TMPDIR": "/tmp", "PYTHONTZPATH": ""}


def imports_with(
    channel: Channel, library: list[Dir], files_max: int, engine: Engine | None
) -> Imports:
    """The imports of a sandbox that serves one request at a time, by this channel."""
    imports = Imports(engine)
    imports.func(
        "host", "call", channel.call, params=[I32, I32, I32, I32], results=[I32], caller=True
    )
    imports.wasi(
        Wasi(
            args=["/usr/local/bin/python.wasm"],
            env=_ENVIRONMENT,
            stdin=b"",
            stdout=Callback(write=channel.stdout),
            stderr=Callback(write=channel.stderr),
            dirs=[Dir("/", kind="mem", writable=True), *library],
            private_max_bytes=files_max,
        )
    )
    imports.keep(channel)
    return imports
