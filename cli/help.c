/*
 * cli/help.c: what --help prints. The man pages (docs/man) say the same at length.
 */
#include "cli.h"

#define EXIT_CODES                                                                                           \
    "\n"                                                                                                     \
    "Exit codes: the program's own (low 8 bits); 2 wrong usage; 124 out of time; 125 husk failed (file,\n"   \
    "compiler, KVM); 130 interrupted (128 + signal); 134 the guest trapped; 139 the guest broke its VM's "   \
    "rules.\n"

const char help_husk[] =
    "husk runs untrusted WebAssembly, every instance in a virtual machine of its own.\n"
    "\n"
    "  husk run FILE [ARGS…]       run a program, or one function of it\n"
    "  husk snapshot FILE -o OUT   initialise a module, or call a function of it, and write its state to a "
    "file\n"
    "  husk compile FILE -o OUT    compile a module to an image\n"
    "  husk inspect FILE           show what a module or an image contains\n"
    "  husk validate FILE…         check modules\n"
    "  husk doctor                 can this machine run it, and if not, what is missing\n"
    "  husk help [COMMAND]         also: husk COMMAND --help, husk(1)\n"
    "  husk version\n"
    "\n"
    "FILE is a WebAssembly module (.wasm) or an image that husk compile or husk snapshot wrote (.husk).\n";

const char help_run[] =
    "usage: husk run [OPTIONS] FILE [ARGS…]\n"
    "       husk run [OPTIONS] FILE --invoke FUNCTION [ARGS…]\n"
    "\n"
    "Run a WebAssembly program (WASI preview 1) in a virtual machine of its own. It gets ARGS, and husk's "
    "standard\n"
    "input, output and error. A .wasm file is compiled once and cached. Options stand before FILE; --invoke "
    "may\n"
    "also stand directly behind it. All other words there are ARGS, whatever they look like. A program whose "
    "own\n"
    "first argument is --invoke: husk run -- FILE --invoke.\n"
    "\n"
    "      --env NAME=VALUE    set an environment variable (repeatable); --env NAME passes on husk's own.\n"
    "                          The program gets no other variables\n"
    "      --invoke FUNCTION   call this export instead of _start. ARGS are its arguments, by its types:\n"
    "                          42, -1, 0xff; 2.5, 0x1p-3, inf, nan, nan:0x1; null. Results are printed\n"
    "                          one a line, as 42:i32. The name as husk inspect prints it: a\\00b\n"
    "      --json              with --invoke: results, traps and errors as one JSON object\n"
    "      --argv0 NAME        the program's first argument (default: the file's name, without its folder)\n"
    "      --unknown-imports trap\n"
    "                          functions that the module imports and husk does not have end the program "
    "when\n"
    "                          they are called. Default: refuse the module\n"
    "      --max-memory SIZE   limit of all linear memories together: 64M, 1G\n"
    "      --stack SIZE        native stack: 16K to 64M (default 1M)\n"
    "      --timeout TIME      end the guest after so much time: 500ms, 2s (no unit: seconds)\n"
    "      --cpu-timeout TIME  the same, in CPU time; waiting may take ten times as long, or 1s\n"
    "      --seek              standard streams that are files have a position: fseek, ftell, their size\n"
    "      --stats             say on standard error what the steps took, and what was counted\n"
    "  -O LEVEL                compile with 0 … 3 (default 2)\n"
    "      --cpu NAME          compile for this CPU (default: this machine)\n"
    "      --strict            compile with traps exactly as the standard has them: see husk-compile(1)\n"
    "      --compile-cpu-limit TIME, --compile-memory-limit SIZE\n"
    "                          what the compiler may use (default 10m of CPU time, 8G)\n"
    "      --no-cache          compile anew, and store nothing\n"
    "      --no-verify         do not compare an image with the hash of its content before\n"
    "      --allow-uncontained-compiler\n"
    "                          compile even where the kernel cannot confine the compiler's process\n"
    "  -h, --help\n" EXIT_CODES;

