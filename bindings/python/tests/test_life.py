"""Threads, fork, the end of the interpreter, garbage, leaks."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Compile, Wat

import husk
from husk import _native
from husk._native import lib

MODULE = """(module
  (import "env" "f" (func $f (param i32) (result i32)))
  (memory (export "memory") 1)
  (global (export "object") (mut externref) (ref.null extern))
  (func (export "call") (param i32) (result i32) local.get 0 call $f)
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "trap") unreachable)
  (func (export "spin") (loop br 0)))"""


def made_of(image_of: Compile, function: object = lambda x: x) -> husk.Sandbox:
    imports = husk.Imports()
    imports.func("env", "f", function, params=["i32"], results=["i32"])  # type: ignore[arg-type]
    return husk.Sandbox(image_of(MODULE), imports)


def in_thread(function: Callable[[], object]) -> object:
    """What a function returns or raises in another thread."""
    got: list[object] = []

    def run() -> None:
        try:
            got.append(function())
        except BaseException as error:
            got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return got[0]


def test_the_gil_is_released(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    thread = threading.Thread(target=lambda: in_thread(lambda: sandbox.call("spin", timeout=0.5)))
    thread.start()
    count, end = 0, time.monotonic() + 0.25
    while time.monotonic() < end:
        count += 1
    assert thread.is_alive() and count > 100
    thread.join()


def test_two_threads_are_refused(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    thread = threading.Thread(target=lambda: in_thread(lambda: sandbox.call("spin", timeout=5)))
    thread.start()
    while sandbox.depth == 0:
        time.sleep(0.001)
    for refused in (
        lambda: sandbox.call("add", 1, 2),
        lambda: sandbox.memory.read(0, 1),
        lambda: sandbox.memory.buffer(),
        sandbox.snapshot,
        lambda: sandbox.restore(sandbox.image),
        sandbox.unload,
        sandbox.park,
        sandbox.close,
        sandbox.clone,
        lambda: sandbox.globals["object"],
        lambda: sandbox.call_many("add", [(1, 2)]),
        lambda: sandbox.backtrace,
    ):
        with pytest.raises(husk.StateError, match="another thread"):
            refused()
    sandbox.interrupt()
    thread.join()
    sandbox.restore(sandbox.image)
    assert sandbox.call("add", 1, 2) == 3
    assert in_thread(lambda: sandbox.call("add", 1, 2)) == 3


def test_a_host_function_may_wait_for_another_thread(image_of: Compile) -> None:
    def asks(x: int) -> int:
        return int(in_thread(lambda: sandbox.call("add", x, 1)))  # type: ignore[call-overload,no-any-return]

    sandbox = made_of(image_of, asks)
    assert sandbox.call("call", 5) == 6


def test_host_functions_of_two_threads_end_in_order(image_of: Compile) -> None:
    began, go_on = threading.Event(), threading.Event()

    def serves(x: int) -> int:
        if x == 1:  # another thread calls the guest, and stays in its host function
            threading.Thread(target=lambda: sandbox.call("call", 2), daemon=True).start()
            assert began.wait(10)
            threading.Timer(0.1, go_on.set).start()
        if x == 2:
            began.set()
            assert go_on.wait(10)
        return x

    sandbox = made_of(image_of, serves)
    assert sandbox.call("call", 1) == 1
    assert go_on.is_set() and sandbox.depth == 0


def test_many_threads_and_sandboxes(image_of: Compile) -> None:
    image = image_of(MODULE)
    wrong: list[object] = []

    def work(seed: int) -> None:
        imports = husk.Imports()
        imports.func("env", "f", lambda x: x + seed, params=["i32"], results=["i32"])
        with husk.Sandbox(image, imports) as sandbox:
            wrong.extend(i for i in range(200) if sandbox.call("call", i) != i + seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_cancel_from_another_thread(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    cancel = husk.Cancel()
    threading.Timer(0.05, cancel.cancel).start()
    with pytest.raises(husk.Interrupted):
        sandbox.call("spin", limits=husk.Limits(cancel=cancel, wall=10))
    sandbox.restore(sandbox.image)
    with pytest.raises(husk.Interrupted) as caught:
        sandbox.call("add", 1, 2, limits=husk.Limits(cancel=cancel))
    assert not caught.value.is_poisoned
    assert sandbox.call("add", 1, 2) == 3


def test_interrupt_and_close_together(image_of: Compile) -> None:
    for _ in range(30):
        sandbox = made_of(image_of)
        thread = threading.Thread(target=lambda s=sandbox: [s.interrupt() for _ in range(200)])
        thread.start()
        sandbox.close()
        thread.join()


def test_fork(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    assert sandbox.call("add", 1, 2) == 3
    wasm_image = image_of(MODULE).to_bytes()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with pytest.raises(husk.StateError):
                sandbox.call("add", 1, 2)
            with pytest.raises(husk.StateError):
                husk.Sandbox(image_of(MODULE), husk.Imports(unknown="trap"))
            sandbox.close()
            del sandbox
            gc.collect()
            own = husk.Image.open(wasm_image)
            with husk.Sandbox(own, husk.Imports(unknown="trap")) as mine:
                assert mine.call("add", 2, 3) == 5
            code = 0
        except BaseException as error:
            sys.stderr.write(f"child: {error!r}\n")
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sandbox.call("add", 1, 2) == 3


def test_a_host_function_that_forks(image_of: Compile) -> None:
    child = 0

    def fork(number: int) -> int:
        nonlocal child
        child = os.fork()
        return number + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else number

    sandbox = made_of(image_of, fork)
    for _ in range(2):  # the fast way, too
        try:
            result = sandbox.call("call", 3)
        except BaseException as error:
            if child == 0:
                os._exit(0 if type(error) is husk.StateError and "forked" in str(error) else 1)
            raise
        if child == 0:
            os._exit(2)
        assert result == 3


PROGRAM = """
import sys, threading, husk
imports = husk.Imports(husk.Engine(log=lambda level, text: None))
imports.func("env", "f", lambda x: x, params=["i32"], results=["i32"])
image = husk.Image.open(sys.argv[1], engine=imports.engine)
sandbox = husk.Sandbox(image, imports)
sandbox.user = sandbox
assert sandbox.call("call", 3) == 3
view = sandbox.memory.buffer()
snapshot = sandbox.snapshot()
{end}
"""

ENDS = {
    "plain": "",
    "exit": "sys.exit(0)",
    "cycle": "sandbox.loop = [sandbox, view, image, imports]",
    "daemon": "threading.Thread(target=lambda: sandbox.call('spin'), daemon=True).start()",
    "daemon host": (
        "import time\n"
        "imports.func('env', 'f', lambda x: time.sleep(30) or 0, params=['i32'], results=['i32'])\n"
        "other = husk.Sandbox(image, imports)\n"
        "threading.Thread(target=lambda: other.call('call', 1), daemon=True).start()\n"
        "time.sleep(0.2)"
    ),
    "pending limit": (
        "imports.func('env', 'f', lambda x: husk.PENDING, params=['i32'], results=['i32'])\n"
        "other = husk.Sandbox(image, imports)\n"
        "try: other.call('call', 1, limits=husk.Limits(wall=0.01, passed=lambda: None))\n"
        "except husk.Pending: pass"
    ),
    "atexit": "import atexit; atexit.register(lambda: sandbox.call('call', 1))",
    "module del": "import builtins; builtins.kept = (sandbox, image, imports, view)",
}


@pytest.mark.parametrize("end", ENDS)
def test_interpreter_exit(image_of: Compile, tmp_path: Path, end: str) -> None:
    path = str(tmp_path / "module.husk")
    image_of(MODULE).save(path)
    program = PROGRAM.replace("{end}", ENDS[end])
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_free_threaded_is_refused() -> None:
    program = (
        "import sysconfig\n"
        "real = sysconfig.get_config_var\n"
        "sysconfig.get_config_var = lambda name: 1 if name == 'Py_GIL_DISABLED' else real(name)\n"
        "try: import husk\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "does not support free-threaded CPython" in done.stdout


def test_cycles_are_collected(image_of: Compile) -> None:
    gc.collect()
    users = lib.husk_py_users_alive()

    def make() -> weakref.ref[husk.Sandbox]:
        def function(x: int) -> int:
            return int(sandbox.call("add", x, 1))

        sandbox = made_of(image_of, function)
        sandbox.user = sandbox
        sandbox.globals["object"] = sandbox
        assert sandbox.call("call", 1) == 2
        return weakref.ref(sandbox)

    gone = [make() for _ in range(5)]
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5
    assert lib.husk_py_users_alive() == users


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_calls_leak_nothing(image_of: Compile, descriptors: Callable[[], int]) -> None:
    """100,000 calls by HUSK_TEST_CALLS; fewer as a rule, because a call takes long in a nested
    VM."""
    rounds = int(os.environ.get("HUSK_TEST_CALLS", "3000")) // 10

    def serves(x: int) -> int:
        if x == 1:
            raise ValueError
        return x

    sandbox = made_of(image_of, serves)
    thing = object()

    def one_round() -> None:
        assert sandbox.call("add", 1, 2) == 3
        assert sandbox.call("call", 5) == 5
        with pytest.raises(ValueError):
            sandbox.call("call", 1)
        with pytest.raises(husk.Trap):
            sandbox.call("trap")
        sandbox.call_many("add", [(1, 2)] * 4)
        sandbox.memory.write(0, sandbox.memory.read(0, 8))
        sandbox.memory.buffer().release()
        sandbox.globals["object"] = thing
        sandbox.call("add", 1, 2, limits=husk.Limits(wall=10))

    for _ in range(50):
        one_round()
    gc.collect()
    objects, fds, bytes_before = len(gc.get_objects()), descriptors(), resident_bytes()
    for _ in range(rounds):
        one_round()
    gc.collect()
    assert len(gc.get_objects()) - objects < 100
    assert descriptors() == fds
    assert resident_bytes() - bytes_before < 8 << 20


def test_sandboxes_leak_nothing(image_of: Compile, descriptors: Callable[[], int]) -> None:
    def one_round() -> None:
        sandbox = made_of(image_of)
        sandbox.call("add", 1, 2)
        snapshot = sandbox.snapshot()
        sandbox.restore(snapshot)
        with sandbox.clone() as clone, husk.Sandbox(snapshot, husk.Imports(unknown="trap")):
            clone.call("call", 1)

    for _ in range(10):
        one_round()
    gc.collect()
    husk.default_engine().trim()
    fds, users = descriptors(), lib.husk_py_users_alive()
    before = resident_bytes()
    for _ in range(30):
        one_round()
    gc.collect()
    husk.default_engine().trim()
    assert descriptors() <= fds
    assert lib.husk_py_users_alive() <= users
    assert resident_bytes() - before < 16 << 20


def test_compiler_is_missing(wat: Wat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("husk.compiler._WORKER", tmp_path / "nothing")
    with pytest.raises(husk.CompilerMissing, match=r"llvm-\d+-dev"):
        husk.compile(wat("(module)"))


def test_sandboxes_and_pools_are_not_copied(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    with husk.Pool(image_of(MODULE), 1, husk.Imports(unknown="trap")) as pool:
        for thing in (sandbox, sandbox.exports, pool):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot be copied"):
                    copied(thing)


def test_arguments_of_other_types(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    with pytest.raises(husk.LimitError, match="a number of 20001 bits"):
        sandbox.memory.read(1 << 20000, 1)
    for wrong in ("x", 5, object(), sandbox):
        for refused in (
            lambda w=wrong: husk.Sandbox(w),
            lambda w=wrong: husk.Sandbox(image_of(MODULE), w),
            lambda w=wrong: sandbox.restore(w),
            lambda w=wrong: sandbox.load(w),
            lambda w=wrong: sandbox.load(image_of(MODULE), w),
            lambda w=wrong: sandbox.call("add", 1, 2, limits=w),
            lambda w=wrong: in_thread(lambda: sandbox.call("add", 1, 2, limits=w)),
        ):
            try:
                result = refused()
            except TypeError as error:
                result = error
            assert isinstance(result, TypeError) and "is wanted, not" in str(result)
    assert sandbox.call("add", 1, 2) == 3


def child_of(work: Callable[[], object]) -> str:
    """What work() returns or raises in a child made by fork(), which has ten seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)
            result = repr(work())
        except BaseException as error:
            result = type(error).__name__
        os.write(writer, result.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        result = stream.read()
    os.waitpid(child, 0)
    return result


def test_a_child_does_not_wait_for_locks_of_the_parent(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    pool = husk.Pool(image_of(MODULE), 1, husk.Imports(unknown="trap"))
    has, ends = threading.Event(), threading.Event()

    def holds() -> None:
        with sandbox.guarded(), pool._lock:
            has.set()
            ends.wait()

    thread = threading.Thread(target=holds)
    thread.start()
    has.wait()
    try:
        assert child_of(sandbox.interrupt) == "None"
        assert child_of(lambda: sandbox.stats().calls) == "0"
        assert child_of(sandbox.close) == "None"
        assert child_of(lambda: pool.call("add", 1, 2)) == "StateError"
        assert child_of(lambda: pool.idle) == "StateError"
        assert child_of(pool.close) == "None"
    finally:
        ends.set()
        thread.join()
    assert pool.call("add", 1, 2) == 3


def test_a_child_leaves_the_block_of_a_pool(image_of: Compile) -> None:
    pool = husk.Pool(image_of(MODULE), 1, husk.Imports(unknown="trap"))

    def leaves() -> str:
        taken.__exit__(None, None, None)
        return "left"

    taken = pool.take()
    with taken:
        assert child_of(leaves) == "'left'"
    assert pool.call("add", 1, 2) == 3


def test_a_finalizer_may_want_the_engine_while_it_is_made() -> None:
    program = """if True:
        import husk, husk.engine
        made = husk.engine.Engine
        class Engine(made):
            def __init__(self, depth=[]):
                super().__init__()
                if not depth:
                    depth.append(1)
                    inner.append(husk.default_engine())
        inner = []
        husk.engine.Engine = Engine
        assert husk.default_engine() is inner[0] is husk.default_engine()
        print("one")
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("one\n", "")


@pytest.mark.parametrize("first", ["", "import husk"])
def test_subinterpreters_are_refused(first: str) -> None:
    program = f"""if True:
        {first}
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        inner = interpreters.create()
        code = "try: import husk" + chr(10) + "except ImportError as e: print('refused:', e)"
        interpreters.run_string(inner, code + '; import sys; sys.stdout.flush()')
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.startswith("refused: ") and "subinterpreters" in done.stdout, done


def test_a_handler_may_cancel_while_the_token_is_in_use() -> None:
    token = husk.Cancel()

    class Interrupted(weakref.WeakSet[husk.Cancel]):
        def add(self, item: husk.Cancel) -> None:
            super().add(item)
            token.cancel()  # as the handler of a signal, or a finalizer, would

    token._children = Interrupted()
    children: list[husk.Cancel] = []
    thread = threading.Thread(target=lambda: children.append(token.child()), daemon=True)
    thread.start()
    thread.join(10)
    assert token.is_cancelled and children[0].is_cancelled


EDITABLE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

source, built, module = sys.argv[1:]
spec = spec_from_file_location(
    "husk", source + "/__init__.py", submodule_search_locations=[source, built]
)
husk = sys.modules["husk"] = module_from_spec(spec)
spec.loader.exec_module(husk)
assert husk.compiler.__file__.startswith(source)
husk.compile(module)
"""


def test_files_of_python_may_lie_elsewhere(wat: Wat, tmp_path: Path) -> None:
    """As `pip install --editable` has it."""
    built = Path(_native.__file__).parent
    (tmp_path / "source").mkdir()
    for file in Path(husk.__file__).parent.glob("*.py"):
        shutil.copy(file, tmp_path / "source")
    (tmp_path / "module.wasm").write_bytes(wat("(module)"))
    arguments = [str(tmp_path / "source"), str(built), str(tmp_path / "module.wasm")]
    subprocess.run([sys.executable, "-c", EDITABLE, *arguments], check=True)
