"""Calls from bytes to bytes, and many calls of one function at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib
from husk.errors import CallEnded, Pending, ValueTypeError, check, error_new
from husk.handles import c_name, new
from husk.limits import Limits
from husk.pending import output_of
from husk.values import FuncType, cells_new, column_read, rows_fill

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from husk.instance import Sandbox


def call_bytes(
    sandbox: Sandbox, name: str, data: Buffer, keeps: bool, limits: Limits | None
) -> bytes:
    """Sandbox.call_bytes()."""
    raw_name = c_name(name)
    text = ffi.new("char[]", raw_name)  # must live as long as the call
    call = new("husk_call", name_bytes=len(raw_name))
    call.name = text
    call.limits = ffi.NULL if limits is None else limits.struct
    output = new("husk_bytes", keeps=keeps)
    outcome = new("husk_outcome")
    err = error_new()
    with memoryview(data) as view, ffi.from_buffer(view) as raw:
        output.input = raw
        output.input_count = view.nbytes
        with sandbox.running() as pointer:
            check(lib.husk_call_bytes(pointer, call, output, outcome, err), err)
            output.input, output.input_count = ffi.NULL, 0
            sandbox.finish(outcome, (), output=output, limits=limits)
    return output_of(output)


class Many:
    """A struct husk_many and its arrays."""

    def __init__(self, functype: FuncType, count: int) -> None:
        self._type = functype
        self.many = new("husk_many", count=count)
        self._args = cells_new(functype.params, count)
        self._results = cells_new(functype.results, count)
        self.call = new(
            "husk_call",
            args_count=len(functype.params) * count,
            results_count=len(functype.results) * count,
        )
        self.call.args = self._args
        self.call.results = self._results

    def fill(self, sandbox: Sandbox, calls: Sequence[Sequence[Any]]) -> None:
        """Set the arguments of all calls."""
        params = self._type.params
        for values in calls:
            if len(values) != len(params):
                raise ValueTypeError(f"each call takes {len(params)} arguments, not {len(values)}")
        rows_fill(sandbox, self._args, params, calls)

    def read(self, sandbox: Sandbox) -> list[Any]:
        """The results of the calls that returned."""
        types, count = self._type.results, self.many.returned
        columns = [column_read(sandbox, self._results, types, i, count) for i in range(len(types))]
        if len(columns) == 1:
            return columns[0]
        return list(zip(*columns, strict=True)) if columns else [None] * count


def call_many(
    sandbox: Sandbox, name: str, calls: Iterable[Sequence[Any]], limits: Limits | None
) -> list[Any]:
    """Sandbox.call_many()."""
    rows = list(calls)
    functype = sandbox.image.func_type(name)
    work = Many(functype, len(rows))
    work.call.func = sandbox.image.func(name)[0]
    work.call.limits = ffi.NULL if limits is None else limits.struct
    outcome = new("husk_outcome")
    err = error_new()
    with sandbox.running() as pointer:
        work.fill(sandbox, rows)
        check(lib.husk_call_many(pointer, work.call, work.many, outcome, err), err)
        try:
            if rows:
                sandbox.finish(outcome, functype.results, limits=limits)
        except (CallEnded, Pending) as ended:
            ended.results = work.read(sandbox)
            raise
        return work.read(sandbox)
