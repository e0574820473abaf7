// bench/v8_beside.mjs MODULES-FOLDER: runs kernels in V8 for bench/v8_beside.c. A line "NAME N" on standard input asks for one run of
// MODULES-FOLDER/NAME.wasm; the answer is a line "NANOSECONDS CHECKSUM-IN-HEX". The time is CPU time of this thread, as Husk's is.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const folder = process.argv[2];
const instances = new Map();

function instanceOf(name) {
  if (!instances.has(name)) {
    const module = new WebAssembly.Module(readFileSync(`${folder}/${name}.wasm`));
    instances.set(name, new WebAssembly.Instance(module, {}));
  }
  return instances.get(name);
}

function threadNs() {
  const usage = process.threadCpuUsage(); // microseconds
  return (usage.user + usage.system) * 1000;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, n] = line.split(" ");
  const run = instanceOf(name).exports.run;
  const start = threadNs();
  const sum = run(Number(n));
  console.log(`${threadNs() - start} ${BigInt.asUintN(64, sum).toString(16)}`);
}
