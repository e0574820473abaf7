"""The functions of the library that have to do with WASI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from husk import _wasi_streams as _wasi_streams  # its callbacks are defined when it is imported
from husk._native import ffi, lib
from husk._wasi_structs import make_options, make_request
from husk.errors import check, error_new
from husk.handles import new
from husk.wasi import (
    UNCHANGED,
    FixedClock,
    HostClock,
    Output,
    Stream,
    Unchanged,
    Wasi,
)

_OUTPUTS = {"stdout": 1, "stderr": 2, 1: 1, 2: 2}


def imports_wasi(imports: Any, wasi: Wasi) -> list[Any]:
    """Define WASI in a husk_imports *. Returns what must live as long as its sandboxes."""
    if not isinstance(wasi, Wasi):
        raise TypeError(f"a husk.Wasi is wanted, not {type(wasi).__name__}")
    keep: list[Any] = []
    err = error_new()
    check(lib.husk_imports_wasi(imports, make_options(wasi, keep), err), err)
    return keep


def sandbox_set_wasi(sandbox: Any, parts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Replace parts of what the guest of a husk_sandbox * gets. Returns what must live as long as
    each of them."""
    kept: dict[str, list[Any]] = {}
    err = error_new()
    check(lib.husk_sandbox_set_wasi(sandbox, make_request(parts, kept), err), err)
    return kept


def sandbox_wasi_output(sandbox: Any, stream: int | str) -> Output:
    """What the guest of a husk_sandbox * wrote to a stream that is a Buffer."""
    if isinstance(stream, bool) or stream not in _OUTPUTS:
        raise ValueError(f'the stream must be "stdout", "stderr", 1 or 2, not {stream!r}')
    output, err = new("husk_wasi_output"), error_new()
    check(lib.husk_sandbox_wasi_output(sandbox, _OUTPUTS[stream], output, err), err)
    data = bytes(ffi.buffer(output.bytes, output.count)) if output.count else b""
    return Output(data, output.has_lost)


class WasiOfSandbox:
    """The part of husk.Sandbox that has to do with WASI."""

    if TYPE_CHECKING:

        def locked(self) -> AbstractContextManager[Any]: ...

    _wasi_kept: dict[str, list[Any]]

    def set_wasi(
        self,
        *,
        stdin: Stream | Unchanged = UNCHANGED,
        stdout: Stream | Unchanged = UNCHANGED,
        stderr: Stream | Unchanged = UNCHANGED,
        args: Sequence[str | bytes] | Unchanged = UNCHANGED,
        env: Mapping[str, str] | Iterable[str | bytes] | Unchanged = UNCHANGED,
        clock: HostClock | FixedClock | Unchanged = UNCHANGED,
        random_seed: int | Unchanged | None = UNCHANGED,
    ) -> None:
        """Replace parts of what the guest gets: all that is given or, on failure, none.

        They are as in husk.Wasi, and last until they are replaced, or until something is loaded or
        unloaded. A restore keeps them; it does not rewind a stream, and does not empty a Buffer.
        Possible between calls, and while a call is pending.

        Raises NotFoundError (the module imports nothing of WASI), StateError (in a call; nothing is
        loaded), InvalidArgumentError, LimitError, OutOfMemoryError.
        """
        parts = {
            "stdin": stdin,
            "stdout": stdout,
            "stderr": stderr,
            "args": args,
            "env": env,
            "clock": clock,
            "random_seed": random_seed,
        }
        with self.locked() as pointer:
            self._wasi_kept.update(sandbox_set_wasi(pointer, parts))

    def wasi_output(self, stream: int | str = "stdout") -> Output:
        """What the guest wrote to "stdout" (1) or "stderr" (2), which is a husk.Buffer.

        The output grows until the stream is replaced. Raises InvalidArgumentError (the stream is no
        Buffer), NotFoundError, StateError.
        """
        with self.locked() as pointer:
            return sandbox_wasi_output(pointer, stream)
