"""What bench.py measures with: clocks, exits, memory, medians."""

import ctypes
import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

preload = ctypes.CDLL(os.environ["HUSK_BENCH_PRELOAD"])
preload.bench_inside_ns.restype = preload.bench_exits.restype = ctypes.c_uint64
preload.bench_reason.argtypes = [ctypes.c_uint64]

# Of abi/ports.h; the others are numbers of KVM's.
EXITS = {
    256 + 0x10: "the call is done",
    256 + 0x11: "host call",
    256 + 0x12: "service",
    -1: "signal",
}


@dataclass
class Sample:
    """One run of something: milliseconds, and how often this thread left the guest."""

    wall: float
    cpu: float
    outside: float = 0.0
    exits: int = 0
    reasons: list[str] = field(default_factory=list)


def sample(run: Callable[[], object]) -> Sample:
    """Run it once. CPU: of the whole process."""
    inside, exits = preload.bench_inside_ns(), preload.bench_exits()
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    wall = (time.perf_counter() - wall) * 1e3
    cpu = (time.process_time() - cpu) * 1e3
    inside, last = preload.bench_inside_ns() - inside, preload.bench_exits()
    numbers = [preload.bench_reason(exit) for exit in range(max(exits, last - 256), last)]
    reasons = [EXITS.get(number, f"KVM exit {number}") for number in numbers]
    return Sample(wall, cpu, wall - inside / 1e6, last - exits, reasons)


def middle(values: list[float]) -> float:
    return statistics.median(values)


def spread(values: list[float], digits: int = 2) -> str:
    """Median, and in brackets the first and the ninth tenth."""
    if len(values) < 3:
        return f"{middle(values):.{digits}f}"
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return f"{middle(values):.{digits}f} ({tenths[0]:.{digits}f} to {tenths[-1]:.{digits}f})"


# ---- Memory ----


def own_kib() -> dict[str, float]:
    """KiB of this process: its share of each kind of mapping, and of page tables."""
    found: dict[str, float] = {}
    name = ""
    with open("/proc/self/smaps") as file:
        for line in file:
            head = re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)", line)
            if head:
                path = head[2]
                kind = path.split(" (deleted)")[0] if "memfd:" in path else ""
                name = kind or ("files" if path.startswith("/") else path or "anonymous")
            elif line.startswith("Pss:"):
                found[name] = found.get(name, 0) + int(line.split()[1])
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmPTE:"):
                found["the process's page tables"] = int(line.split()[1])
    return found


def private_image_kib() -> float:
    """KiB of images of which this process has copies of its own: pages that guests have written,
    also those that have the same contents again."""
    found, is_image = 0, False
    with open("/proc/self/smaps") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-", line):
                is_image = "memfd:husk-image" in line
            elif is_image and line.startswith("Anonymous:"):
                found += int(line.split()[1])
    return found


def kernel_kib() -> dict[str, float]:
    """KiB of the kernel's for virtual machines: of the whole system, so other machines' too."""
    found = {"KVM's page tables": 0.0, "KVM's arrays of memory slots": 0.0}
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("SecPageTables:"):
                found["KVM's page tables"] = int(line.split()[1])
    try:
        with open("/proc/vmallocinfo") as file:
            for line in file:
                pages = re.search(r"(kvm|memslot).* pages=(\d+)", line)
                if pages:
                    found["KVM's arrays of memory slots"] += int(pages[2]) * 4
    except PermissionError:
        pass
    return found
