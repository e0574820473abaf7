"""The engine: the hypervisor, a watchdog for deadlines, idle VMs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from husk._convert import number
from husk._native import ffi, lib
from husk.errors import StateError, check, error_new
from husk.handles import Callback, Closing, c_path, new, owned
from husk.stats import (
    Histogram,
    HistogramKind,
    Stats,
    engine_histogram,
    engine_prometheus,
    engine_stats,
)

LogFunction = Callable[[int, str], None]


_LEVELS = {
    lib.HUSK_LOG_ERROR: logging.ERROR,
    lib.HUSK_LOG_WARNING: logging.WARNING,
    lib.HUSK_LOG_INFO: logging.INFO,
    lib.HUSK_LOG_DEBUG: logging.DEBUG,
}


@ffi.def_extern()  # type: ignore[untyped-decorator]
def husk_py_log_line(user: Any, level: int, message: Any) -> None:
    """Pass a line of the library's log on. It comes from any thread."""
    text = ffi.string(message).decode("utf-8", "replace")
    Callback.call(user, _LEVELS.get(level, logging.ERROR), text)


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The host: what the hypervisor is, and what it can do.

    hypervisor: "vmx", "svm", "pvm" or "unknown". cpu_features: names of CPU features that images
    may use here.
    """

    hypervisor: str
    hypervisor_api: int
    memslots_max: int
    cpu_features: frozenset[str]
    has_sync_regs: bool
    has_immediate_exit: bool
    has_readonly_mem: bool
    has_msr_filter: bool
    cpu_name: str


_HYPERVISORS = {
    lib.HUSK_HYPERVISOR_KVM_VMX: "vmx",
    lib.HUSK_HYPERVISOR_KVM_SVM: "svm",
    lib.HUSK_HYPERVISOR_KVM_PVM: "pvm",
}


def cpu_feature_names(bits: int) -> frozenset[str]:
    """The names of a set of CPU features."""
    names = set()
    for bit in range(64):
        if bits >> bit & 1:
            name = lib.husk_cpu_feature_name(bit)
            names.add(f"bit {bit}" if name == ffi.NULL else ffi.string(name).decode())
    return frozenset(names)


class Engine(Closing):
    """The hypervisor and all that sandboxes share. A process makes one; see default_engine().

    hypervisor_path: default "/dev/kvm". log: a function (level of `logging`, message), called from
    any thread, or a `logging.Logger`. kick_signal: the signal that ends calls at their deadlines;
    default SIGRTMIN + 6. pool_max: how many idle VMs to keep for new sandboxes. measure_times:
    histograms of calls (two clock reads each).

    Images, imports and sandboxes keep the engine alive; close() drops this object's share.
    Any number of threads may use an engine.

    Raises NoHypervisorError, HypervisorLacksError, InvalidArgumentError, OutOfMemoryError,
    SystemCallError.
    """

    def __init__(
        self,
        *,
        hypervisor_path: str | os.PathLike[str] | None = None,
        log: LogFunction | logging.Logger | None = None,
        kick_signal: int = 0,
        pool_max: int = 8,
        measure_times: bool = False,
    ) -> None:
        options = new("husk_engine_options")
        path = ffi.NULL
        if hypervisor_path is not None:
            path = ffi.new("char[]", c_path(hypervisor_path))
        options.hypervisor_path = path
        options.kick_signal = kick_signal
        self.kick_signal = kick_signal or signal.SIGRTMIN + 6
        options.pool_max = pool_max if pool_max > 0 else -1
        options.measure_times = measure_times
        # Alive as long as the engine: objects that share it keep this one, too.
        self._log = None if log is None else Callback(_log_function(log))
        if self._log is not None:
            options.log = ffi.addressof(lib, "husk_py_log")
            options.log_user = self._log.user
        out = ffi.new("husk_engine **")
        err = error_new()
        check(lib.husk_engine_new(options, out, err), err)
        self._pointer = owned(out[0], "husk_engine_unref")
        self._pid = os.getpid()

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        if self._pointer is None:
            raise StateError("the engine is closed")
        return self._pointer

    def close(self) -> None:
        """Drop this share of the engine. What was made of the engine stays usable."""
        self._pointer = None

    def __copy__(self) -> Engine:
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._pointer = owned(lib.husk_engine_ref(self.pointer), "husk_engine_unref")
        return copy

    def host_info(self) -> HostInfo:
        """What the host is, as `husk doctor` prints it."""
        info = new("husk_host_info")
        check(lib.husk_engine_host_info(self.pointer, info))
        return HostInfo(
            hypervisor=_HYPERVISORS.get(info.hypervisor, "unknown"),
            hypervisor_api=info.hypervisor_api,
            memslots_max=info.memslots_max,
            cpu_features=cpu_feature_names(info.cpu_features),
            has_sync_regs=info.has_sync_regs,
            has_immediate_exit=info.has_immediate_exit,
            has_readonly_mem=info.has_readonly_mem,
            has_msr_filter=info.has_msr_filter,
            cpu_name=ffi.string(info.cpu_name).decode("utf-8", "replace"),
        )

    def trim(self, keep: int = 0) -> None:
        """Drop idle VMs until at most `keep` are left."""
        lib.husk_engine_trim(self.pointer, number(keep, "keep", 2**32 - 1))

    def stats(self) -> Stats:
        """Counts since the engine was made. Reading them stops nobody."""
        return engine_stats(self.pointer)

    def histogram(self, kind: HistogramKind) -> Histogram:
        """Durations of restores, snapshots, calls or host calls; the last two are measured only
        with measure_times."""
        return engine_histogram(self.pointer, kind)

    def prometheus(self) -> str:
        """All counters and histograms, in the text format of Prometheus (version 0.0.4). Sandboxes
        with labels have their own rows."""
        return engine_prometheus(self.pointer)


def _log_function(log: LogFunction | logging.Logger) -> LogFunction:
    if isinstance(log, logging.Logger):
        return log.log
    return log


_default: Engine | None = None
_default_lock = threading.RLock()  # a finalizer may want the engine while it is held


def default_engine() -> Engine:
    """The engine of those who name none. It is made on first use, and anew in a forked child."""
    global _default
    with _default_lock:
        if not _is_usable(_default):
            made = Engine()
            # Meanwhile the handler of a signal, or a finalizer, may have made it.
            if not _is_usable(_default):
                _default = made
        assert _default is not None
        return _default


def _is_usable(engine: Engine | None) -> bool:
    return engine is not None and engine._pointer is not None and engine._pid == os.getpid()


def _renew_lock() -> None:
    global _default_lock
    _default_lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
