"""Python inside a program of C, on a thread that ends before the program does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import Compile

MODULE = """(module
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"""

# The stack is too large for the C library to keep it when the thread has ended: what reads the
# thread's variables later is a segmentation fault. The sleeps are many periods of native/ticks.c.
PROGRAM = r"""
#include <Python.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *run(void *program) {
    Py_InitializeEx(0);
    const int failed = PyRun_SimpleString(program);
    const int left = getenv("LEAVES") != NULL ? 0 : Py_FinalizeEx();
    return left != 0 || failed != 0 ? program : NULL;
}

int main(int count, char **args) {
    pthread_attr_t attributes;
    pthread_t thread;
    void *failed = args;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256u << 20);
    if (count != 2 || pthread_create(&thread, &attributes, run, args[1]) != 0)
        return 2;
    pthread_join(thread, &failed);
    usleep(200000);
    return failed != NULL;
}
"""

SCRIPT = """
import time, husk
sandbox = husk.Sandbox(husk.Image.open({path!r}))
assert [sandbox.call("add", i, 1) for i in range(3)] == [1, 2, 3]
time.sleep({idle})
assert sandbox.call("add", 1, 1) == 2
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    source, path = folder / "program.c", folder / "program"
    source.write_text(PROGRAM)
    values = {
        name: str(sysconfig.get_config_var(name) or "") for name in ("CC", "LIBDIR", "LDVERSION")
    }
    command = [
        *shlex.split(values["CC"])[:1],
        *(f"-I{sysconfig.get_path(kind)}" for kind in ("include", "platinclude")),
        str(source),
        "-o",
        str(path),
        f"-L{values['LIBDIR']}",
        f"-Wl,-rpath,{values['LIBDIR']}",
        f"-lpython{values['LDVERSION']}",
        "-lpthread",
    ]
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("this Python has no shared library for programs that embed it")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return path


@pytest.mark.parametrize("leaves", [{}, {"LEAVES": "1"}], ids=["finalized", "left"])
@pytest.mark.parametrize("idle", [0, 1.5])
def test_the_thread_of_python_ends(
    program: Path, image_of: Compile, tmp_path: Path, idle: float, leaves: dict[str, str]
) -> None:
    image = str(tmp_path / "module.husk")
    image_of(MODULE).save(image)
    done = subprocess.run(
        [str(program), SCRIPT.format(path=image, idle=idle)],
        env=os.environ
        | leaves
        | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
