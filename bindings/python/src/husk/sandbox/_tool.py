"""The classes by which frameworks for agents make a sandbox later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from husk.sandbox._api import Sandbox
from husk.sandbox._modules import STANDARD
from husk.sandbox._result import Result


@dataclass
class SandboxEnvironment:
    """Options of a Sandbox. `options`: more of them, by name."""

    input_dir: str | None = None
    output_dir: str | None = None
    temp_output: bool = False
    backend: str = "wasm"
    module: str | None = STANDARD
    module_path: str | None = None
    heap_size: str | None = None
    stack_size: str | None = None
    filesystem_limits: Literal["unlimited"] | None = None
    max_file_size: str | None = None
    max_total_size: str | None = None
    max_file_count: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class CodeExecutionTool:
    """A sandbox that is made when it is first used. tools: functions, by their own names."""

    environment: SandboxEnvironment = field(default_factory=SandboxEnvironment)
    tools: list[Callable[..., Any]] = field(default_factory=list)
    _sandbox: Sandbox | None = field(default=None, init=False, repr=False)

    def _get_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            options = dict(vars(self.environment))
            options.update(options.pop("options"))
            self._sandbox = Sandbox(**options)
            for function in self.tools:
                self._sandbox.register_tool(function)
        return self._sandbox

    def run(
        self,
        code: str,
        inputs: Mapping[str, bytes] | None = None,
        outputs: list[str] | None = None,
    ) -> Result:
        """Run code. inputs: files for /input. outputs: names of those that are wanted from
        /output."""
        wants = True if outputs else None
        result = self._get_sandbox().run(code, files=inputs, output=wants)
        if outputs:
            result.files = {name: result.files[name] for name in outputs if name in result.files}
        return result
