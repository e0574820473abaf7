"""Requests of strangers in turn, from one pool: nothing of one is found by the next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sandbox_guest import options

import husk
from husk.sandbox import Pool

LEAVES = """
import builtins, gc, io, json, os, random, re, sys, tempfile, time, types
secret = 'SECRET'
sys.modules['left'] = types.ModuleType('left'); sys.left = secret
builtins.left = secret; builtins.print = lambda *a, **k: sys.__stdout__.write('patched\\n')
json.dumps = lambda *a, **k: 'patched'; random.random = lambda: 0.5; random.seed(1)
os.environ['LEFT'] = secret; sys.argv.append(secret); sys.path.insert(0, '/tmp')
open('/tmp/left', 'w').write(secret); open('/output/left', 'w').write(secret)
open('/tmp/json.py', 'w').write('1 / 0')
handle = open('/tmp/open', 'w'); handle.write(secret); handle.flush()
fd = os.open('/tmp/fd', os.O_CREAT | os.O_RDWR); os.write(fd, secret.encode())
open(os.path.expanduser('~/left'), 'w').write(secret)
os.chdir('/tmp'); sys.setrecursionlimit(100); gc.disable(); time.left = secret
sys.stdout = io.StringIO(); sys.stderr = io.StringIO(); sys.excepthook = None
sys.settrace(lambda *a: None); re.compile(secret); os.umask(0o077) if hasattr(os, 'umask') else 0
os.posix_fadvise = lambda *a: None; call_tool = None
import __main__; __main__.left = secret
big = [secret + str(i) for i in range(10000)]
os.close(0)
"""

LOOKS = """
import builtins, gc, json, os, random, sys, time
found = []
for name in ('secret', 'handle', 'big'):
    if name in globals(): found.append(name)
if 'left' in sys.modules or hasattr(sys, 'left') or hasattr(builtins, 'left'): found.append('left')
if hasattr(time, 'left') or hasattr(sys.modules['__main__'], 'left'): found.append('attribute')
if 'LEFT' in os.environ or len(sys.argv) > 1 or '/tmp' in sys.path: found.append('environment')
private = os.listdir('/tmp') + (os.listdir('/tmp/home') if os.path.isdir('/tmp/home') else [])
private += os.listdir('/input') + os.listdir('/output')
if [name for name in private if name != 'home'] or os.getcwd() != '/': found.append('files')
for fd in range(3, 64):
    try: os.fstat(fd)
    except OSError: continue
    if fd > 6: found.append(f'descriptor {fd}')
if json.dumps([1]) != '[1]' or random.random() == 0.5: found.append('patched')
if sys.getrecursionlimit() < 500 or not gc.isenabled() or sys.gettrace(): found.append('settings')
if not callable(call_tool): found.append('tool')
needle = 'SEC' + 'RET'
for thing in gc.get_objects():
    if type(thing) is dict and any(type(v) is str and v.startswith(needle) for v in thing.values()):
        if thing is not globals(): found.append('object')
print(found)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2, **options(), imports=["decimal"], deadline=20) as pool:
        pool.warm()
        yield pool


def test_nothing_is_found(pool: Pool) -> None:
    for round_idx in range(3):
        left = pool.run(LEAVES, files={"private.txt": b"SECRET"})
        assert left.exit_code == 0, left.stderr
        for _ in range(2):
            looked = pool.run(LOOKS)
            assert (looked.stdout, looked.stderr) == ("[]\n", ""), round_idx
            assert pool.run("import os; print(os.listdir('/input'))").stdout == "[]\n"


def test_after_requests_that_were_cut_off(pool: Pool) -> None:
    for end in ("while True: pass", "os._exit(0)", "x = []\nwhile True: x.append(bytes(1 << 22))"):
        pool.run(LEAVES.replace("os.close(0)", end), deadline=1.5)
        assert pool.run(LOOKS).stdout == "[]\n", end


def test_what_they_draw(pool: Pool) -> None:
    code = "import random, os; print(random.getrandbits(64), os.urandom(8).hex(), random.random())"
    seen = [word for _ in range(10) for word in pool.run(code).stdout.split()]
    assert len(set(seen)) == 30


def test_sessions_and_waiting(pool: Pool) -> None:
    with pool.session() as one, pool.session() as other:
        one.run("x = 1")
        other.run("x = 2")
        assert (one.run("print(x)").stdout, other.run("print(x)").stdout) == ("1\n", "2\n")
        snapshot = one.snapshot()
        one.restore(snapshot)
        with pytest.raises(husk.PoolTimeout):
            pool.run("pass", wait=0.05)
    assert "NameError" in pool.run("x").stderr
    assert "NameError" in pool.run("x").stderr


def test_many_at_once(pool: Pool) -> None:
    async def main() -> None:
        codes = [f"import time; time.sleep(0.01); print({i})" for i in range(12)]
        results = await asyncio.gather(*(pool.run_async(code) for code in codes))
        assert [result.stdout for result in results] == [f"{i}\n" for i in range(12)]
        with pytest.raises(husk.PoolTimeout):
            async with pool.session_async(), pool.session_async():
                await pool.run_async("pass", wait=0.05)

    asyncio.run(main())
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda i=i: seen.append(pool.run(f"print({i})").stdout))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(f"{i}\n" for i in range(8))


def test_closed() -> None:
    pool = Pool(1, module_path="/nowhere")
    pool.close()
    pool.close()
    with pytest.raises(husk.StateError, match="the pool is closed"):
        pool.run("pass")
    with pytest.raises(ValueError, match="at least one sandbox"):
        Pool(0)
