"""The command line of python -m husk.mcp."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from husk._native import ffi, lib
from husk.mcp._arguments import FILES_MAX, Bounds
from husk.sandbox import Sandbox
from husk.sandbox._files import size_of
from husk.sandbox._modules import SCIENTIFIC, STANDARD

_MISSING = "the package mcp, from 2.3 on and below 3, cannot be imported: pip install 'mcp>=2.3,<3'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server. Returns the exit status: 0 when its input has ended, 1 without the package
    mcp, 2 for a wrong option."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        from husk.mcp import _server
        from husk.mcp._runner import Runner
    except ImportError as error:
        print(f"husk.mcp: {_MISSING} ({error})", file=sys.stderr)
        return 1
    try:
        files_bytes = size_of(given.files_max, "--files-max")
        options = _options(given)
        setup = _setup(given.allow_domain)
        with Sandbox(**options) as sandbox:  # nothing is made, but all is checked
            setup(sandbox)
    except (ImportError, TypeError, ValueError) as error:
        parser.error(str(error))
    bounds = Bounds(given.deadline, files_bytes, given.sessions)

    async def serve() -> bool:
        runner = Runner(
            sandbox_options=options,
            setup=setup,
            at_once=given.at_once,
            sessions=given.sessions,
            session_idle=given.session_idle,
        )
        version = ffi.string(lib.husk_version()).decode()
        server = _server.server_of(runner, bounds, _about(given), version)
        if given.http is None:
            await _server.serve_stdio(server, runner)
        else:
            await _server.serve_http(server, runner, given.host, given.http)
        return runner.is_preparing

    if given.http is None:
        # The thread that reads standard input would keep Python from ending by KeyboardInterrupt.
        # The kernel frees what virtual machines have.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if asyncio.run(serve()):
        # A thread is in the compiler, or in a guest that imports: Python's own end could wait for
        # it. The compiler's process ends with this one.
        sys.stderr.flush()
        os._exit(0)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m husk.mcp",
        description="An MCP server with one tool, which runs Python in a virtual machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    seconds = _number(float, 0.001, 1e9)
    add("--module", default=STANDARD, help=f"{STANDARD} (standard library) or {SCIENTIFIC}")
    add("--module-path", help="the module's file or folder, if it is no installed package")
    add("--imports", type=_names, default=[], metavar="NAME,…", help="in the snapshot already")
    add("--deadline", type=seconds, default=30.0, help="seconds that a run may take")
    add("--cpu", type=seconds, help="seconds of CPU time that a run may take")
    add("--memory", default="256Mi", help="of each sandbox")
    add(
        "--allow-domain",
        action="append",
        default=[],
        metavar="ORIGIN[=METHOD,…]",
        help="let code make HTTP requests there; may be given several times",
    )
    add(
        "--sessions",
        type=_number(int, 0, 10_000),
        default=8,
        help="kept at most; 0: only fresh states",
    )
    add("--session-idle", type=seconds, default=1800.0, help="seconds until one ends")
    add(
        "--at-once",
        type=_number(int, 1, 1000),
        default=4,
        help="runs at the same time; others wait",
    )
    add("--output-max", default="64Ki", help="bytes of standard output and of errors")
    add("--files-max", default="4Mi", help="bytes of a request's files, in and out")
    add("--cache-folder", help="where the compiled module and snapshots are kept")
    add("--level", type=int, choices=(0, 1, 2), help="of optimisation, instead of both in turn")
    add(
        "--http",
        type=_number(int, 0, 65535),
        metavar="PORT",
        help="streamable HTTP instead of standard input",
    )
    add("--host", default="127.0.0.1", help="the address for that; there is no log-in")
    return parser


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """Options of a Sandbox."""
    return {
        "module": given.module,
        "module_path": given.module_path,
        "imports": given.imports,
        "deadline": given.deadline,
        "cpu": given.cpu,
        "memory": given.memory,
        "output_max": given.output_max,
        "max_file_size": given.files_max,
        "max_total_size": given.files_max,
        "max_file_count": FILES_MAX,
        "cache_folder": given.cache_folder,
        "level": given.level,
    }


def _setup(origins: Sequence[str]) -> Callable[[Sandbox], None]:
    def setup(sandbox: Sandbox) -> None:
        for each in origins:
            origin, mark, methods = each.partition("=")
            sandbox.allow_domain(origin, methods.split(",") if mark else None)

    return setup


def _about(given: argparse.Namespace) -> str:
    """What the model must know of the guest."""
    is_scientific = given.module.replace("_", "-") == SCIENTIFIC
    has = "numpy, pandas, scipy, matplotlib and more" if is_scientific else "the standard library"
    origins = ", ".join(each.partition("=")[0] for each in given.allow_domain)
    network = f"http_get(url) and http_post(url, body) reach {origins}" if origins else "no network"
    figures = " Figures that are open at the end become images." if is_scientific else ""
    return f"It is CPython with {has}; {network}; no packages can be installed.{figures}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers from low to high."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {low:g} to {high:g}")
        return value

    return read
