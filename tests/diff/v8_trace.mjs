/*
 * Runs a plan (plan.py) on V8 and writes the trace: v8_trace.mjs MODULE PLAN OUT LIMIT-MS
 *
 * The run is in a worker thread, so that a call that never ends can be cut off: the main thread then writes its end and starts another
 * worker behind it. After an access out of bounds, an exhausted stack or a time-out the next call gets a fresh instance, and the trace says
 * so, because other engines may leave other bytes behind then. Exit status: 0, or 3 if V8 refuses the module.
 */
import fs from 'node:fs';
import zlib from 'node:zlib';
import { Worker, isMainThread, workerData } from 'node:worker_threads';

const HOST_CALLS_MAX = 1000; // of one call; the next one fails. The same number is in trace_stubs.c and wasmtime_trace.py.
const INEXACT = new Set(['memory', 'stack', 'timeout']);

// Traps by V8's messages (src/common/message-template.h), most telling words first. A kind may stand for several of Husk's.
const TRAPS = [
  ['unreachable', 'unreachable'], ['memory access out of bounds', 'memory'], ['divide by zero', 'zero'], ['remainder by zero', 'zero'],
  ['divide result unrepresentable', 'overflow'], ['float unrepresentable', 'float'], ['function signature', 'signature'],
  ['unaligned accesses', 'unaligned'], ['Atomics.wait cannot be called', 'not shared'], ['data segment', 'memory'], ['element segment', 'table'], ['table index is out of bounds', 'table'], ['table', 'table'],
  ['Maximum call stack', 'stack'], ['dereferencing a null pointer', 'null'], ['rethrowing null value', 'null'],
];

function trapKind(error) {
  if (error instanceof WebAssembly.Exception)
    return 'exception';
  if (error instanceof RangeError && !/Maximum call stack/.test(error.message))
    return `other: ${error.message}`;
  const row = TRAPS.find(([text]) => error.message.includes(text));
  return row === undefined ? `other: ${error.message}` : row[1];
}

// A hash of 32 bits; trace_stubs.c and wasmtime_trace.py have the same.
function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function stubValue(type, seed, n) {
  const r = mix(seed ^ Math.imul(n + 1, 0x9e3779b1));
  const kind = seed === 0 ? 0 : r & 3;
  const wide = kind === 3;
  const v = wide ? mix(r + 1) : kind === 2 ? (r >>> 2) & 15 : 0;
  switch (type) {
  case 'i32': return v | 0;
  case 'i64': return BigInt.asIntN(64, ((wide ? BigInt(mix(v)) : 0n) << 32n) | BigInt(v));
  case 'f32': return wide ? ((v & 0xffff) - 0x8000) / 16 : v;
  case 'f64': return wide ? (v | 0) / 16 : v;
  case 'externref': return kind >= 2 ? v : null;
  default: return null;
  }
}

const view = new DataView(new ArrayBuffer(8));

function fromText(text) {
  if (text === 'null')
    return null;
  const [type, bits] = text.split(':');
  switch (type) {
  case 'i32': return Number(bits) | 0;
  case 'i64': return BigInt.asIntN(64, BigInt(bits));
  case 'f32': view.setUint32(0, Number(bits)); return view.getFloat32(0);
  case 'f64': view.setBigUint64(0, BigInt(bits)); return view.getFloat64(0);
  default: return Number(bits);
  }
}

function toText(type, value) {
  if ((type === 'f32' || type === 'f64') && Number.isNaN(value))
    return `${type}:nan`;
  switch (type) {
  case 'i32': return `i32:0x${(value >>> 0).toString(16)}`;
  case 'i64': return `i64:0x${BigInt.asUintN(64, value).toString(16)}`;
  case 'f32': view.setFloat32(0, value); return `f32:0x${view.getUint32(0).toString(16)}`;
  case 'f64': view.setFloat64(0, value); return `f64:0x${view.getBigUint64(0).toString(16)}`;
  default: return value === null ? `${type}:null` : type === 'funcref' ? 'funcref:set' : `${type}:0x${value.toString(16)}`;
  }
}

const types = text => text === '-' ? [] : text.split(',');

function readPlan(path) {
  const plan = { imports: [], watches: [], steps: [] };
  for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
    const words = line.split(' ');
    if (words[0] === 'import')
      plan.imports.push(words.slice(2));
    else if (words[0] === 'watch')
      plan.watches.push({ kind: words[1], idx: Number(words[2]), type: words[3] });
    else if (words[0] !== '')
      plan.steps.push(words);
  }
  return plan;
}

