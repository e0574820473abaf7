"""Rows of bench.py that want processes of their own: what an idle sandbox holds, and a new process
that opens a snapshot and answers. This file is also the program of those processes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench import Bench

MANY = 8
NUMPY_PANDAS = ("numpy", "pandas")


def child(what: str, *, fds: tuple[int, ...] = (), **given: Any) -> dict[str, Any]:
    """Run this file's program."""
    command = [sys.executable, __file__, what, json.dumps(given), repr(time.monotonic())]
    done = subprocess.run(command, stdout=subprocess.PIPE, pass_fds=fds, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# ---- Idle sandboxes ----


def idle(options: dict[str, Any], code: str) -> dict[str, Any]:
    """KiB by kind for each sandbox beyond the first: after a request, parked, and trimmed."""
    from husk.sandbox import Sandbox
    from measure import kernel_kib, own_kib, private_image_kib

    def made() -> Sandbox:
        sandbox = Sandbox(imports=NUMPY_PANDAS, **options)
        for _ in range(3):
            assert sandbox.run(code, fresh=True).exit_code == 0
        return sandbox

    def now() -> dict[str, float]:
        return {**own_kib(), **kernel_kib()}

    kept = [made()]
    first, image = now(), private_image_kib()
    kept += [made() for _ in range(MANY)]
    machine = kept[-1]._sandbox
    assert machine is not None
    before = machine.stats().restore_pages_copied
    machine.restore(kept[-1]._prepared.image)
    changed = (machine.stats().restore_pages_copied - before) * 4
    idle, written = now(), (private_image_kib() - image) / MANY
    machines = [sandbox._sandbox for sandbox in kept[1:] if sandbox._sandbox is not None]
    for each in machines:
        each.park()
    machine.engine.trim()
    parked = now()
    prepared = kept[-1]._prepared
    for each in machines:
        each.load(prepared.image, prepared.guest_imports())
        each.park()
    machine.engine.trim()
    trimmed = now()

    def of_one(then: dict[str, float]) -> dict[str, float]:
        return {kind: (then[kind] - first.get(kind, 0)) / MANY for kind in then}

    return {
        "idle": of_one(idle),
        "parked": of_one(parked),
        "trimmed": of_one(trimmed),
        "written": written,
        "changed": changed,
    }


def idle_rows(bench: "Bench") -> None:
    from bench import PANDAS

    report = bench.report
    options = {key: value for key, value in bench.given().items() if key != "on_progress"}
    options["cache_folder"] = os.fspath(options["cache_folder"])
    found = child("idle", options=options, code=PANDAS)
    states = ("idle", "parked", "trimmed")
    report.head(
        f"one of {MANY} more idle sandboxes of the pandas snapshot",
        "KiB",
        "park(): KiB",
        "load() of the snapshot, then park(): KiB",
    )
    for kind in sorted(found["idle"], key=lambda kind: -abs(found["idle"][kind])):
        values = [found[state].get(kind, 0) for state in states]
        if max(map(abs, values)) >= 4:
            report.row(kind, *(f"{value:.0f}" for value in values))
    together = [sum(found[state].values()) / 1024 for state in states]
    written, changed = found["written"] / 1024, found["changed"] / 1024
    text = f"≤ 3 MiB and the {written:.2f} that requests wrote ({changed:.2f} differ after one)"
    report.row(
        "together, MiB",
        report.limit(text, together[0], 3 + written),
        f"{together[1]:.2f}",
        report.limit("≤ 3 MiB", together[2], 3),
    )


# ---- New processes ----


def start(
    options: dict[str, Any], imports: list[str], code: str, began: float, shared: int | None = None
) -> dict[str, Any]:
    """Milliseconds of one process: from its birth, and its steps."""
    told = {"python": time.monotonic()}
    from husk.sandbox import Sandbox

    told["import"] = time.monotonic()
    sandbox = Sandbox(imports=imports, shared=shared, **options)
    assert sandbox.run(code).exit_code == 0
    told["answer"] = time.monotonic()
    assert sandbox.run(code, fresh=True).exit_code == 0
    told["second"] = time.monotonic()
    times = [began, *told.values()]
    return {name: (b - a) * 1e3 for name, a, b in zip(told, times, times[1:], strict=False)}


def start_rows(bench: "Bench") -> None:
    from husk.sandbox import Sandbox
    from measure import spread

    from bench import HELLO, PANDAS

    report = bench.report
    rounds = max(5, bench.options.rounds // 10)
    scientific = {key: value for key, value in bench.given().items() if key != "on_progress"}
    standard = {
        "cache_folder": Path(bench.options.cache).parent / "sandbox-cache",
        "level": bench.options.level,
    }
    cases: list[tuple[str, dict[str, Any], tuple[str, ...], str, float]] = [
        ("pandas snapshot", scientific, NUMPY_PANDAS, PANDAS, 100),
        ("standard library", standard, (), HELLO, 20),
    ]
    report.head(
        "a new process opens a snapshot and answers",
        "to Python's first line ms",
        "import husk.sandbox ms",
        "open and answer ms",
        "a second answer ms",
        "limit",
    )
    for name, options, imports, code, most in cases:
        plain = {**options, "cache_folder": os.fspath(options["cache_folder"])}
        start = lambda **given: child("start", options=plain, imports=imports, code=code, **given)  # noqa: B023, E731
        with Sandbox(imports=imports, **options) as sandbox:
            descriptor = sandbox.share()
        start()
        for kind in ("a sealed memfd", "a file"):
            given = {"shared": descriptor, "fds": (descriptor,)} if kind != "a file" else {}
            found = [start(**given) for _ in range(rounds)]
            steps = {step: [each[step] for each in found] for step in found[0]}
            beyond = sorted(each["import"] + each["answer"] for each in found)[rounds // 2]
            if most == 20:  # a cold start begins in a process that runs
                beyond = sorted(steps["answer"])[rounds // 2]
            text = "-"
            if given:
                text = report.limit(f"≤ {most:.0f} ms", beyond, most)
            report.row(f"{name}, from {kind}", *(spread(steps[s], 1) for s in steps), text)
        os.close(descriptor)


def main() -> None:
    what, given, began = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])
    answer = idle(**given) if what == "idle" else start(**given, began=began)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
