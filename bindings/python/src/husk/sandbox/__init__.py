"""Python for agents: run code that a model wrote, each sandbox in a virtual machine of its own.

from husk.sandbox import Sandbox

sandbox = Sandbox()
sandbox.register_tool("add", lambda a=0, b=0: a + b)
print(sandbox.run("print(call_tool('add', a=3, b=4))").stdout)
"""

from husk.errors import HuskError
from husk.limits import Cancel
from husk.pool import PoolTimeout
from husk.sandbox._api import Sandbox, Snapshot
from husk.sandbox._pool import Pool
from husk.sandbox._result import Result
from husk.sandbox._tool import CodeExecutionTool, SandboxEnvironment

ExecutionResult = Result

__all__ = [
    "Cancel",
    "CodeExecutionTool",
    "ExecutionResult",
    "HuskError",
    "Pool",
    "PoolTimeout",
    "Result",
    "Sandbox",
    "SandboxEnvironment",
    "Snapshot",
]