class Run {
  constructor({ modulePath, planPath, outPath, progress, dumpAt }) {
    this.module = new WebAssembly.Module(fs.readFileSync(modulePath));
    this.plan = readPlan(planPath);
    this.exports = WebAssembly.Module.exports(this.module);
    this.out = fs.openSync(outPath, 'a');
    this.dumpAt = dumpAt;
    this.progress = progress;
    this.text = [];
    this.seed = 0;
    this.hostCalls = 0;
    // A trap, not an exception: no handler of the guest's may catch it. (module (func (export "f") unreachable))
    const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
    this.trap = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes))).exports.f;
  }

  flush() {
    if (this.text.length !== 0)
      fs.writeSync(this.out, this.text.join('\n') + '\n');
    this.text = [];
  }

  stub(idx, params, results) {
    return (...args) => {
      const n = this.hostCalls++;
      if (n >= HOST_CALLS_MAX) {
        this.hostFailed = true;
        this.trap();
      }
      const values = results.map((type, i) => stubValue(type, this.seed, n * 8 + i));
      this.text.push([` host ${idx}`, ...params.map((type, i) => toText(type, args[i])), '->',
        ...results.map((type, i) => toText(type, values[i]))].join(' '));
      return results.length === 0 ? undefined : results.length === 1 ? values[0] : values;
    };
  }

  imports() {
    const given = {};
    this.plan.imports.forEach(([kind, a, b, c], idx) => {
      if (kind === 'func')
        given[idx] = this.stub(idx, types(a), types(b));
      else if (kind === 'memory')
        given[idx] = new WebAssembly.Memory({ initial: Number(a), maximum: Number(b), shared: c === 'shared' });
      else if (kind === 'table')
        given[idx] = new WebAssembly.Table({ element: a === 'funcref' ? 'anyfunc' : a, initial: Number(b), maximum: Number(c) }, null);
      else
        given[idx] = new WebAssembly.Global({ value: b.split(':')[0].replace('funcref', 'anyfunc'), mutable: a === 'mut' }, fromText(b));
    });
    return { i: given };
  }

  // Runs f, adds its end to the trace, and returns what kind of end it was.
  ending(f) {
    this.hostCalls = 0;
    this.hostFailed = false;
    try {
      this.text.push(['= returned', ...f()].join(' '));
      return 'returned';
    } catch (error) {
      const kind = this.hostFailed ? 'host' : trapKind(error);
      this.text.push(`= trap ${kind}`);
      return kind;
    }
  }

  start() {
    this.text.push('start');
    this.flush();
    this.seed = 0;
    this.seen = new Map();
    this.instance = null;
    Atomics.store(this.progress, 1, 1);
    const end = this.ending(() => { this.instance = new WebAssembly.Instance(this.module, this.imports()); return []; });
    Atomics.store(this.progress, 1, 0);
    if (this.instance !== null)
      this.watch();
    return end;
  }

  // What memory, globals and tables are now, as far as it has changed.
  watch() {
    for (const { kind, idx, type } of this.plan.watches) {
      const name = this.exports[idx].name;
      const item = this.instance.exports[name];
      let text;
      if (kind === 'memory')
        text = `${item.buffer.byteLength / 65536} ${zlib.crc32(new Uint8Array(item.buffer).slice()).toString(16)}`;
      else if (kind === 'global')
        text = toText(type, item.value);
      else
        text = (item() >>> 0).toString(16);
      if (this.seen.get(name) !== text)
        this.text.push(` ${name} ${text}`);
      this.seen.set(name, text);
    }
  }

  call(words) {
    const { name, type } = this.exports[Number(words[1])];
    const results = types(words[3]);
    this.seed = Number(words[2]);
    return this.ending(() => {
      const f = this.instance.exports[name];
      const value = f(...words.slice(4).map(fromText));
      const values = results.length === 0 ? [] : results.length === 1 ? [value] : [...value];
      return results.map((t, i) => toText(t, values[i]));
    });
  }

  dump() {
    const memory = this.plan.watches.find(({ kind }) => kind === 'memory');
    fs.writeFileSync(this.dumpAt.path, new Uint8Array(this.instance.exports[this.exports[memory.idx].name].buffer));
  }

  // From step `first` on. The main thread watches progress[0], the step that runs, plus one, and [1], whether its instance starts.
  run(first) {
    let isFresh = true;
    for (let i = first; i < this.plan.steps.length; i++) {
      Atomics.store(this.progress, 0, i + 1);
      const words = this.plan.steps[i];
      if (words[0] === 'fresh') {
        isFresh = true;
        continue;
      }
      if (isFresh && this.start() !== 'returned')
        break;
      isFresh = false;
      this.text.push(`call ${i}`);
      this.flush();
      isFresh = INEXACT.has(this.call(words));
      this.watch();
      if (isFresh)
        this.text.push('fresh');
      if (this.dumpAt.step === i)
        this.dump();
    }
    this.flush();
    Atomics.store(this.progress, 0, -1);
  }
}

function main() {
  const [modulePath, planPath, outPath, limit, dumpStep = '-1', dumpPath = ''] = process.argv.slice(2);
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const launch = first => {
    if (first === 0)
      fs.writeFileSync(outPath, '');
    progress.fill(0);
    const dumpAt = { step: Number(dumpStep), path: dumpPath };
    const worker = new Worker(new URL(import.meta.url), { workerData: { modulePath, planPath, outPath, first, progress, dumpAt } });
    let last = 0, since = Date.now();
    const timer = setInterval(async () => {
      const step = Atomics.load(progress, 0);
      if (step !== last || step <= 0) {
        last = step;
        since = Date.now();
      } else if (Date.now() - since > Number(limit)) {
        clearInterval(timer);
        await worker.terminate();
        if (Atomics.load(progress, 0) !== step)
          return launch(0); // it went on just then, and its state is lost
        fs.appendFileSync(outPath, '= trap timeout\nfresh\n');
        if (progress[1] === 0)
          launch(step);
      }
    }, 20);
    worker.on('message', text => { console.log(`refused: ${text}`); process.exitCode = 3; });
    worker.on('error', error => { console.error(error); process.exitCode = 1; clearInterval(timer); });
    worker.on('exit', () => clearInterval(timer));
  };
  launch(0);
}

async function work() {
  const { parentPort } = await import('node:worker_threads');
  let run;
  try {
    run = new Run(workerData);
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError))
      throw error;
    parentPort.postMessage(error.message);
    return;
  }
  run.run(workerData.first);
}

if (isMainThread)
  main();
else
  await work();
