"""Exceptions: what the library refuses (Error, by status) and how calls end (CallEnded)."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from husk._native import ffi, lib
from husk.backtrace import Backtrace

if TYPE_CHECKING:
    from husk.backtrace import Frame
    from husk.instance import Sandbox
    from husk.tags import Tag
    from husk.values import FuncType


def _text(pointer: Any) -> str:
    """A NUL-terminated text of the library."""
    return str(ffi.string(pointer).decode("utf-8", "replace"))


class HuskError(Exception):
    """The base of all exceptions of this package."""


# ---- Statuses ----


class Error(HuskError):
    """The library refused to do something, or could not.

    status: the number, -1 to -20. name: "HUSK_E_…". message: what was wrong, where, what to do.
    sys_errno: errno of the system call that failed, or 0. offset: the byte in the WebAssembly or
    the image where the error is, or None.
    """

    status: int = 0

    def __init__(self, message: str, *, sys_errno: int = 0, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sys_errno = sys_errno
        self.offset = offset

    def __str__(self) -> str:
        return self.message

    @property
    def name(self) -> str:
        """The name of the status: "HUSK_E_INVAL", …."""
        return _text(lib.husk_status_name(self.status))

    @property
    def text(self) -> str:
        """What the status means, in a few words: "invalid argument", …."""
        return _text(lib.husk_status_text(self.status))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_remade, (type(self), self.message, self.sys_errno, self.offset))


def _remade(kind: type[Error], message: str, sys_errno: int, offset: int | None) -> Error:
    return kind(message, sys_errno=sys_errno, offset=offset)


class InvalidArgumentError(Error, ValueError):
    """An argument is invalid."""

    status = lib.HUSK_E_INVAL


class OutOfMemoryError(Error, MemoryError):
    """The host's memory is used up."""

    status = lib.HUSK_E_NOMEM


class SystemCallError(Error, OSError):
    """A system call failed; `errno` says how."""

    status = lib.HUSK_E_SYS

    def __init__(self, message: str, *, sys_errno: int = 0, offset: int | None = None) -> None:
        super().__init__(message, sys_errno=sys_errno, offset=offset)
        self.errno = sys_errno or None
        self.strerror = os.strerror(sys_errno) if sys_errno else message


class NoHypervisorError(SystemCallError):
    """There is no usable /dev/kvm; the message says why, and what to do."""

    status = lib.HUSK_E_NO_HYPERVISOR


class HypervisorLacksError(Error):
    """The kernel's KVM lacks something that is needed."""

    status = lib.HUSK_E_HYPERVISOR_CAP


class BadWasmError(Error, ValueError):
    """The bytes are no WebAssembly module; `offset` says where."""

    status = lib.HUSK_E_BAD_WASM


class InvalidWasmError(Error, ValueError):
    """The module does not pass validation; `offset` says where."""

    status = lib.HUSK_E_INVALID_WASM


class UnsupportedError(Error, NotImplementedError):
    """The module, the image or the kernel asks for something that is not supported."""

    status = lib.HUSK_E_UNSUPPORTED


class LimitError(Error):
    """A limit or a bound was exceeded."""

    status = lib.HUSK_E_LIMIT


class BadImageError(Error, ValueError):
    """The file or the bytes are no image, or a damaged one."""

    status = lib.HUSK_E_BAD_IMAGE


class ImageVersionError(Error, ValueError):
    """The image is of another version of Husk: compile it again."""

    status = lib.HUSK_E_IMAGE_VERSION


class CpuError(Error):
    """This CPU lacks a feature that the image was compiled for."""

    status = lib.HUSK_E_CPU


class LinkError(Error):
    """Imports are missing, or of another type; the message names them."""

    status = lib.HUSK_E_LINK


class NotFoundError(Error, LookupError):
    """There is no export, file or job of this name."""

    status = lib.HUSK_E_NOT_FOUND


class CompilerMissingError(NotFoundError):
    """This package was built without the compiler; the message says what to install."""


class ValueTypeError(Error, TypeError):
    """Values of other types, or another number of values, are wanted."""

    status = lib.HUSK_E_TYPE


