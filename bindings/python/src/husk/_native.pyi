# Made by cffi from include/*.h (native/make_native.py).
from typing import Any

ffi: Any
lib: Any
