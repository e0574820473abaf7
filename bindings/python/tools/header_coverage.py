#!/usr/bin/env python3
"""Which functions, struct fields and statuses of husk.h do the tests of the binding use?

It counts by what ran. A small library, made here from include/abi.list, stands between the binding
and libhusk (LD_PRELOAD). It notes each function that Python called, each struct field that crossed
the boundary with a value other than zero, in either direction, and each status that a call gave.
Of structs that the library fills, a field counts only if the package also read it
(struct_reads.py).

    header_coverage.py run [--python PYTHON] [PYTEST ARGUMENT…]   run the tests under it, and report
    header_coverage.py build LIBRARY.so                           make that library only
    header_coverage.py report TRACE                               report what a trace has

Exit status: 0; 1: something is never used, or a test failed; 2: it cannot be done.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

# Fields that always are zero, by name, and those that no test can make other than zero.
ALWAYS_ZERO = re.compile(r"\.reserved\d*$")
# Read by other means than `struct.field`, and inputs of structs that the library also fills.
READ_OTHERWISE = re.compile(
    r"husk_value\.|husk_functype\.|husk_many\.count|husk_bytes\.(input|keeps)|.*\.size$"
)


@dataclass
class Member:
    """A member of a struct: its name, with dots inside a union, and its type in C."""

    name: str
    type: str


@dataclass
class Function:
    """A function: its name, the type that it returns, and (type, name) of its parameters."""

    name: str
    returns: str
    params: list[tuple[str, str]]
    has_varargs: bool


@dataclass
class Interface:
    """What include/abi.list says."""

    functions: list[Function] = field(default_factory=list)
    structs: dict[str, list[Member]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def outputs(self) -> set[str]:
        """The structs that the library fills, and those that they hold."""
        found = {
            struct_of(declaration)
            for function in self.functions
            for declaration, _ in function.params
            if "*" in declaration and not declaration.startswith("const")
        } | set(VISITED.values())
        while True:
            inner = {struct_of(m.type) for name in found for m in self.structs.get(name or "", [])}
            if inner <= found:
                return {name for name in found if name in self.structs}
            found |= inner

    def must_be_read(self) -> set[str]:
        """The fields that the package must read: those of outputs."""
        outputs = self.outputs()
        return {
            name
            for name in self.fields()
            if name.partition(".")[0] in outputs and not READ_OTHERWISE.match(name)
        }

    def fields(self) -> Iterator[str]:
        """The fields that count, as "struct.member"."""
        for name, members in self.structs.items():
            for member in members:
                if member.type != "union" and not ALWAYS_ZERO.search("." + member.name):
                    yield f"{name}.{member.name}"


def split_params(text: str) -> list[str]:
    """Split at the commas that are in no parentheses."""
    parts, depth, begin = [], 0, 0
    for place, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [*parts, text[begin:].strip()]


def parse_param(text: str) -> tuple[str, str]:
    """Take "const char *name" or "int (*fn)(int)" apart: the whole declaration, and its name."""
    match = re.search(r"\(\*(\w+)\)", text) or re.search(r"(\w+)(\[\])?$", text)
    assert match is not None, text
    return text, match.group(1)


def parse_function(line: str) -> Function:
    match = re.match(r"function (\w+) \S+: (.*?)\b\1\((.*)\)$", line)
    assert match is not None, line
    name, returns, inside = match.groups()
    params = [] if inside == "void" else split_params(inside)
    has_varargs = bool(params) and params[-1] == "..."
    return Function(
        name, returns.strip(), [parse_param(p) for p in params if p != "..."], has_varargs
    )


def read_interface(path: Path) -> Interface:
    interface = Interface()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("function "):
            interface.functions.append(parse_function(line))
        elif match := re.match(r"struct (\w+) ([\w.]+) at \d+, \d+ bytes: (.*)$", line):
            struct, name, kind = match.groups()
            interface.structs.setdefault(struct, []).append(Member(name, kind))
        elif match := re.match(r"enum husk_status HUSK_E_(\w+) (-\d+)$", line):
            interface.statuses["HUSK_E_" + match.group(1)] = int(match.group(2))
    return interface


# ---- The library that traces ----

PROLOGUE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <husk.h>
#include <husk_compile.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int trace_fd = -1;

__attribute__((constructor)) static void trace_open(void) {
    const char *path = getenv("HUSK_TRACE_FILE");
    if (path != NULL)
        trace_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
}

/* One line, the first time. Two threads may write it twice, which does no harm. */
static void seen(unsigned char *flag, const char *kind, const char *name) {
    if (*flag != 0)
        return;
    *flag = 1;
    char line[160];
    int count = snprintf(line, sizeof line, "%s %s\n", kind, name);
    if (trace_fd >= 0 && write(trace_fd, line, (size_t)count) < 0)
        perror("husk trace");
}
#define SEEN(kind, name) do { static unsigned char flag; seen(&flag, kind, name); } while (0)

static int is_zero(const void *bytes, size_t count) {
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; i++)
        if (byte[i] != 0)
            return 0;
    return 1;
}

/* The libraries call each other, and that is not the binding's doing. */
static int is_library(void *caller) {
    Dl_info info;
    return dladdr(caller, &info) == 0 || strstr(info.dli_fname, "libhusk") != NULL;
}

static void *real_function(const char *name) {
    static const char *const libraries[] = {"libhusk.so.0", "libhusk_compile.so.0"};
    for (size_t i = 0; i < 2; i++) {
        void *library = dlopen(libraries[i], RTLD_NOLOAD | RTLD_NOW);
        void *function = library == NULL ? NULL : dlsym(library, name);
        if (function != NULL)
            return function;
    }
    fprintf(stderr, "husk trace: no %s\n", name);
    abort();
}

static void seen_status(long long status);
"""