class StateError(Error, RuntimeError):
    """Not possible now: a call runs, nothing is loaded, it is closed, or this is a forked child."""

    status = lib.HUSK_E_STATE


class PoisonedError(Error, RuntimeError):
    """The last call was cut off: restore the sandbox, or load something, before the next call."""

    status = lib.HUSK_E_POISONED


class CompilerError(Error):
    """The compiler failed."""

    status = lib.HUSK_E_COMPILER


class OutOfTimeError(Error, TimeoutError):
    """The compiler used up its time."""

    status = lib.HUSK_E_TIMEOUT

    def __init__(self, message: str, *, sys_errno: int = 0, offset: int | None = None) -> None:
        super().__init__(message, sys_errno=sys_errno, offset=offset)
        self.errno = None
        self.strerror = message


class GuestError(Error):
    """The guest returned something unusable, such as an address outside of its memory."""

    status = lib.HUSK_E_GUEST


CompilerMissing = CompilerMissingError

_BY_STATUS: dict[int, type[Error]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError,
        OutOfMemoryError,
        SystemCallError,
        NoHypervisorError,
        HypervisorLacksError,
        BadWasmError,
        InvalidWasmError,
        UnsupportedError,
        LimitError,
        BadImageError,
        ImageVersionError,
        CpuError,
        LinkError,
        NotFoundError,
        ValueTypeError,
        StateError,
        PoisonedError,
        CompilerError,
        OutOfTimeError,
        GuestError,
    )
}


def error_new() -> Any:
    """A struct husk_error for a function of the library."""
    return ffi.new("struct husk_error *")


def error_of(status: int, err: Any) -> Error:
    """The exception of a status and of the struct that the library filled, which may be None."""
    kind = _BY_STATUS.get(status, Error)
    if err is None or err.status != status:
        return kind(_text(lib.husk_status_text(status)))
    offset = None if err.offset == lib.HUSK_NO_OFFSET else err.offset
    return kind(_text(err.message), sys_errno=err.sys_errno, offset=offset)


def fail(status: int, err: Any = None) -> NoReturn:
    """Raise the exception of a status."""
    raise error_of(status, err)


def check(status: int, err: Any = None) -> None:
    """Raise if a function of the library failed."""
    if status != 0:
        raise error_of(status, err)


# ---- How calls end ----


class CallEnded(HuskError):
    """A call did not return. Restore the sandbox before the next call.

    message: what happened, one line. backtrace: the guest's frames, innermost first (a guest that
    was taken over can fake them). is_poisoned: only a restore, a load or an unload is possible.
    state_is_exact: memories, globals and tables hold all changes from before the end, and no
    others. wall_seconds, cpu_seconds: the time that the call used, if it had a limit of that kind
    or Limits(measure=True), else 0. results: of Sandbox.call_many(), those of the calls before it.
    """

    results: Sequence[Any] = ()

    def __init__(
        self,
        message: str = "",
        *,
        backtrace: Sequence[Frame] = (),
        is_poisoned: bool = False,
        state_is_exact: bool = True,
        wall_seconds: float = 0.0,
        cpu_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.backtrace = backtrace if isinstance(backtrace, Backtrace) else Backtrace(backtrace)
        self.is_poisoned = is_poisoned
        self.state_is_exact = state_is_exact
        self.wall_seconds = wall_seconds
        self.cpu_seconds = cpu_seconds

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"    at {frame}" for frame in self.backtrace)])

    def __reduce__(self) -> tuple[Any, ...]:
        return (_ended_again, (type(self), self.message, self.__dict__))


def _ended_again(kind: type[CallEnded], message: str, fields: dict[str, Any]) -> CallEnded:
    """For pickle and copy: kinds have different arguments."""
    ended = kind.__new__(kind, message)
    CallEnded.__init__(ended, message)
    ended.__dict__.update(fields)
    return ended


