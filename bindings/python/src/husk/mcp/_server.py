"""The server: one tool, and the transports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
    ToolAnnotations,
)

from husk.mcp._arguments import Bounds, arguments_of, schema
from husk.mcp._content import SCHEMA, answer, refusal
from husk.mcp._runner import Refused, Runner

NAME = "run_python"
_EXPIRE_SECONDS = 10.0


def tool(bounds: Bounds, about: str) -> Tool:
    """The tool, as it is listed. about: what the guest has."""
    return Tool(
        name=NAME,
        title="Run Python",
        description="Run Python code in a sandbox, and get what it prints, its errors, and the "
        f"files that it leaves in /output (images are shown). {about} Print what you want to see: "
        "the value of a last expression is not.",
        input_schema=schema(bounds),
        output_schema=SCHEMA,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, open_world_hint=False
        ),
    )


def server_of(runner: Runner, bounds: Bounds, about: str, version: str) -> Server[Any]:
    """The server of one runner."""

    async def list_tools(_ctx: Any, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tool(bounds, about)])

    async def call_tool(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name != NAME:
            message = f"there is no tool {params.name[:80]!r}: there is {NAME}"
            raise MCPError(code=INVALID_PARAMS, message=message)

        async def told(seconds: float, what: str) -> None:
            await ctx.session.report_progress(seconds, None, what)

        try:
            given = arguments_of(params.arguments, bounds)
            return answer(await runner.run(given, told))
        except (Refused, ValueError) as error:
            return refusal(str(error))

    return Server("husk", version=version, on_list_tools=list_tools, on_call_tool=call_tool)


def _say(line: str) -> None:
    """Deliberately not to standard output, which is the protocol's."""
    print(f"husk.mcp: {line}", file=sys.stderr, flush=True)


@asynccontextmanager
async def _running(runner: Runner) -> AsyncIterator[None]:
    """What goes on beside the requests: the snapshot is made, and sessions expire."""

    async def expire() -> None:
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            runner.sessions.expire()

    runner.prepare(_say)
    expiring = asyncio.create_task(expire())
    try:
        yield
    finally:
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        runner.close()


async def serve_stdio(server: Server[Any], runner: Runner) -> None:
    """Serve on standard input and output, until the input ends."""
    async with _running(runner), stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: Server[Any], runner: Runner, host: str, port: int) -> None:
    """Serve streamable HTTP at /mcp, until a signal ends it. Nobody has to log in: a host other
    than the loopback lets in all who reach it."""
    import uvicorn

    app = server.streamable_http_app(host=host)
    http = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))

    async def tell() -> None:
        while not http.started:
            await asyncio.sleep(0.01)
        for each in http.servers:
            for socket in each.sockets:
                _say("http://{}:{}/mcp".format(*socket.getsockname()[:2]))

    async with _running(runner):
        telling = asyncio.create_task(tell())
        try:
            await http.serve()
        finally:
            telling.cancel()