# The values of a union, by the type that tells which of them it is.
VALUE = r"""
static void seen_husk_value(const struct husk_value *value, int outputs) {
    (void)outputs;
    switch (value->type) {
    case HUSK_I32: if (value->of.i32 != 0) SEEN("field", "husk_value.of.i32"); break;
    case HUSK_I64: if (value->of.i64 != 0) SEEN("field", "husk_value.of.i64"); break;
    case HUSK_F32: if (value->of.f32 != 0) SEEN("field", "husk_value.of.f32"); break;
    case HUSK_F64: if (value->of.f64 != 0) SEEN("field", "husk_value.of.f64"); break;
    case HUSK_V128: if (!is_zero(value->of.v128, 16)) SEEN("field", "husk_value.of.v128"); break;
    case HUSK_FUNCREF: case HUSK_EXTERNREF: case HUSK_EXNREF:
        if (value->of.ref != 0) SEEN("field", "husk_value.of.ref");
        break;
    default: return; /* not filled */
    }
    SEEN("field", "husk_value.type");
}
"""


def struct_of(kind: str) -> str | None:
    """The struct that a type names or points to."""
    match = re.match(r"(?:const )?(?:struct (husk_\w+)|(husk_func|husk_tag))\b", kind)
    return (match.group(1) or match.group(2)) if match else None


def member_lines(interface: Interface, struct: str, member: Member) -> Iterator[str]:
    name, kind = member.name, member.type
    if kind == "union":
        return
    yield f"    if (!is_zero(&object->{name}, sizeof object->{name}))"
    yield f'        SEEN("field", "{struct}.{name}");'
    inner = struct_of(kind)
    if inner not in interface.structs:
        return
    if "[" in kind:
        yield f"    for (size_t i = 0; i < object->{name}_count; i++)"
        yield f"        seen_{inner}(&object->{name}[i], outputs);"
    elif "*" not in kind:
        yield f"    seen_{inner}(&object->{name}, outputs);"
    elif kind.count("*") == 1:
        has_count = any(m.name == name + "_count" for m in interface.structs[struct])
        count = f"object->{name}_count" if has_count else "1"
        ready = "1" if kind.startswith("const") else "outputs"
        yield f"    for (size_t i = 0; {ready} && object->{name} != NULL && i < {count}; i++)"
        yield f"        seen_{inner}(&object->{name}[i], outputs);"


