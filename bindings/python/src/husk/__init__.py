"""Husk: run untrusted WebAssembly, every instance in a virtual machine of its own.

import husk

image = husk.compile("add.wasm")
with husk.Sandbox(image) as sandbox:
    print(sandbox.call("add", 2, 3))
"""

from husk._native import ffi as _ffi
from husk._native import lib as _lib
from husk.backtrace import Frame, name_escape
from husk.cache import (
    Background,
    BackgroundState,
    Cache,
    CacheEntry,
    CacheInfo,
    Cleaned,
    Compiled,
    Job,
)
from husk.compiler import CompileOptions, compile, compile_to_file
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
from husk.files import File, FileKind
from husk.image import Exports, Extern, ExternKind, Image, ImageInfo, Snapshot, Standing
from husk.imports import PENDING, Caller, Imports
from husk.limits import Cancel, Limits
from husk.link import Module, compile_linked
from husk.memory import Global, Memory, Table
from husk.memory_image import MemoryImage
from husk.sandbox import Sandbox
from husk.sandbox_options import LargePages, prepare
from husk.stats import Histogram, HistogramKind, SandboxStats, Stats
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
from husk.wasi import (
    AWAITED,
    BUFFER,
    UNCHANGED,
    Buffer,
    Callback,
    Descriptor,
    Dir,
    DirKind,
    FixedClock,
    HostClock,
    Listener,
    Output,
    Rights,
    Stream,
    Wasi,
)
from husk.wasm import (
    Interface,
    WasmInfo,
    check_wasm,
    describe,
    interface,
    is_wasm,
    print_wasm,
    validate,
)

__version__: str = _ffi.string(_lib.husk_version()).decode()
