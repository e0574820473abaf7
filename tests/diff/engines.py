"""Finds the engines, runs one module on all of them, and compares."""
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass, field

import compare
import plan as plans
import wasm_module as wasm

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("HUSK_BUILD", SOURCE / "build")).resolve()
WORK = BUILD / "diff"
NODE = WORK / "node" / "node_modules" / "node" / "bin" / "node"
PYTHON = WORK / "venv" / "bin" / "python"
HUSK = BUILD / "tests" / "diff" / "husk_trace"
LEVELS = ["O0", "O2", "O3", "strict"]

CALL_MS = 1500  # of V8; Husk gets 20 times as much (husk_trace.c)
REFUSED = 3
UNKNOWN_TO_WASMTIME = "legacy_exceptions feature required"


@dataclass
class Job:
    """A module and how it is called."""

    name: str
    module: pathlib.Path
    seed: int
    calls: pathlib.Path = None  # a list of calls; None: made from the seed
    in_bounds: bool = False  # no load or store leaves its memory
    may_miss: bool = True  # an access out of bounds need not trap at levels that are not strict
    levels: list = field(default_factory=lambda: list(LEVELS))
    with_wasmtime: bool = True
    origin: str = ""  # how the module was made, for the report
    is_seeded: bool = False  # calls from the seed follow those of the list


@dataclass
class Result:
    job: Job
    status: str = "same"  # same, different, skipped
    text: str = ""  # the difference, or the reason of a skip
    calls: int = 0
    misses: int = 0
    uncertain: int = 0
    differences: list = field(default_factory=list)  # (engine, compare.Difference)


class Failed(Exception):
    """An engine did not do its work: a difference like any other."""


class OutOfTime(Failed):
    """An engine did not end in time."""


class Skipped(Exception):
    """Nothing to compare, and why."""


def missing():
    """What is not there of what a run needs; empty if all is."""
    needed = [(NODE, "node 24 or later"), (PYTHON, "Wasmtime for Python"), (HUSK, "husk_trace")]
    return [f"{what} ({path})" for path, what in needed if not path.exists()]


def tool(name, arguments, seconds, **options):
    """Runs an engine; returns None, or its reason if it refused the module. It ends with this process (setpriv is in util-linux)."""
    command = ["setpriv", "--pdeathsig", "KILL", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, **options)
    except subprocess.TimeoutExpired as error:
        raise OutOfTime(f"{name} was still running after {seconds:.0f} s") from error
    if done.returncode == REFUSED:
        return done.stdout.strip().replace("refused: ", "", 1)
    if done.returncode != 0:
        raise Failed(f"{name} ended with status {done.returncode}: {done.stderr.strip()[-600:]}")
    return None


def prepare(job, folder):
    """Writes module.wasm and plan into the folder."""
    try:
        module = wasm.Module(job.module.read_bytes())
        if any(memory.low > wasm.PAGES_MAX for memory in module.memories):
            raise Skipped("starts with more than 256 MiB of memory")
        calls = None if job.calls is None else job.calls.read_text(encoding="utf-8")
        for place in plans.entries_of(calls or ""):
            module.export_entry(place)
        with_globals = job.seed % 4 != 0
        plan = plans.Plan(module, with_globals)
        if calls is not None:
            plan.calls_by_list(calls)
        if calls is not None and job.is_seeded:
            plan.lines.append("fresh")
        if job.calls is None or job.is_seeded:
            plan.calls_by_seed(job.seed)
        (folder / "module.wasm").write_bytes(module.rewritten(with_globals))
    except wasm.Unreadable as error:
        raise Skipped(f"cannot be prepared: {error}") from error
    (folder / "plan").write_text("\n".join(plan.lines) + "\n", encoding="utf-8")
    return plan


def run_v8(folder, seconds, dump=()):
    return tool("V8", [NODE, "--no-warnings", HERE / "v8_trace.mjs", folder / "module.wasm", folder / "plan", folder / "v8", CALL_MS, *dump], seconds)


def run_husk(folder, plan, levels, seconds, **options):
    return tool("Husk", [HUSK, folder / "module.wasm", folder / plan, folder / "husk", *levels], seconds, **options)


def run_wasmtime(folder, seconds):
    arguments = [PYTHON, HERE / "wasmtime_trace.py", folder / "module.wasm", folder / "plan2", folder / "wasmtime", 20 * CALL_MS]
    return tool("Wasmtime", arguments, seconds)


def blocks(path):
    return compare.parse(path.read_text(encoding="utf-8", errors="replace"))


def name_of_step(plan, key):
    if not key.startswith("call "):
        return key
    lines = [line for line in plan.lines if not line.startswith(("import ", "watch "))]
    words = lines[int(key.split()[1])].split()
    name = plan.names[int(words[1])].decode("utf-8", "backslashreplace")
    return f"{key}, {name}({', '.join(words[4:])})" + (f" with stubs of seed {words[2]}" if words[2] != "0" else "")


def described(engine, difference, plan):
    step = name_of_step(plan, difference.key)
    return f"{engine}: {step}: {difference.what}\n    V8:   {difference.expected.strip()}\n    this: {difference.found.strip()}"


def compare_all(job, folder, plan, engines):
    """Compares each engine's trace with V8's; fills a result."""
    result = Result(job)
    expected = blocks(folder / "v8")
    for engine in engines:
        is_exact = job.in_bounds or engine.startswith("husk.strict") or engine == "wasmtime"
        verdict = compare.judge(expected, blocks(folder / engine), is_exact, job.may_miss)
        result.calls += verdict.calls
        result.misses += verdict.misses
        result.uncertain += verdict.uncertain
        if verdict.difference is not None:
            result.status = "different"
            result.differences.append((engine, verdict.difference))
            result.text += described(engine, verdict.difference, plan) + "\n"
    return result


def check(job, folder, seconds, may_run_out=False):
    """Runs a job in a folder of its own. Never raises for what a module or an engine does. seconds: of each engine; may_run_out: whether to take
    longer is no fault."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = prepare(job, folder)
        refused_by_v8 = run_v8(folder, seconds)
        if refused_by_v8 is not None:
            refused_by_husk = run_husk(folder, "plan", job.levels[:1], seconds)
            if refused_by_husk is None:
                raise Failed(f"V8 refuses what Husk accepts: {refused_by_v8}")
            raise Skipped(f"Husk: {refused_by_husk}; V8 refuses it, too")
        text = (folder / "plan").read_text(encoding="utf-8")
        ends = compare.ends(blocks(folder / "v8"))
        (folder / "plan2").write_text(plans.annotated(text, ends, job.in_bounds), encoding="utf-8")
        refused = run_husk(folder, "plan2", job.levels, seconds)
        if refused is not None and refused.startswith("invalid"):
            raise Failed(f"Husk calls invalid what V8 accepts: {refused}")
        if refused is not None:
            raise Skipped(f"Husk: {refused}")
        engines = [f"husk.{level}" for level in job.levels]
        if job.with_wasmtime:
            refused = run_wasmtime(folder, seconds)
            if refused is not None and UNKNOWN_TO_WASMTIME not in refused:
                raise Failed(f"Wasmtime refuses what Husk accepts: {refused}")
            if refused is None:
                engines.append("wasmtime")
        return compare_all(job, folder, plan, engines)
    except Skipped as reason:
        return Result(job, "skipped", str(reason))
    except OutOfTime as error:
        return Result(job, "skipped", "no time left") if may_run_out else Result(job, "different", f"{error}\n")
    except Failed as error:
        return Result(job, "different", f"{error}\n")


if sys.version_info < (3, 9):
    sys.exit("tests/diff needs Python 3.9 or later")
