"""What a WASI guest gets: streams, arguments, environment, directories, sockets, clock.

husk.Wasi says how every new sandbox begins (Imports.wasi()). Sandbox.set_wasi() replaces parts of
it between two calls.

A stream is given as

* `None`: closed; the guest gets EBADF.
* `bytes` or `str` (as UTF-8), standard input only: the guest reads them, then the end.
* a file object or a descriptor: the guest has the descriptor itself. The file object is kept; a
  descriptor must stay open as long as the stream is in use. What Python has read ahead from a
  pipe is not there for the guest.
* husk.BUFFER or husk.Buffer, output only: collected for Sandbox.wasi_output().
* a function `read(count) -> bytes` or `write(data) -> int | None`, or husk.Callback.
* a binary file object without a descriptor of the same bytes (`io.BytesIO`, `gzip.open()`): its
  `read` or `write`.
* husk.AWAITED, standard input only: the first function that wants data makes the call pending.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "AWAITED",
    "BUFFER",
    "UNCHANGED",
    "Awaited",
    "Buffer",
    "Callback",
    "Descriptor",
    "Dir",
    "DirKind",
    "FixedClock",
    "HasFileno",
    "HostClock",
    "Listener",
    "Output",
    "Rights",
    "Stream",
    "Unchanged",
    "Wasi",
]


@runtime_checkable
class HasFileno(Protocol):
    """Anything with a descriptor: a file object, a socket."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Rights(enum.IntFlag):
    """What a guest may do with a descriptor of the host. None goes beyond its open mode."""

    READ = 1
    WRITE = 2
    SEEK = 4
    """With one of the above, on a file: seek, read or write at a position; see its size."""
    RESIZE = 8
    """With WRITE: sync; on a file also set its size and times, allocate."""


class Unchanged(enum.Enum):
    """The type of husk.UNCHANGED."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
"""In Sandbox.set_wasi(): that part stays as it is."""


# ---- Streams ----


@dataclass(frozen=True)
class Descriptor:
    """A descriptor of the host, or a file object (which is kept), and the guest's rights.

    Without `rights`: READ for standard input, WRITE for the others.
    """

    file: int | HasFileno
    rights: Rights | None = None


@dataclass(frozen=True)
class Buffer:
    """Collects what the guest writes, up to `limit` bytes (0: 1 MiB).

    At the limit a write is short, and the next one fails in the guest with ENOSPC.
    """

    limit: int = 0


@dataclass(frozen=True)
class Callback:
    """Functions of Python that serve a stream.

    They run on the thread that made the call, under the rules of a host function. `read(count)`
    returns at most `count` bytes; none are the end. `write(data)` takes bytes, and returns how
    many it took (None: all). With 0 the guest gets EPIPE. An exception ends the guest's call, and
    comes out of it. Without a function the guest cannot read, or not write. The functions cannot
    use the sandbox that they serve: StateError.
    """

    read: Callable[[int], bytes] | None = None
    write: Callable[[bytes], int | None] | None = None


class Awaited(enum.Enum):
    """The type of husk.AWAITED."""

    AWAITED = "awaited"


BUFFER = Buffer()
AWAITED = Awaited.AWAITED

Stream: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | str
    | int
    | HasFileno
    | Descriptor
    | Buffer
    | Callback
    | Awaited
    | Callable[[Any], Any]
    | None
)
"""Whatever this file's head lists."""


class Output(bytes):
    """What a guest wrote to a stream that is a husk.Buffer: bytes, and `has_lost`."""

    has_lost: bool
    """A write was cut short, at the limit or for want of memory."""

    def __new__(cls, data: bytes = b"", has_lost: bool = False) -> Output:
        """Make it of bytes."""
        output = super().__new__(cls, data)
        output.has_lost = has_lost
        return output

    def text(self, errors: str = "replace") -> str:
        """Decode UTF-8."""
        return self.decode("utf-8", errors)


# ---- Clock ----


@dataclass(frozen=True)
class HostClock:
    """The host's clocks."""


@dataclass(frozen=True)
class FixedClock:
    """Clocks that move only when they are read, so that runs can be repeated.

    The realtime clock begins at `realtime_ns` (since 1970), and again at each restore. Each
    reading moves all clocks on by `step_ns`. With 0, a guest that waits in a loop for a time to
    come waits for ever. A sleep takes no time.
    """

    realtime_ns: int = 0
    step_ns: int = 0


# ---- Directories, sockets ----


class DirKind(enum.IntEnum):
    """HOST: a directory of the host. COW: one that is only read, below a private layer that gets
    all changes. MEM: a private layer alone, empty at first. A private layer is a part of the
    sandbox's state: a snapshot holds it, a restore brings it back."""

    HOST = 1
    COW = 2
    MEM = 3


@dataclass(frozen=True)
class Dir:
    """A directory of the guest's.

    `host` is a path or a descriptor, which is opened or duplicated when a
    husk.Imports gets it; for `kind="mem"` there is none. `kind` is a
    husk.DirKind or its name. No path and no symbolic link leads out of the directory.
    """

    guest: str
    host: str | os.PathLike[str] | int | HasFileno | None = None
    kind: DirKind | str = DirKind.HOST
    writable: bool = False


@dataclass(frozen=True)
class Listener:
    """A listening socket on which the guest accepts connections, and its rights on each of them.

    The socket is kept as long as a sandbox may use it. Make it non-blocking, so that a guest that
    does not want to wait never does.
    """

    socket: int | HasFileno
    rights: Rights = Rights.READ | Rights.WRITE


@dataclass(frozen=True)
class Wasi:
    """What every new sandbox of a husk.Imports begins with. The default gives nothing.

    `args[0]` is the program's name. `env` is a mapping, or strings "NAME=value".
    `random_seed` makes random numbers that can be repeated (1 to 2**64 - 1); None takes them from
    the kernel. `open_max`: descriptors that the guest may have open (0: 1024).
    `private_max_bytes` and `private_max_entries` limit the private layer of a sandbox (0: 1 GiB,
    1 Mi names).
    """

    args: Sequence[str | bytes] = ()
    env: Mapping[str, str] | Iterable[str | bytes] = ()
    stdin: Stream = None
    stdout: Stream = None
    stderr: Stream = None
    dirs: Sequence[Dir] = ()
    listeners: Sequence[Listener] = ()
    clock: HostClock | FixedClock = HostClock()
    random_seed: int | None = None
    open_max: int = 0
    private_max_bytes: int = 0
    private_max_entries: int = 0
