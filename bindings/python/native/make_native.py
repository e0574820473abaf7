"""Makes the C source of husk._native from include/*.h, so that the two cannot differ.

make_native.py COMPILER INCLUDE_FOLDER OUTPUT.c

The C preprocessor expands the headers, with empty standard headers. What cffi does not read
(attributes, inline functions) is left out. Constants of the preprocessor are listed by name, and
the C compiler finds their values.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

HERE = Path(__file__).parent
STANDARD = ("stdbool.h", "stddef.h", "stdint.h")


def expanded(compiler: str, include: Path) -> str:
    """The declarations of all public headers, as cffi reads them."""
    with tempfile.TemporaryDirectory() as empty:
        for name in STANDARD:
            (Path(empty) / name).touch()
        command = [compiler, "-E", "-P", "-nostdinc", "-undef", f"-I{empty}", f"-I{include}"]
        source = '#include "husk_compile.h"\n'
        text = subprocess.run(
            [*command, "-x", "c", "-"], input=source, capture_output=True, text=True, check=True
        ).stdout
    text = re.sub(r"static inline .*?\n}", "", text, flags=re.S)
    text = re.sub(r"__attribute__\(\(.*?\)\)(?=;)", "", text, flags=re.S)
    return re.sub(r"-\((\d+)\)", r"-\1", text)


def constants(include: Path) -> list[str]:
    """The names of numbers that the headers #define."""
    pattern = re.compile(r"^#define (HUSK_\w+) +([^\s{].*)$", re.M)
    names = []
    for header in sorted(include.glob("husk*.h")):
        for name, value in pattern.findall(header.read_text()):
            if re.match(r"[\d(\-]|UINT64_MAX|0x", value):
                names.append(name)
    return names


def main() -> None:
    compiler, include, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    ffi = cffi.FFI()
    ffi.cdef("".join(f"#define {name} ...\n" for name in constants(include)))
    ffi.cdef(expanded(compiler, include))
    ffi.cdef((HERE / "callbacks.h").read_text())
    ffi.set_source("husk._native", '#include "husk_compile.h"\n#include "glue.h"\n')
    ffi.emit_c_code(str(output))


main()
