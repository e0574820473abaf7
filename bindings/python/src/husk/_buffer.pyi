# native/buffer.c
from typing import Any, final

@final
class Keeper:
    def __init__(self, kept: Any) -> None: ...
    @property
    def buffers(self) -> int: ...

@final
class Span:
    def __init__(
        self, keeper: Keeper, address: int, count: int, readonly: bool = False
    ) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
