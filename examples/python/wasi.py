"""A program for WASI: arguments, streams, a directory of the host that it can read but not
change. Run it: python wasi.py

It copies a file to standard output, and what it reads from standard input to standard error.
"""

import tempfile
from pathlib import Path

import husk
from wat import wasm

GUEST = """
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  ;; 0: address and size of a buffer at 4096; 8: how much was moved; 16: a descriptor; 32: a name
  (data (i32.const 0) "\\00\\10\\00\\00\\00\\10\\00\\00")
  (data (i32.const 32) "greeting.txt")
  (func $must (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func $copy (param $from i32) (param $to i32)
    (call $must (call $read (local.get $from) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (call $must (call $write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.const 4096)))
  (func (export "_start")
    ;; descriptor 3 is the first directory; the right to read is bit 1
    (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 12)
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (call $copy (i32.load (i32.const 16)) (i32.const 1))
    (call $copy (i32.const 0) (i32.const 2))
    (call $exit (i32.const 3))))
"""

image = husk.compile(wasm(GUEST))
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "greeting.txt").write_text("hello from a file\n")
    imports = husk.Imports()
    imports.wasi(
        husk.Wasi(
            args=["wasi"],
            stdin=b"hello from standard input\n",
            stdout=husk.BUFFER,
            stderr=husk.BUFFER,
            dirs=[husk.Dir("/data", host=folder)],
        )
    )
    with husk.Sandbox(image, imports) as sandbox:
        try:
            sandbox.call("_start")
        except husk.Exited as end:
            print("exit code:", end.code)
        output, errors = (sandbox.wasi_output(stream) for stream in ("stdout", "stderr"))
        print("output:", output.text(), end="")
        print("errors:", errors.text(), end="")
