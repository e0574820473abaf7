"""
Runs a plan (plan.py) on Wasmtime and writes the trace: wasmtime_trace.py MODULE PLAN OUT LIMIT-MS

The plan is the one that V8's run annotated: it says where an instance is fresh. Exit status: 0, or 3 if Wasmtime refuses the module.
"""
import ctypes
import struct
import sys
import threading
import zlib

import wasmtime

HOST_CALLS_MAX = 1000
TRY_MS = 300
TRAPS = {
    "STACK_OVERFLOW": "stack",
    "MEMORY_OUT_OF_BOUNDS": "memory",
    "TABLE_OUT_OF_BOUNDS": "table",
    "INDIRECT_CALL_TO_NULL": "signature",
    "BAD_SIGNATURE": "signature",
    "INTEGER_OVERFLOW": "overflow",
    "INTEGER_DIVISION_BY_ZERO": "zero",
    "BAD_CONVERSION_TO_INTEGER": "float",
    "NULL_REFERENCE": "null",
    "UNREACHABLE": "unreachable",
    "HEAP_MISALIGNED": "unaligned",
    "ATOMIC_WAIT_NON_SHARED_MEMORY": "not shared",
    "INTERRUPT": "timeout",
}
MASK = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}


class HostFailed(Exception):
    pass


class SharedMemory(wasmtime.SharedMemory):
    """One that can be imported: that of wasmtime 50 gives a pointer to the pointer."""

    def _as_extern(self):
        ffi = wasmtime._ffi
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, ffi.wasmtime_extern_union(sharedmemory=self.ptr()))


