"""The folder of compiled images, and jobs that optimise in the background."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from wat import big_module, needs_kvm, wat

import husk
from husk import CompileOptions

pytestmark = needs_kvm

SMALL = '(module $small (func (export "one") (result i32) (i32.const 1)))'


@pytest.fixture
def cache(tmp_path: Path) -> husk.Cache:
    return husk.Cache(tmp_path / "cache")


def test_the_second_time_it_is_there(cache: husk.Cache) -> None:
    first = cache.compile(wat(SMALL))
    second = cache.compile(wat(SMALL))
    assert (first.was_cached, second.was_cached) == (False, True)
    assert first.warning is None
    assert first.background.state == husk.BackgroundState.NONE
    assert husk.Sandbox(second.image).call("one") == 1
    assert not cache.compile(wat(SMALL), level=1).was_cached


def test_info_and_entries(cache: husk.Cache) -> None:
    assert (cache.info().images_count, cache.entries(), cache.jobs()) == (0, [], [])
    cache.compile(wat(SMALL, "--debug-names"), strict=True, cpu="x86-64-v2", level=1)
    info = cache.info()
    assert (info.images_count, info.limit_bytes) == (1, husk.Cache.DEFAULT_LIMIT)
    assert info.bytes >= info.images_bytes > 0
    (entry,) = cache
    assert entry.name.endswith(".husk")
    assert (entry.module_name, entry.target_cpu, entry.opt_level) == ("small", "x86-64-v2", 1)
    assert (entry.is_strict, entry.is_usable, len(entry.wasm_sha256)) == (True, True, 64)
    assert entry.compiler != ""
    assert entry.bytes > 0
    assert datetime.now(UTC) - entry.used < timedelta(hours=2)


def test_an_unusable_entry(cache: husk.Cache) -> None:
    cache.compile(wat(SMALL))
    (file,) = cache.folder.glob("*.husk")
    file.write_bytes(b"damaged")
    (entry,) = cache.entries()
    assert not entry.is_usable
    cleaned = cache.clean(unusable=True)
    assert (cleaned.removed_count, cleaned.failed_count, cleaned.failure) == (1, 0, None)


@pytest.fixture(scope="module")
def old_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module's file that was not changed in the last seconds: younger ones are not noted."""
    path = tmp_path_factory.mktemp("old") / "module.wasm"
    path.write_bytes(wat(SMALL))
    time.sleep(4.1)
    return path


def test_a_file_is_found_again(cache: husk.Cache, old_file: Path) -> None:
    assert cache.find(old_file) is None
    assert not cache.compile_file(old_file).was_cached
    image = cache.find(old_file)
    assert image is not None
    assert husk.Sandbox(image).call("one") == 1
    assert cache.find(old_file, level=1) is None
    with old_file.open("rb") as file:
        assert cache.find(file.fileno()) is not None
        assert cache.compile_file(file.fileno()).was_cached
    assert cache.info().notes_count == 1
    assert cache.entries()[0].module_path == str(old_file)


def test_a_damaged_image_is_not_found(cache: husk.Cache, old_file: Path) -> None:
    cache.compile_file(old_file)
    assert cache.find(old_file) is not None
    (file,) = cache.folder.glob("*.husk")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert cache.find(old_file) is None
    assert husk.Sandbox(cache.compile_file(old_file).image).call("one") == 1


def test_a_young_file_is_not_noted(cache: husk.Cache, tmp_path: Path) -> None:
    path = tmp_path / "module.wasm"
    path.write_bytes(wat(SMALL))
    cache.compile_file(str(path))
    assert cache.find(path) is None


@pytest.mark.parametrize("seconds", [-(2**31), 2**33])
def test_times_of_damaged_folders(cache: husk.Cache, seconds: int) -> None:
    cache.compile(wat(SMALL))
    (file,) = cache.folder.glob("*.husk")
    os.utime(file, (seconds, seconds))
    (entry,) = cache.entries()
    assert entry.used.timestamp() == pytest.approx(seconds, abs=1)


def test_times_that_no_calendar_has() -> None:
    from husk.cache import _time

    assert _time(2**62).year == 9999
    assert _time(-(2**62)).year == 1


