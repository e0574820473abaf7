"""Makes the snapshots of a guest, and chooses between that of the quick image and that of the
optimised one. Both kinds of guests do it in this way."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from husk.cache import BackgroundState, Cache
from husk.compiler import CompileOptions
from husk.errors import BadImageError, HuskError
from husk.sandbox._patience import Patience
from husk.sandbox._snapshots import Snapshots, background_is_allowed, open_shared

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.image import Image
    from husk.sandbox._interpreter import Progress

QUICK, OPTIMISED = 0, 2
_LOOK_SECONDS = 2.0
_LOOKS_BETWEEN_READS = 60
_FAILED_SECONDS = 60.0


def note_of(image: Image) -> dict[str, Any]:
    """What the maker of a snapshot noted in it."""
    try:
        note = json.loads(image.note or b"{}")
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def numbers_of(image: Image, name: str, count: int) -> tuple[int, ...]:
    """Numbers that the maker of a snapshot noted in it. Raises BadImageError: a shared snapshot can
    say anything."""
    value = note_of(image).get(name)
    found: list[Any] = value if isinstance(value, list) else [value]
    if len(found) != count or not all(type(each) is int and abs(each) < 1 << 63 for each in found):
        raise BadImageError(f"the snapshot's note says nothing that can be its {name!r}")
    return tuple(found)


class Maker(ABC):
    """Of one module and one set of imports. Any number of threads may use it."""

    label: ClassVar[str]
    """Of the jobs that optimise it."""
    limits: ClassVar[CompileOptions]
    """Of the compiler."""

    def __init__(
        self,
        *,
        module: Path,
        parts: tuple[Any, ...],
        engine: Engine | None,
        folder: Path,
        on_progress: Progress | None,
        memory_max: int,
    ) -> None:
        """parts: what a snapshot is made of besides the level: the module's hash, the imports, ….
        Deliberately not memory_max: a snapshot has no limit of its own, and each sandbox of it has
        one. It is that of the guest that is being prepared."""
        self.engine = engine
        self.memory_max = memory_max
        self._module = module
        self._parts = parts
        self._cache = Cache(folder, engine=engine)
        self._snapshots = Snapshots(folder / "sandbox", engine)
        self.on_progress: Progress = on_progress or (lambda _what, _part: None)

    @abstractmethod
    def snapshot(self, image: Image, patience: Patience) -> tuple[Image, dict[str, Any]]:
        """Run the guest up to where it waits for a request. Returns also what to note in the
        snapshot. Raises ImportError, husk.HuskError."""

    # ---- Levels ----

    def prepare(
        self, level: int | None, patience: Patience, shared: int | None
    ) -> tuple[Image, bool]:
        """The best snapshot that is there, or a new one; and whether a better one may come.

        level: None: the optimised one if it is there, else the quick one, while the optimised one
        is compiled behind. shared: a descriptor of the one to use.
        """
        if shared is not None:
            return self._of_descriptor(shared), False
        if level is not None:
            return self._find(level) or self._make(level, patience), False
        best = self._find(OPTIMISED) or self.optimised(patience)
        if best is not None:
            return best, False
        quick = self._find(QUICK)
        if quick is not None:
            return quick, True
        with self._locked(QUICK, patience):  # processes that start together compile once
            quick = self._find(QUICK)
            if quick is not None:
                return quick, True
            image = self._compile(None, patience)
            if image.info.opt_level == QUICK:
                return self._new(QUICK, image, patience), True
        return self._make(OPTIMISED, patience, image), False

    def optimised(self, patience: Patience, *, reads: bool = False) -> Image | None:
        """The snapshot of the optimised image, if there is that image. reads: also if the cache has
        no note of the module's file, which it does not make of one that was just written; and a job
        that was lost begins anew."""
        image = self._cache.find(self._module, **self._options(OPTIMISED))
        if image is None and reads:
            compiled = self._compile(None, patience)
            image = compiled if compiled.info.opt_level == OPTIMISED else None
        if image is None:
            return None
        self.on_progress("the optimised image is there: make the snapshot anew", 0.0)
        return self._make(OPTIMISED, patience, image)

    # ---- Compiling ----

    def _options(self, level: int) -> CompileOptions:
        options = self.limits.copy()
        options["level"] = level
        return options

    def _compile(self, level: int | None, patience: Patience) -> Image:
        """The image; for None, whichever is there, and the optimised one is compiled behind."""
        options = self._options(OPTIMISED if level is None else level)
        if level is None:
            if background_is_allowed():
                options["optimise_in_background"], options["label"] = True, self.label
            else:
                options["level"] = QUICK
        options["progress"] = lambda done, of: self.on_progress("compile", done / max(1, of))
        options["goes_on"] = patience.goes_on
        with patience.bounds("compile"):
            compiled = self._cache.compile_file(self._module, **options)
        self.on_progress("compile", 1.0)
        if compiled.background.state in (BackgroundState.FAILED, BackgroundState.REFUSED):
            error = compiled.background.error
            self.on_progress(f"the optimised image is not compiled: {error}", 0.0)
        return compiled.image

    # ---- Snapshots ----

    def _key(self, level: int) -> str:
        return self._snapshots.key(*self._parts, level)

    def _find(self, level: int) -> Image | None:
        return self._snapshots.find(self._key(level))

    def _locked(self, level: int, patience: Patience) -> Any:
        return self._snapshots.locked(self._key(level), self.on_progress, patience)

    def _of_descriptor(self, descriptor: int) -> Image:
        image = open_shared(descriptor, self.engine)
        if note_of(image).get("key") != self._key(image.info.opt_level):
            raise ValueError(
                f"descriptor {descriptor} is not a snapshot of {self.label} with these imports, "
                "made by this version of Husk on a CPU like this one: make it by Sandbox.share()"
            )
        return image

    def _new(self, level: int, image: Image, patience: Patience) -> Image:
        """Make a snapshot of a compiled image, and save it."""
        snapshot, note = self.snapshot(image, patience)
        key = self._key(level)
        snapshot.note = json.dumps({**note, "key": key}).encode()
        self._snapshots.save(key, snapshot, self.on_progress)
        return snapshot

    def _make(self, level: int, patience: Patience, image: Image | None = None) -> Image:
        """Open a snapshot, or make and save it. If another process makes it, wait for that."""
        with self._locked(level, patience):
            found = self._find(level)
            if found is None:
                compiled = self._compile(level, patience) if image is None else image
                found = self._new(level, compiled, patience)
            return found


SomeMaker = TypeVar("SomeMaker", bound=Maker)


class FromMaker(Generic[SomeMaker]):
    """What every Prepared has that comes from a maker."""

    def __init__(self, image: Image, maker: SomeMaker, *, seeks_newer: bool) -> None:
        self.image = image
        self.may_be_replaced = self._seeks_newer = seeks_newer
        self._maker = maker
        self._looked = time.monotonic()
        self._looks = 0

    @property
    def level(self) -> int:
        """Of optimisation."""
        return self.image.info.opt_level

    def newer_image(self, patience: Patience | None) -> Image | None:
        """The same snapshot from the optimised image, once that was compiled behind; else None.

        It looks every few seconds. The first process that asks makes it, in a few seconds, and
        on_progress says so. Sandboxes of this one go on as they are, also if that fails or takes
        longer than somebody waits: then it is tried again in a minute.
        """
        now = time.monotonic()
        if not self._seeks_newer or now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        self._looks += 1
        reads = self._looks % _LOOKS_BETWEEN_READS == 0
        try:
            newer = self._maker.optimised(patience or Patience(), reads=reads)
        except (HuskError, OSError, ImportError) as error:
            self._looked = time.monotonic() + _FAILED_SECONDS
            why = f"the snapshot of the optimised image is not made: {error}"
            self._maker.on_progress(why, 0.0)
            return None
        if newer is not None:
            self._seeks_newer = False
        return newer