class TrapKind(enum.IntEnum):
    """Why a guest trapped."""

    UNREACHABLE = lib.HUSK_TRAP_UNREACHABLE
    MEMORY_OUT_OF_BOUNDS = lib.HUSK_TRAP_MEMORY_OUT_OF_BOUNDS
    TABLE_OUT_OF_BOUNDS = lib.HUSK_TRAP_TABLE_OUT_OF_BOUNDS
    UNDEFINED_ELEMENT = lib.HUSK_TRAP_UNDEFINED_ELEMENT
    UNINITIALIZED_ELEMENT = lib.HUSK_TRAP_UNINITIALIZED_ELEMENT
    INDIRECT_CALL_TYPE_MISMATCH = lib.HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH
    INTEGER_DIVIDE_BY_ZERO = lib.HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO
    INTEGER_OVERFLOW = lib.HUSK_TRAP_INTEGER_OVERFLOW
    INVALID_CONVERSION_TO_INTEGER = lib.HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER
    CALL_STACK_EXHAUSTED = lib.HUSK_TRAP_CALL_STACK_EXHAUSTED
    HOST_FUNCTION = lib.HUSK_TRAP_HOST_FUNCTION
    NULL_FUNCTION_REFERENCE = lib.HUSK_TRAP_NULL_FUNCTION_REFERENCE
    NULL_REFERENCE = lib.HUSK_TRAP_NULL_REFERENCE
    LINK = lib.HUSK_TRAP_LINK
    NULL_EXCEPTION_REFERENCE = lib.HUSK_TRAP_NULL_EXCEPTION_REFERENCE
    EXCEPTION_REFERENCES = lib.HUSK_TRAP_EXCEPTION_REFERENCES
    UNALIGNED_ATOMIC = lib.HUSK_TRAP_UNALIGNED_ATOMIC
    EXPECTED_SHARED_MEMORY = lib.HUSK_TRAP_EXPECTED_SHARED_MEMORY


class Trap(CallEnded):
    """The guest trapped. A host function may raise it, too, to end the guest's call so.

    trap: its kind.
    """

    trap: TrapKind = TrapKind.HOST_FUNCTION


class Exited(CallEnded):
    """The guest ended its program (proc_exit). A host function may raise it, too.

    code: the exit code.
    """

    def __init__(self, code: int = 0, message: str = "", **fields: Any) -> None:
        super().__init__(message or f"the guest exited with {code}", **fields)
        self.code = code


class DeadlineExceeded(CallEnded, TimeoutError):
    """A limit of time passed. limit: "wall", "cpu" or "wait" (husk.Limits)."""

    limit: str = "wall"


class Interrupted(CallEnded):
    """The call was ended by Sandbox.interrupt(), or by Cancel.cancel()."""


class GuestViolation(CallEnded):
    """The guest's code did what no compiled module does. The sandbox is poisoned."""


class GuestException(CallEnded):
    """An exception of WebAssembly that nobody caught. A host function throws one by raising this.

    tag: a husk.Tag. values: the exception's values.
    """

    def __init__(
        self, tag: Tag, values: Sequence[Any] = (), message: str = "", **fields: Any
    ) -> None:
        super().__init__(message or f"exception {tag}", **fields)
        self.tag = tag
        self.values = tuple(values)


class Pending(HuskError):
    """The call has not ended: a host function has no answer yet. See Sandbox.resume().

    module, name: the host function's import; the name is "" if a function of WASI waits for
    standard input. args_of_call: what the guest gave it; () in a snapshot that was opened. type:
    the host function's. sandbox: where the call is pending. results: of Sandbox.call_many(), those
    of the calls before it.
    """

    results: Sequence[Any] = ()

    def __init__(
        self,
        sandbox: Sandbox,
        module: str,
        name: str,
        args: tuple[Any, ...],
        functype: FuncType,
    ) -> None:
        super().__init__(f"{module}.{name} has no answer yet")
        self.sandbox = sandbox
        self.module = module
        self.name = name
        self.args_of_call = args
        self.type = functype

    def __reduce__(self) -> tuple[Any, ...]:
        made_of = (self.sandbox, self.module, self.name, self.args_of_call, self.type)
        return (type(self), made_of, self.__dict__)