def struct_lines(interface: Interface, struct: str) -> Iterator[str]:
    """A function that notes the fields of a struct. With `outputs`, also what it points to, of
    which the library fills in a part."""
    if struct == "husk_value":
        yield VALUE
        return
    tag = struct if struct in ("husk_func", "husk_tag") else f"struct {struct}"
    yield f"static void seen_{struct}(const {tag} *object, int outputs) {{"
    yield "    (void)outputs;"
    for member in interface.structs[struct]:
        yield from member_lines(interface, struct, member)
    yield "}"


def visit_lines(function: Function, declaration: str, name: str, struct: str) -> Iterator[str]:
    """A callback that stands before the binding's own, and notes the struct that it gets."""
    flag = "bool is_import, " if "is_import" in declaration else ""
    passes = "is_import, " if flag else ""
    returns = "void" if declaration.startswith("void") else "int"
    yield f"struct visit_{function.name} {{"
    yield f"    void *user; {returns} (*fn)(void *user, {flag}const struct {struct} *item);"
    yield "};"
    yield f"static {returns} on_{function.name}(void *user, {flag}const struct {struct} *item) {{"
    yield f"    struct visit_{function.name} *visit = user;"
    yield f"    seen_{struct}(item, 1);"
    yield f"    {'return ' if returns == 'int' else ''}visit->fn(visit->user, {passes}item);"
    yield "}"


VISITED = {
    "husk_image_file_fn": "husk_image_file",
    "husk_cache_entry_fn": "husk_cache_entry",
    "struct husk_background_job": "husk_background_job",
    "struct husk_extern *item": "husk_extern",
}


def visited_struct(declaration: str) -> str | None:
    if "_fn" in declaration or "(*" in declaration:
        for text, struct in VISITED.items():
            if text in declaration:
                return struct
    return None


def note_params(interface: Interface, function: Function, after: bool) -> Iterator[str]:
    """Note what the struct parameters hold: inputs before the call, everything after it."""
    names = [name for _, name in function.params]
    for declaration, name in function.params:
        struct = struct_of(declaration)
        if struct not in interface.structs or "(*" in declaration:
            continue
        is_pointer = "*" in declaration
        if not is_pointer:
            if not after:
                yield f"        seen_{struct}(&{name}, 0);"
            continue
        if not after and not declaration.startswith("const"):
            continue
        is_array = name in ("rows", "modules") and "count" in names
        count = "count" if is_array else "1"
        ready = "1" if struct == "husk_error" or declaration.startswith("const") else "is_filled"
        if struct == "husk_error" and not after:
            continue
        if struct == "husk_error":
            ready = "!is_filled"
        yield f"        for (size_t i = 0; {ready} && {name} != NULL && i < {count}; i++)"
        yield f"            seen_{struct}(&{name}[i], {'is_filled' if after else '0'});"


def function_lines(interface: Interface, function: Function) -> Iterator[str]:
    name = function.name
    arguments = [param for _, param in function.params]
    visit = next(
        ((d, n, s) for d, n in function.params if (s := visited_struct(d)) is not None), None
    )
    if visit is not None:
        yield from visit_lines(function, *visit)
    declared = ", ".join(d for d, _ in function.params) or "void"
    dots = ", ..." if function.has_varargs else ""
    space = "" if function.returns.endswith("*") else " "
    yield f"{function.returns}{space}{name}({declared}{dots}) {{"
    yield f"    static __typeof__(&{name}) real;"
    yield f'    if (real == NULL) real = (__typeof__(&{name}))real_function("{name}");'
    yield "    int is_traced = !is_library(__builtin_return_address(0));"
    yield f'    if (is_traced) {{\n        SEEN("function", "{name}");'
    yield from note_params(interface, function, after=False)
    yield "    }"
    if visit is not None:
        yield f"    struct visit_{name} between = {{user, (void *){visit[1]}}};"
        arguments[arguments.index(visit[1])] = f"{visit[1]} == NULL ? NULL : on_{name}"
        arguments[arguments.index("user")] = "&between"
    if function.has_varargs:
        yield "    char text[512]; va_list list; va_start(list, format);"
        yield "    vsnprintf(text, sizeof text, format, list); va_end(list);"
        arguments[arguments.index("format")] = '"%s", text'
    call = f"real({', '.join(arguments)})"
    if function.returns == "void":
        yield f"    {call};\n    int is_filled = 1; (void)is_filled;"
    else:
        yield f"    {function.returns}{space}result = {call};"
        is_status = function.returns == "int"
        yield f"    int is_filled = {'result == 0' if is_status else '1'}; (void)is_filled;"
    yield "    if (is_traced) {"
    if function.returns == "int":
        yield "        seen_status(result);"
    yield from note_params(interface, function, after=True)
    yield "    }"
    if function.returns != "void":
        yield "    return result;"
    yield "}"


