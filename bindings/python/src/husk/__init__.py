"""Husk: run untrusted WebAssembly, every instance in a virtual machine of its own.

import husk

image = husk.compile("add.wasm")
with husk.Sandbox(image) as sandbox:
    print(sandbox.call("add", 2, 3))
"""

import husk._interpreter  # noqa: F401  (first: it refuses some interpreters)

# isort: split
from husk._native import ffi as _ffi
from husk._native import lib as _lib
from husk.backtrace import Frame, name_escape
from husk.compiler import compile, validate
from husk.engine import Engine, HostInfo, default_engine
from husk.errors import (
    BadImageError,
    BadWasmError,
    CallEnded,
    CompilerError,
    CompilerMissing,
    CompilerMissingError,
    CpuError,
    DeadlineExceeded,
    Error,
    Exited,
    GuestError,
    GuestException,
    GuestViolation,
    HuskError,
    HypervisorLacksError,
    ImageVersionError,
    Interrupted,
    InvalidArgumentError,
    InvalidWasmError,
    LimitError,
    LinkError,
    NoHypervisorError,
    NotFoundError,
    OutOfMemoryError,
    OutOfTimeError,
    Pending,
    PoisonedError,
    StateError,
    SystemCallError,
    Trap,
    TrapKind,
    UnsupportedError,
    ValueTypeError,
)
from husk.exports import Exported, Function
from husk.image import Exports, Extern, ExternKind, Image, ImageInfo, Snapshot, Standing
from husk.imports import PENDING, Caller, Imports
from husk.limits import Cancel, Limits
from husk.memory import Global, Memory, Table
from husk.pool import Pool, PoolTimeout
from husk.sandbox import Sandbox
from husk.tags import Tag
from husk.values import (
    EXNREF,
    EXTERNREF,
    F32,
    F64,
    FUNCREF,
    I32,
    I64,
    V128,
    ExnRef,
    FuncRef,
    FuncType,
    Type,
)
from husk.values import Extern as ExternRef

__version__: str = _ffi.string(_lib.husk_version()).decode()

__all__ = [
    "EXNREF",
    "EXTERNREF",
    "F32",
    "F64",
    "FUNCREF",
    "I32",
    "I64",
    "PENDING",
    "V128",
    "BadImageError",
    "BadWasmError",
    "CallEnded",
    "Caller",
    "Cancel",
    "CompilerError",
    "CompilerMissing",
    "CompilerMissingError",
    "CpuError",
    "DeadlineExceeded",
    "Engine",
    "Error",
    "Exited",
    "ExnRef",
    "Exported",
    "Exports",
    "Extern",
    "ExternKind",
    "ExternRef",
    "Frame",
    "FuncRef",
    "FuncType",
    "Function",
    "Global",
    "GuestError",
    "GuestException",
    "GuestViolation",
    "HostInfo",
    "HuskError",
    "HypervisorLacksError",
    "Image",
    "ImageInfo",
    "ImageVersionError",
    "Imports",
    "Interrupted",
    "InvalidArgumentError",
    "InvalidWasmError",
    "LimitError",
    "Limits",
    "LinkError",
    "Memory",
    "NoHypervisorError",
    "NotFoundError",
    "OutOfMemoryError",
    "OutOfTimeError",
    "Pending",
    "PoisonedError",
    "Pool",
    "PoolTimeout",
    "Sandbox",
    "Snapshot",
    "Standing",
    "StateError",
    "SystemCallError",
    "Table",
    "Tag",
    "Trap",
    "TrapKind",
    "Type",
    "UnsupportedError",
    "ValueTypeError",
    "compile",
    "default_engine",
    "name_escape",
    "validate",
]
