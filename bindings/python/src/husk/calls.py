"""Calls of a guest's functions: prepared once for each function, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from husk._fast import Fast
from husk._native import ffi, lib
from husk.backtrace import Backtrace, backtrace_new, frames_of
from husk.errors import (
    BadImageError,
    CallEnded,
    DeadlineExceeded,
    Exited,
    GuestException,
    GuestViolation,
    Interrupted,
    Trap,
    TrapKind,
    ValueTypeError,
    check,
    error_new,
    fail,
)
from husk.handles import address, new, py_name
from husk.limits import Limits
from husk.signals import raise_new
from husk.tags import Tag
from husk.values import (
    NUMBERS,
    FuncType,
    cell_getter,
    cell_put,
    cells_new,
    cells_read,
    functype_of,
)

if TYPE_CHECKING:
    from husk.instance import Sandbox

_NULL = ffi.NULL
_RETURNED = lib.HUSK_RETURNED
_LIMITS = {
    lib.HUSK_LIMIT_WALL: "wall",
    lib.HUSK_LIMIT_CPU: "cpu",
    lib.HUSK_LIMIT_WAIT: "wait",
}


class Prepared:
    """A call of one function, with its arrays, which husk._fast uses, too. One call at a time does:
    a function that is called again inside its own call (by a host function) gets another one."""

    __slots__ = (
        "_args",
        "_fast",
        "_gets",
        "_pointer",
        "_puts",
        "_results",
        "call",
        "count",
        "err",
        "func",
        "is_busy",
        "name",
        "outcome",
        "sandbox",
        "type",
    )

    def __init__(self, sandbox: Sandbox, name: str, func: Any, functype: FuncType) -> None:
        self.sandbox = sandbox
        self._pointer = sandbox.pointer
        self.name = name
        self.func = func
        self.type = functype
        self.count = len(functype.params)
        self._args = cells_new(functype.params)
        self._results = cells_new(functype.results)
        self.call = new("husk_call", args_count=self.count, results_count=len(functype.results))
        self.call.args = self._args
        self.call.results = self._results
        self.call.func = func
        self.outcome = new("husk_outcome")
        self.err = error_new()
        self._puts = [
            cell_put(sandbox, self._args, i, kind) for i, kind in enumerate(functype.params)
        ]
        self._gets = [
            cell_getter(sandbox, self._results, i, kind) for i, kind in enumerate(functype.results)
        ]
        self._fast: Fast | None = None
        self.is_busy = False

    def fast(self) -> Fast | None:
        """The same call for husk._fast; None: some values are no numbers."""
        if not all(kind in NUMBERS for kind in self.type.params + self.type.results):
            return None
        structs = (self._pointer, self.call, self.outcome, self.err)
        self._fast = Fast(self, *(address(struct) for struct in structs))
        return self._fast

    @property
    def is_in_use(self) -> bool:
        """Whether a call runs that uses it."""
        return self.is_busy or (self._fast is not None and self._fast.is_busy)

    def finish(self, status: int, limits: Limits | None = None) -> NoReturn:
        """Raise why the call did not return."""
        if status != 0:
            fail(status, self.err)
        self.sandbox.call_ended(self.outcome, self.type.results, limits=limits)

    def run(self, values: Sequence[Any], limits: Limits | None) -> Any:
        """Make the call. The sandbox is locked."""
        sandbox = self.sandbox
        if len(values) != self.count:
            raise ValueTypeError(f"{self.name} takes {self.count} arguments, not {len(values)}")
        for put, value in zip(self._puts, values, strict=True):
            put(value)
        self.call.limits = _NULL if limits is None else limits.struct
        turn = sandbox.turn
        turn.depth += 1
        self.is_busy = True
        try:
            status = lib.husk_call(self._pointer, self.call, self.outcome, self.err)
        finally:
            self.is_busy = False
            turn.depth -= 1
        if status != 0 or self.outcome.kind != _RETURNED:
            self.finish(status, limits)
        return value_of(tuple([get() for get in self._gets]))


def value_of(values: tuple[Any, ...]) -> Any:
    """A function's result as Python's: None, a value, or a tuple of several."""
    if len(values) == 1:
        return values[0]
    return values or None


def _text(outcome: Any) -> str:
    return str(ffi.string(outcome.message).decode("utf-8", "replace"))


def backtrace_of(sandbox: Sandbox) -> Backtrace:
    """The frames where the last call ended, or a pending one waits."""
    backtrace = backtrace_new()
    err = error_new()
    check(lib.husk_sandbox_backtrace(sandbox.pointer, backtrace, err), err)
    return frames_of(backtrace)


def _exception_of(sandbox: Sandbox, text: str, fields: dict[str, Any]) -> GuestException:
    info = new("husk_exception_info")
    err = error_new()
    check(lib.husk_sandbox_exception(sandbox.pointer, info, err), err)
    tag = Tag(
        ffi.new("husk_tag *", info.tag)[0],  # a copy: info.tag lies in info, which goes away
        None if info.module == ffi.NULL else py_name(info.module, info.module_bytes),
        py_name(info.name, info.name_bytes),
        functype_of(info.type),
        info.tag_idx,
    )
    values = cells_read(sandbox, info.values, info.values_count)
    return GuestException(tag, values, text, **fields)


def _ended(sandbox: Sandbox, outcome: Any) -> CallEnded:
    """The exception of a call that did not return."""
    kind = outcome.kind
    text = _text(outcome)
    fields: dict[str, Any] = {
        "is_poisoned": outcome.is_poisoned,
        "state_is_exact": outcome.state_is_exact,
        "wall_seconds": outcome.wall_ns / 1e9,
        "cpu_seconds": outcome.cpu_ns / 1e9,
    }
    if kind == lib.HUSK_EXITED:
        return Exited(outcome.exit_code, text, **fields)
    try:
        fields["backtrace"] = backtrace_of(sandbox)
    except BadImageError:  # its rows are bad: that must not hide how the call ended
        fields["backtrace"] = Backtrace()
    if kind == lib.HUSK_THREW:
        return _exception_of(sandbox, text, fields)
    if kind == lib.HUSK_TRAPPED:
        trap = Trap(text, **fields)
        trap.trap = TrapKind(outcome.trap)
        return trap
    if kind == lib.HUSK_DEADLINE:
        deadline = DeadlineExceeded(text, **fields)
        deadline.limit = _LIMITS.get(outcome.limit, "wall")
        return deadline
    return (Interrupted if kind == lib.HUSK_INTERRUPTED else GuestViolation)(text, **fields)


def raise_ended(sandbox: Sandbox, outcome: Any, raised: BaseException | None) -> NoReturn:
    """Raise how a call ended. raised: what a host function raised, which ended it."""
    raise_new(sandbox.depth, raised)
    is_host_failure = (
        outcome.kind == lib.HUSK_TRAPPED and outcome.trap == lib.HUSK_TRAP_HOST_FUNCTION
    )
    if raised is not None and (is_host_failure or not isinstance(raised, Exception)):
        try:
            raise raised
        finally:
            raised = None
    raise _ended(sandbox, outcome) from raised