def mix(x):
    x = (x ^ x >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ x >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ x >> 16


def stub_value(kind, seed, n):
    r = mix(seed ^ (n + 1) * 0x9E3779B1 & 0xFFFFFFFF)
    choice = r & 3 if seed else 0
    wide = choice == 3
    v = mix(r + 1 & 0xFFFFFFFF) if wide else r >> 2 & 15 if choice == 2 else 0
    if kind == "i32":
        return signed(v, 32)
    if kind == "i64":
        return signed((mix(v) if wide else 0) << 32 | v, 64)
    if kind == "f32":
        return ((v & 0xFFFF) - 0x8000) / 16 if wide else float(v)
    if kind == "f64":
        return signed(v, 32) / 16 if wide else float(v)
    return v if kind == "externref" and choice >= 2 else None


def signed(value, bits):
    return value - (1 << bits) if value >> bits - 1 else value


def from_text(text):
    if text == "null":
        return None
    kind, bits = text.split(":")
    if kind == "i32" or kind == "i64":
        return signed(int(bits, 16), int(kind[1:]))
    if kind == "f32":
        return struct.unpack("<f", struct.pack("<I", int(bits, 16)))[0]
    if kind == "f64":
        return struct.unpack("<d", struct.pack("<Q", int(bits, 16)))[0]
    return int(bits, 16)


def to_text(kind, value):
    if kind in MASK:
        return f"{kind}:{value & MASK[kind]:#x}"
    if kind in ("f32", "f64"):
        if value != value:
            return f"{kind}:nan"
        code, whole = ("<f", "<I") if kind == "f32" else ("<d", "<Q")
        return f"{kind}:{struct.unpack(whole, struct.pack(code, value))[0]:#x}"
    if kind == "funcref":
        return "funcref:null" if value is None else "funcref:set"
    return "externref:null" if value is None else f"externref:{value:#x}"


def types(text):
    return [] if text == "-" else text.split(",")


def value_type(name):
    return getattr(wasmtime.ValType, name)()


class Run:
    def __init__(self, module_path, plan_path, out, limit_ms):
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.max_wasm_stack = 1 << 20
        for feature in ("wasm_multi_memory", "wasm_memory64", "wasm_tail_call", "wasm_function_references", "wasm_exceptions", "wasm_threads",
                        "shared_memory"):
            if hasattr(wasmtime.Config, feature):  # they can only be set
                setattr(config, feature, True)
        self.engine = wasmtime.Engine(config)
        with open(module_path, "rb") as file:
            self.module = wasmtime.Module(self.engine, file.read())
        with open(plan_path, encoding="utf-8") as file:
            lines = [line.split() for line in file if line.strip()]
        self.imports = [words[2:] for words in lines if words[0] == "import"]
        self.watches = [words[1:] for words in lines if words[0] == "watch"]
        self.steps = [words for words in lines if words[0] not in ("import", "watch")]
        self.export_names = [e.name for e in self.module.exports]
        self.out, self.limit_ms = out, limit_ms
        self.seed = self.host_calls = 0

    def stub(self, idx, params, results):
        def call(*args):
            n = self.host_calls
            self.host_calls += 1
            if n >= HOST_CALLS_MAX:
                raise HostFailed()
            values = [stub_value(kind, self.seed, n * 8 + i) for i, kind in enumerate(results)]
            words = [f" host {idx}", *map(to_text, params, args), "->", *map(to_text, results, values)]
            print(" ".join(words), file=self.out)
            return None if not results else values[0] if len(results) == 1 else values

        return wasmtime.Func(self.store, wasmtime.FuncType(list(map(value_type, params)), list(map(value_type, results))), call)

    def given(self, idx, words):
        if words[0] == "func":
            return self.stub(idx, types(words[1]), types(words[2]))
        if words[0] == "memory":
            is_shared = words[3:] == ["shared"]
            kind = wasmtime.MemoryType(wasmtime.Limits(int(words[1]), int(words[2])), shared=is_shared)
            return SharedMemory(self.engine, kind) if is_shared else wasmtime.Memory(self.store, kind)
        if words[0] == "table":
            limits = wasmtime.Limits(int(words[2]), int(words[3]))
            return wasmtime.Table(self.store, wasmtime.TableType(value_type(words[1]), limits), None)
        kind = value_type(words[2].split(":")[0])
        value = wasmtime.Val.funcref(None) if words[2] == "null" else from_text(words[2])
        return wasmtime.Global(self.store, wasmtime.GlobalType(kind, words[1] == "mut"), value)

    def ending(self, limit_ms, call):
        """Runs call() and writes how it ended; returns the kind of the end."""
        self.host_calls = 0
        self.store.set_epoch_deadline(1)
        timer = threading.Timer(limit_ms / 1000, self.engine.increment_epoch)
        timer.start()
        try:
            print(" ".join(["= returned", *call()]), file=self.out)
            return "returned"
        except HostFailed:
            kind = "host"
        except wasmtime.Trap as trap:
            if "thrown Wasm exception" in str(trap):
                kind = "exception"
            else:
                kind = TRAPS.get(trap.trap_code.name, f"other: {trap.trap_code.name}")
        except wasmtime.WasmtimeError as error:
            kind = f"other: {error}"
        finally:
            timer.cancel()
            timer.join()
        print(f"= trap {kind}", file=self.out)
        return kind

    def start(self):
        print("start", file=self.out)
        self.seed = 0
        self.seen = {}
        self.store = wasmtime.Store(self.engine)
        given = [self.given(idx, words) for idx, words in enumerate(self.imports)]
        self.instance = None

        def instantiate():
            self.instance = wasmtime.Instance(self.store, self.module, given)
            return []

        end = self.ending(self.limit_ms, instantiate)
        if self.instance is not None:
            self.items = self.instance.exports(self.store)
            self.watch()
        return end

    def watch(self):
        for kind, idx, *rest in self.watches:
            item = self.items.by_index[int(idx)]
            if kind == "memory":
                of = () if isinstance(item, wasmtime.SharedMemory) else (self.store,)
                count = item.data_len(*of)
                raw = (ctypes.c_ubyte * count).from_address(ctypes.addressof(item.data_ptr(*of).contents)) if count else b""
                text = f"{count // 65536} {zlib.crc32(raw):x}"
            elif kind == "global":
                text = to_text(rest[0], item.value(self.store))
            else:
                self.store.set_epoch_deadline(1 << 30)
                text = f"{item(self.store) & 0xFFFFFFFF:x}"
            name = self.export_names[int(idx)]
            if self.seen.get(name) != text:
                print(f" {name} {text}", file=self.out)
            self.seen[name] = text

    def call(self, words):
        results = types(words[3])
        self.seed = int(words[2])

        def call():
            value = self.items.by_index[int(words[1])](self.store, *map(from_text, words[4:]))
            values = [] if not results else [value] if len(results) == 1 else value
            return list(map(to_text, results, values))

        return self.ending(TRY_MS if words[0] == "try" else self.limit_ms, call)

    def run(self):
        is_fresh = True
        for step, words in enumerate(self.steps):
            # An instance for a call that is skipped, too: V8 started one.
            if words[0] != "fresh" and is_fresh:
                if self.start() != "returned":
                    return
                is_fresh = False
            if words[0] not in ("fresh", "skip"):
                print(f"call {step}", file=self.out)
                is_fresh = self.call(words) == "timeout"
                self.watch()
            is_fresh = is_fresh or words[0] != "call"


def main():
    module_path, plan_path, out_path, limit = sys.argv[1:5]
    with open(out_path, "w", encoding="utf-8") as out:
        try:
            run = Run(module_path, plan_path, out, int(limit))
        except wasmtime.WasmtimeError as error:
            print(f"refused: {error}")
            return 3
        run.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
