"""How a request reaches the guest of _standard.py, and what the guest asks for meanwhile.

The guest stands at `fd_advise` of standard input, with the address of a range of its memory. A
request is written there, and the host function returns 0. A request:

    1 byte of flags, 7 unused; 8 bytes: count of the code; 32 for the random generators; the code

If there is no room, its size is written alone, and the function returns an error: the guest makes
room and fetches it. The code that the guest runs can ask anything, so nothing in it is trusted.
"""

from __future__ import annotations

import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

from husk.errors import GuestViolation, LimitError, StateError
from husk.imports import PENDING, Caller, Imports
from husk.sandbox._channel import RequestChannel
from husk.sandbox._input import folder_for
from husk.values import I32, I64
from husk.wasi import Callback, Dir, Wasi

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.instance import Sandbox
    from husk.sandbox._interpreter import Request

QUESTION_MAX = 64 << 20
"""Bytes of what a guest asks. Whoever answers has limits of its own, below this one."""

NEXT, TOOL, FETCH, FILE = 1, 2, 3, 4
_SEEDED, _WANTS_FILES, _CLEARS, _IS_LIVE = 1, 2, 4, 8
_HEAD = struct.Struct("<B7xQ32s")
_COUNT = struct.Struct("<Q")
_DONE, _NO_ROOM, _BAD_FILE = 0, 48, 8  # ENOMEM, EBADF of WASI
_ENVIRONMENT = {"HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}


class Channel(RequestChannel):
    """Joins the sandbox of one set of imports with its request."""

    def __init__(self) -> None:
        super().__init__()
        self.input = folder_for(self)
        """The host's folder that is the guest's /input."""
        self.answer = 0
        """Of the last request: its exit code, and a bit if memory ran out."""
        self.errors: list[bytes] = []  # output while no request runs: of a guest that is prepared
        self._rest = b""
        self._has_run = False

    # ---- Requests ----

    def begin(self, sandbox: Sandbox, code: str, request: Request, args: tuple[int, ...]) -> int:
        """Lay a request out in the guest's memory. args: of the pending call, whose answer this
        returns."""
        if self._request is not None:
            raise StateError("a request runs already in the sandbox")
        source = code.encode("utf-8", "surrogatepass")
        flags = 0 if request.seed is None else _SEEDED
        flags |= _IS_LIVE if request.is_live else 0
        if request.output is not None:
            flags |= _WANTS_FILES | _CLEARS
        body = _HEAD.pack(flags, len(source), request.seed or b"") + source
        address, room = _range(*args[1:3])
        answer, self._rest = _DONE, b""
        if len(body) > room:
            self._rest, body, answer = body, _COUNT.pack(len(body)), _NO_ROOM
        try:
            sandbox.memory.write(address, body)
        except LimitError as error:
            raise GuestViolation(f"the guest has no place for its next request: {error}") from None
        self._write_input(request)
        self._request = request
        return answer

    def end(self) -> None:
        """The request is over, however it ended."""
        self._request, self._rest = None, b""

    def _write_input(self, request: Request) -> None:
        """The guest may read the folder, and nothing else: no name in it comes from a guest."""
        if self._has_run:
            for entry in os.scandir(self.input):
                (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
        self._has_run = bool(request.files)
        for name, content in request.files.items():
            file = self.input / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    # ---- Streams ----

    def stderr(self, data: bytes) -> None:
        """Pass output on, or keep it."""
        super().stderr(data)
        if self._request is None and len(self.errors) < 1000:
            self.errors.append(data)

    # ---- Questions ----

    def advise(self, caller: Caller, fd: int, offset: int, count: int, _advice: int) -> Any:
        """Serve `fd_advise`."""
        op = offset >> 32
        if fd != 0 or op == 0:
            return _DONE if fd >= 0 else _BAD_FILE  # real advice, which nobody must take
        address, room = _range(offset, count)
        try:
            if op & 0xFF == NEXT:
                self.answer = op >> 8
                return PENDING
            if op == TOOL:
                return self._tool(caller.sandbox, address, room)
            if op == FETCH:
                if not self._rest or len(self._rest) > room:
                    return _NO_ROOM
                caller.memory.write(address, self._rest)
                self._rest = b""
                return _DONE
            if op == FILE and self._request is not None and self._request.output is not None:
                head, body = _question(caller.sandbox, address, room)
                name = head.decode("utf-8", "surrogateescape")
                self._request.output(name, caller.sandbox.memory.read(*body))
                return _DONE
        except LimitError:  # a range outside of the memory
            pass
        return _BAD_FILE

    def _tool(self, sandbox: Sandbox, address: int, room: int) -> Any:
        question, _body = _question(sandbox, address, room)

        def answer(to: Sandbox, said: bytes) -> int:
            return self._answer(to, address, room, said)

        return self._call_tool(sandbox, question, answer, _BAD_FILE)

    def _answer(self, sandbox: Sandbox, address: int, room: int, answer: bytes) -> int:
        whole = _COUNT.pack(len(answer)) + answer
        if len(whole) > room:
            self._rest, whole = whole, whole[: _COUNT.size]
            sandbox.memory.write(address, whole)
            return _NO_ROOM
        sandbox.memory.write(address, whole)
        return _DONE


def _range(offset: int, count: int) -> tuple[int, int]:
    return offset & 0xFFFFFFFF, count & 0xFFFFFFFF


def _question(sandbox: Sandbox, address: int, room: int) -> tuple[bytes, tuple[int, int]]:
    """The question at an address, and where what follows it is."""
    if room < _COUNT.size:
        raise LimitError("a question without its count")
    (count,) = _COUNT.unpack(sandbox.memory.read(address, _COUNT.size))
    if count > min(room - _COUNT.size, QUESTION_MAX):
        raise LimitError(f"a question of {count} bytes")
    begin = address + _COUNT.size
    return sandbox.memory.read(begin, count), (begin + count, room - _COUNT.size - count)


def imports_with(
    channel: Channel, args: tuple[str, ...], files_max: int, engine: Engine | None
) -> Imports:
    """The imports of a sandbox that serves one request at a time, by this channel."""
    imports = Imports(engine)
    imports.keep(channel)
    imports.wasi(
        Wasi(
            args=args,
            env=_ENVIRONMENT,
            stdin=b"",
            stdout=Callback(write=channel.stdout),
            stderr=Callback(write=channel.stderr),
            # A root, because os.makedirs("/output", exist_ok=True) begins at "/".
            dirs=[Dir("/", kind="mem", writable=True), Dir("/input", channel.input)],
            private_max_bytes=files_max,
        )
    )
    # In the place of WASI's own, which the line above defined.
    types = [I32, I64, I64, I32]
    imports.func(
        "wasi_snapshot_preview1",
        "fd_advise",
        channel.advise,
        params=types,
        results=[I32],
        caller=True,
    )
    return imports
