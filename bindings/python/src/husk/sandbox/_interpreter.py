"""Between the API and an interpreter: what a kind of Python guest must be able to do.

An Interpreter knows one module. It makes a Prepared of it: a snapshot whose next step is to run
code. The API (_api.py) has the sandboxes, restores them, and hands a Request to Prepared.run().

What an interpreter does for a request, in this order:

1. Seed `random`, and numpy's global generator if it is imported, from `request.seed`, unless that
   is None.
2. Write `request.files` to /input, which the guest cannot write to afterwards if the interpreter
   can keep it from that; make /output, empty.
3. Run the code in the namespace of the session, `__main__`. `call_tool(name, **arguments)` is
   request.tools.call(), and so are `http_get` and `http_post`.
4. Pass output on as it comes, and at the end the files in /output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import husk
    from husk.sandbox._patience import Patience

Progress = Callable[[str, float], object]
"""Called with what is being done ("compile", "initialise", "import numpy") and how far it is, 0 to
1."""


class ToolHost(Protocol):
    """The functions of the host that a guest may call."""

    def call(self, name: str, arguments: bytes) -> bytes:
        """Call a tool with a JSON object of arguments. Returns JSON: {"result": …} or {"error":
        text}.

        It raises nothing for what the guest did wrong: that is an error for the guest. It may raise
        husk.HuskError to end the guest's call, as at a deadline.
        """
        ...

    async def call_async(self, name: str, arguments: bytes) -> bytes:
        """The same, for tools that are coroutines, in the loop of the request."""
        ...


@dataclass
class Request:
    """One piece of code, and what belongs to it."""

    stdout: Callable[[bytes], object]
    """Gets output as the guest writes it. It counts and cuts off itself, and never fails."""
    stderr: Callable[[bytes], object]
    tools: ToolHost
    files: Mapping[str, bytes] = field(default_factory=dict)
    """For /input, by paths with "/" below it. They are checked: relative, no "..", no NUL."""
    output: Callable[[str, bytes], object] | None = None
    """Gets each file that the guest left in /output, by its path below that. None: nobody wants
    them. The guest chose names and sizes: this function checks both."""
    limits: husk.Limits | None = None
    """Deadline, CPU, token. The interpreter passes it to the call."""
    seed: bytes | None = None
    """32 bytes for the random generators; None: the session's go on."""
    is_live: bool = False
    """Somebody reads output while the code runs: it is passed on line by line."""
    memory_ran_out: bool = False
    """The interpreter sets it: the code ended by a MemoryError."""


class Prepared(Protocol):
    """A snapshot that is ready for code."""

    image: husk.Image
    """The snapshot. Sandboxes are made of it with guest_imports(), and restored to it or a later
    one."""

    sandbox_options: dict[str, Any]
    """For husk.Sandbox()."""
    may_be_replaced: bool
    """newer() may return another one some day."""

    def newer(self) -> Prepared | None:
        """The same snapshot from the optimised image, once that is there. It looks every few
        seconds, and returns it once."""
        ...

    def guest_imports(self, tools: ToolHost | None = None, *, files_max: int = 0) -> husk.Imports:
        """The imports of a sandbox of this image. Each sandbox has a set of its own. files_max:
        bytes of the guest's files, all together; 0: the library's limit."""
        ...

    def run(self, sandbox: husk.Sandbox, code: str, request: Request) -> int:
        """Run code. Returns the exit code: 0, 1 after an exception (the traceback is on stderr), or
        that of SystemExit. Raises what ends a call otherwise: husk.DeadlineExceeded, husk.Trap, ….

        After it returned, the sandbox can run more code, with the names that this code left, and it
        can be snapshotted; after it raised, it must be restored.
        """
        ...

    async def run_async(self, sandbox: husk.Sandbox, code: str, request: Request) -> int:
        """run(), for a task: the loop goes on while the guest runs. Cancelling ends the guest."""
        ...


class Interpreter(Protocol):
    """One kind of Python guest."""

    name: str
    """As in Sandbox(module=…) and messages."""

    def prepare(
        self,
        imports: tuple[str, ...] = (),
        *,
        engine: husk.Engine | None = None,
        cache_folder: str | PathLike[str] | None = None,
        on_progress: Progress | None = None,
        level: int | None = None,
        memory_max: int = 0,
        patience: Patience | None = None,
        shared: int | None = None,
    ) -> Prepared:
        """The snapshot in which these modules are imported: from the cache, or made now.

        memory_max: of the guest that imports them. patience: says whether somebody still waits: all
        steps ask it, and raise OutOfTimeError. shared: a descriptor of the snapshot to use
        (Sandbox.share()); only those are given one that were made with it.

        Kept by the module's hash, the imports, Husk's version, and the CPU. Raises
        ModuleNotFoundError (the package with the guest is not installed: the message says what to
        install), ImportError (the guest has no such module), husk.Error.
        """
        ...
