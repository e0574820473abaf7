"""For the examples: WebAssembly's text format to its binary one, by wat2wasm (Debian: package
wabt)."""

import subprocess


def wasm(text: str) -> bytes:
    """The module that the text means. wat2wasm says what is wrong."""
    command = ["wat2wasm", "-", "--output=-"]
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