def c_text(interface: Interface) -> str:
    lines = [PROLOGUE]
    for struct in interface.structs:
        tag = struct if struct in ("husk_func", "husk_tag") else f"struct {struct}"
        lines.append(f"static void seen_{struct}(const {tag} *object, int outputs);")
    for struct in interface.structs:
        lines.extend(struct_lines(interface, struct))
    lines.append("static void seen_status(long long status) {\n    switch (status) {")
    for name in interface.statuses:
        lines.append(f'    case {name}: SEEN("status", "{name}"); break;')
    lines.append("    default: break;\n    }\n}")
    for function in interface.functions:
        lines.extend(function_lines(interface, function))
    return "\n".join(lines) + "\n"


def build(library: Path, interface: Interface) -> None:
    """Compile the library that traces."""
    compiler = os.environ.get("CC", "cc")
    flags = ["-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-Wall", "-Wno-unused-function"]
    subprocess.run(
        [compiler, *flags, f"-I{ROOT / 'include'}", "-x", "c", "-", "-o", str(library)],
        input=c_text(interface),
        text=True,
        check=True,
    )


# ---- The report ----


def report(trace: Path, interface: Interface) -> int:
    """Print what was used, N of N, and what was not. 1: something was not."""
    used: dict[str, set[str]] = {"function": set(), "field": set(), "status": set(), "read": set()}
    for line in trace.read_text(encoding="utf-8").splitlines():
        kind, name = line.split()
        used[kind].add(name)
    unread = interface.must_be_read() - used["read"]
    for name in sorted(unread & used["field"]):
        print(f"never read by the package: {name}")
    used["field"] -= unread
    wanted = {
        "function": {function.name for function in interface.functions},
        "field": set(interface.fields()),
        "status": set(interface.statuses),
    }
    for kind, names in wanted.items():
        plural = "statuses" if kind == "status" else kind + "s"
        print(f"{plural + ':':<11} {len(names & used[kind])} of {len(names)}")
    for kind, names in wanted.items():
        for name in sorted(names - used[kind]):
            print(f"never used: {kind} {name}")
    return 0 if all(names <= used[kind] for kind, names in wanted.items()) else 1


def run(arguments: list[str], interface: Interface) -> int:
    """Run the tests under the library, and report."""
    python = sys.executable
    if arguments[:1] == ["--python"]:
        python, arguments = arguments[1], arguments[2:]
    with tempfile.TemporaryDirectory(prefix="husk-coverage-") as folder:
        library, trace = Path(folder, "libtrace.so"), Path(folder, "trace")
        build(library, interface)
        trace.touch()
        path = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "HUSK_TRACE_FILE": str(trace),
            "PYTHONPATH": os.pathsep.join(path),
        }
        tests = [] if any(Path(a).exists() for a in arguments) else [str(HERE.parent / "tests")]
        command = [python, "-m", "pytest", "-q", "-p", "struct_reads", *arguments, *tests]
        done = subprocess.run(command, env=environment, check=False)
        if trace.stat().st_size == 0:
            print("header_coverage.py: no function of the library was called", file=sys.stderr)
            return 2
        return max(report(trace, interface), 1 if done.returncode else 0)


def main(arguments: list[str]) -> int:
    interface = read_interface(ROOT / "include" / "abi.list")
    match arguments:
        case ["run", *rest]:
            return run(rest, interface)
        case ["build", library]:
            build(Path(library), interface)
            return 0
        case ["report", trace]:
            return report(Path(trace), interface)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