def test_limits_and_cleaning(cache: husk.Cache) -> None:
    cache.set_limit(1 << 30)
    assert cache.info().limit_bytes == 1 << 30
    for level in (0, 1, 2):
        cache.compile(wat(SMALL), level=level)
    assert cache.clean().removed_count == 0
    cleaned = cache.clean(to_bytes=cache.info().bytes - 1)
    assert (cleaned.removed_count, cleaned.left_count) == (1, 2)
    assert cleaned.removed_bytes > 0
    assert cleaned.left_bytes > 0
    assert cache.clean(limit_bytes=1).removed_count >= 1
    cache.compile(wat(SMALL))
    assert cache.clean(unused_seconds=3600, to_bytes=husk.Cache.UNLIMITED).removed_count == 0
    assert cache.clean(everything=True).left_count == 0
    cache.set_limit(None)
    assert cache.info().limit_bytes == husk.Cache.DEFAULT_LIMIT


def test_leftovers_are_counted(cache: husk.Cache) -> None:
    cache.compile(wat(SMALL))
    (file,) = cache.folder.glob("*.husk")
    (cache.folder / f"{file.name}.0123456789abcdef.tmp").write_bytes(b"x")
    assert cache.info().leftovers_count == 1
    assert cache.clean().removed_count == 0  # a process may be writing it
    assert cache.clean(everything=True).left_count == 0