const char help_snapshot[] =
    "usage: husk snapshot [OPTIONS] FILE [ARGS…] -o OUT.husk\n"
    "\n"
    "Make an instance, initialise it (start function, _initialize) and write its state to OUT: an image like "
    "any\n"
    "other, which husk run and libhusk start from without doing that again. Options may stand anywhere; ARGS "
    "that\n"
    "start with - come behind --.\n"
    "\n"
    "  -o, --output FILE       where to; written atomically\n"
    "      --invoke FUNCTION   then call this export with ARGS, as husk run does. Its results are not "
    "printed\n"
    "      --allow-uncontained-compiler, --argv0, --compile-cpu-limit, --compile-memory-limit, --cpu,\n"
    "      --cpu-timeout, --env, --json, --max-memory, --no-cache, --no-verify, -O, --seek, --stack,\n"
    "      --stats, --strict, --timeout, --unknown-imports   as for husk run\n"
    "  -h, --help\n" EXIT_CODES;

const char help_compile[] =
    "usage: husk compile [OPTIONS] FILE.wasm [-o OUT.husk]\n"
    "\n"
    "Compile a WebAssembly module to an image, which husk run and libhusk load without a compiler.\n"
    "\n"
    "  -o, --output FILE     where to (default: FILE with the ending .husk); written atomically\n"
    "  -O LEVEL              0 (fast to compile) … 3 (default 2)\n"
    "      --cpu NAME        CPU to compile for: native (default), x86-64-v2 (any that husk supports),\n"
    "                        x86-64-v3, x86-64-v4, or an LLVM name such as znver3\n"
    "      --strict          traps exactly as the standard has them: see husk-compile(1). Slower\n"
    "      --threads N       at most N threads (default: one per core, up to 8)\n"
    "      --compile-cpu-limit TIME, --compile-memory-limit SIZE\n"
    "                        what the compiler may use (default 10m of CPU time, 8G)\n"
    "      --json            errors as JSON\n"
    "      --allow-uncontained-compiler\n"
    "                        compile even where the kernel cannot confine the compiler's process\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0; 2 wrong usage; 125 failed.\n";

const char help_inspect[] =
    "usage: husk inspect [OPTIONS] FILE\n"
    "\n"
    "Show what a module or an image contains: sizes, imports and exports with their types, CPU features.\n"
    "Needs no KVM.\n"
    "\n"
    "      --wasm      the module's instructions as text, with byte offsets\n"
    "      --asm       the compiled code (needs objdump; a module is compiled first)\n"
    "      --compile-cpu-limit TIME, --compile-memory-limit SIZE\n"
    "                  with --asm: what the compiler may use (default 10m of CPU time, 8G)\n"
    "      --allow-uncontained-compiler\n"
    "                  with --asm: even where the kernel cannot confine the compiler's process\n"
    "      --verify    check an image against its hash (the default)\n"
    "      --no-verify show an image although its content does not match its hash\n"
    "      --json      as JSON\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0; 2 wrong usage; 125 failed.\n";

const char help_validate[] =
    "usage: husk validate [--json] FILE…\n"
    "\n"
    "Check modules against the WebAssembly standard, without compiling. Silent if all is well; otherwise "
    "says\n"
    "what is wrong and at which byte.\n"
    "\n"
    "      --json    one JSON object per file\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 all can be compiled; 1 one is not valid; 2 wrong usage; 3 one uses what husk does not\n"
    "support, or is beyond its limits; 125 one could not be read. Of several, the first of 125, 1, 3.\n";

const char help_doctor[] =
    "usage: husk doctor [--json]\n"
    "\n"
    "Try everything that husk needs (KVM and what it can do, the compiler, a call in a VM, the cache) and\n"
    "say what is missing and how to get it.\n"
    "\n"
    "      --json    as JSON\n"
    "  -h, --help\n"
    "\n"
    "Exit codes: 0 modules can be compiled and run; 1 something is missing (a warning, such\n"
    "as one about the cache, is not); 2 wrong usage.\n";
