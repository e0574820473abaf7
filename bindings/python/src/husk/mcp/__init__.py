"""An MCP server over husk.sandbox: one tool, which runs Python in a virtual machine of its own.

    python -m husk.mcp

serves it on standard input and output, until the input ends. It needs the package mcp:
pip install 'husk-vm[mcp]'. _command.py has the command line, _server.py speaks the protocol,
_arguments.py checks what a client asks, _runner.py and _sessions.py run it, and _content.py makes
the answer.
"""

from husk.mcp._command import main

__all__ = ["main"]