@contextmanager
def unremovable(path: Path) -> Iterator[None]:
    """A file that not even root can remove, as `chattr +i` makes it."""
    command = ["chattr", "+i", str(path)]
    if shutil.which("chattr") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("chattr cannot be used here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)


def test_what_cannot_be_removed_is_told(cache: husk.Cache) -> None:
    cache.compile(wat(SMALL))
    cache.compile(wat(SMALL), level=0)
    file = next(cache.folder.glob("*.husk"))
    with unremovable(file):
        cleaned = cache.clean(everything=True)
    assert (cleaned.failed_count, cleaned.left_count) == (1, 1)
    assert isinstance(cleaned.failure, husk.SystemCallError)
    assert cleaned.failure.errno == errno.EPERM


def test_a_folder_that_cannot_be_written_costs_the_caching(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    compiled = husk.Cache(file / "cache").compile(wat(SMALL))
    assert isinstance(compiled.warning, husk.SystemCallError)
    assert husk.Sandbox(compiled.image).call("one") == 1
    with pytest.raises(husk.SystemCallError):
        husk.Cache(file / "cache").set_limit(1 << 20)
    with pytest.raises(husk.SystemCallError):
        husk.Cache(file).entries()


def test_compile_takes_a_cache(tmp_path: Path) -> None:
    for _ in range(2):
        image = husk.compile(wat(SMALL), cache=tmp_path, cache_limit=1 << 30)
        assert husk.Sandbox(image).call("one") == 1
    assert husk.Cache(tmp_path).info().images_count == 1


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert husk.Cache().folder == tmp_path / "husk"
    husk.compile(wat(SMALL), cache=True)
    assert husk.Cache().info().images_count == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert husk.Cache().folder == Path("/home/somebody/.cache/husk")


@pytest.mark.parametrize(
    "wrong",
    [
        {"to_bytes": 0},
        {"to_bytes": -1},
        {"limit_bytes": 2**64},
        {"unused_seconds": -1},
        {"to_bytes": 1.5},
        {"to_bytes": True},
    ],
)
def test_wrong_numbers(cache: husk.Cache, wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        cache.clean(**wrong)


def test_wrong_folders_and_options() -> None:
    with pytest.raises(ValueError, match="NUL"):
        husk.Cache("a\0b")
    with pytest.raises(ValueError, match="empty"):
        husk.Cache("")
    with pytest.raises(TypeError):
        husk.Cache(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cache"):
        husk.compile(wat(SMALL), label="x")
    with pytest.raises(FileNotFoundError):
        husk.Cache("/tmp").compile_file("/nonexistent/husk.wasm")
    with pytest.raises(husk.SystemCallError):
        husk.Cache("/tmp/husk-none").compile_file(2**30)


# ---- In the background ----


def threads_of(pid: int) -> Iterator[int]:
    """The threads of a process, and of those that it made."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield int(task.name)
        for child in (task / "children").read_text().split():
            yield from threads_of(int(child))


def hurry(cache: husk.Cache) -> list[husk.Job]:
    """Give the jobs the usual priority: on a busy machine they stand still with theirs."""
    jobs = cache.jobs()
    for job in jobs:
        with suppress(OSError):
            for thread in threads_of(job.pid) if job.pid else ():
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, thread, 0)
    return jobs


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_optimised_in_the_background(cache: husk.Cache) -> None:
    module = big_module()
    options: CompileOptions = {"optimise_in_background": True, "label": "big", "level": 3}
    first = cache.compile(module, **options)
    assert first.image.info.opt_level == 0
    assert first.background.state == husk.BackgroundState.BEGUN
    assert first.background.error is None
    wait_until(lambda: hurry(cache) == [])
    second = cache.compile(module, **options)
    assert second.image.info.opt_level == 3
    assert second.background.state == husk.BackgroundState.NONE


def test_a_job_is_stopped_and_forgotten(cache: husk.Cache) -> None:
    module = big_module(6000)
    options: CompileOptions = {
        "optimise_in_background": True,
        "label": "to be stopped",
        "level": 3,
        "cpu_limit": 100,
        "memory_limit": 4 << 30,
        "threads": 1,
    }
    cache.compile(module, **options)
    (job,) = cache.jobs()
    assert job.state in (husk.BackgroundState.WAITS, husk.BackgroundState.WORKS)
    assert (job.label, job.opt_level, job.wasm_bytes) == ("to be stopped", 3, len(module))
    assert (job.cpu_limit, job.memory_limit) == (100, 4 << 30)
    assert (job.ended, job.error) == (None, None)
    wait_until(lambda: any(0 < job.done < job.total for job in hurry(cache)))
    background = cache.compile(module, **options).background
    assert background.state == husk.BackgroundState.WORKS
    assert 0 < background.done <= background.total == 6000
    (job,) = cache.jobs()
    assert (job.attempts, job.pid > 0) == (1, True)
    assert job.begun <= datetime.now(UTC)
    cache.stop(job.key)
    (stopped,) = cache.jobs()
    assert stopped.state == husk.BackgroundState.STOPPED
    assert stopped.ended is not None
    again = cache.compile(module, **options)
    assert again.background.state == husk.BackgroundState.STOPPED
    assert again.background.ended is not None
    with pytest.raises(husk.NotFoundError):
        cache.stop(job.key)
    cache.forget(job.key)
    assert cache.jobs() == []
    with pytest.raises(husk.NotFoundError):
        cache.forget(job.key)


def test_a_job_that_fails(cache: husk.Cache) -> None:
    module = big_module(14_000)
    limit = 2  # seconds: level 0 takes 0.4 to 1.5, level 3 3.5 to 12
    options: CompileOptions = {"optimise_in_background": True, "level": 3, "cpu_limit": limit}
    assert cache.compile(module, **options).background.state == husk.BackgroundState.BEGUN
    wait_until(lambda: all(job.error is not None for job in hurry(cache)))
    (job,) = cache.jobs()
    assert job.state == husk.BackgroundState.FAILED
    assert isinstance(job.error, husk.OutOfTimeError)
    failed = cache.compile(module, **options).background
    assert failed.state == husk.BackgroundState.FAILED
    assert isinstance(failed.error, husk.OutOfTimeError)
    assert failed.ended is not None


@pytest.mark.parametrize("key", ["", "nothing", "../../etc", "0" * 64, "x" * 10_000])
def test_keys_of_no_job(cache: husk.Cache, key: str) -> None:
    with pytest.raises((husk.NotFoundError, husk.InvalidArgumentError)):
        cache.stop(key)
    with pytest.raises((husk.NotFoundError, husk.InvalidArgumentError)):
        cache.forget(key)
    with pytest.raises(ValueError, match="NUL"):
        cache.stop(key + "\0")
