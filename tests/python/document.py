"""Runs the programs of a document: document.py FILE. Blocks of python run one after the other, as
one program, in the working folder; a block of text right after one is what it prints. Prints how
many blocks there were, or what was wrong."""

import contextlib
import io
import re
import sys
import traceback
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def main(path: str) -> int:
    text = Path(path).read_text()
    names: dict[str, object] = {"__name__": "__main__"}
    blocks = list(BLOCK.finditer(text))
    programs = wrong = 0
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        programs += 1
        place = line_of(text, block.start(2))
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                # Empty lines before it, so that a traceback has the document's lines.
                exec(compile("\n" * (place - 1) + block[2], path, "exec"), names)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            wrong += 1
        is_output = (
            following is not None
            and following[1] == "text"
            and following.start() == block.end() + 2
        )
        expected = following[2] if following is not None and is_output else ""
        if printed.getvalue() != expected:
            print(f"{path}:{place}: printed:\n{printed.getvalue()}expected:\n{expected}")
            wrong += 1
    print(f"{programs} programs, {wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
