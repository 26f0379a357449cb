#!/usr/bin/env node
// What a program may use and what comes back of it, through a real hub, a real node and the command line: a task larger
// than its node, inputs named many times, bytes of any kind in and out, the limits of processes and of the stack, output
// that was not flushed, /dev/stdout.
import { Hub, Process, SHOAL, nodeReady, skipped, run, check, equal, until, sleep, SLOW, TMP } from './lib.mjs';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const source = String.raw;
const nodeData = path.join(TMP, 'node');
let hub = await new Hub().start();
let node;
try {
  node = new Process(['node', '--hub', hub.url, '--name', 'n1', '--slots', '2', '--data', nodeData], { name: 'node' });
  await nodeReady(node);
} catch (error) { skipped(error); }
const facts = (await hub.ok('GET', '/v1/nodes/n1')).info;

const entries = { python: 'main.py', javascript: 'main.js', c: 'main.c', cpp: 'main.cpp', java: 'Main.java' };
const offered = (lang) => facts.languages[lang] !== undefined;
async function submit(lang, text, { limits = {}, files = [], queue, requires, ...more } = {}) {
  return (await hub.submit({ kind: 'code.run', retry: { max: 1 }, ...(queue ? { queue } : {}), ...(requires ? { requires } : {}),
    input: { lang, files: [{ path: entries[lang], text }, ...files], limits: { cpu_ms: 10000 * SLOW, wall_ms: 30000 * SLOW, ...limits }, ...more } })).id;
}
async function task(lang, text, options) { return hub.final(await submit(lang, text, options), 90000); }
async function play(lang, text, options) {
  const ended = await task(lang, text, options);
  if (ended.state !== 'succeeded') throw new Error(`${ended.state}: ${ended.error?.kind}: ${ended.error?.message}`);
  return ended.result;
}
// The command line, with bytes in and out.
function cli(args, input) {
  return new Promise((resolve) => {
    const child = spawn(SHOAL, args, { env: { ...process.env, SHOAL_HUB: hub.url } });
    const out = [], err = [];
    child.stdout.on('data', (d) => out.push(d));
    child.stderr.on('data', (d) => err.push(d));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('close', (code) => resolve({ code, out: Buffer.concat(out), err: Buffer.concat(err).toString() }));
  });
}
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
async function blob(bytes) {
  return (await hub.ok('PUT', '/v1/blobs', bytes, { headers: { 'content-type': 'application/octet-stream' } })).blob;
}
const note = (result, pattern) => (result.notes ?? []).some((text) => pattern.test(text));
const rssMib = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmHWM:\s+(\d+)/m)[1]) / 1024;
const kept = () => readdirSync(path.join(nodeData, 'code.run/blobs'));

// A group of the machine's with little memory, that a node can be started in; null where none can be made.
function smallGroup(mib) {
  try {
    const own = readFileSync('/proc/self/cgroup', 'utf8').split('\n').map((line) => line.split(':'));
    const v1 = own.find(([, names]) => names?.split(',').includes('memory'));
    const base = v1 ? `/sys/fs/cgroup/memory${v1[2]}` : `/sys/fs/cgroup${own.find(([, names]) => names === '')[2]}`;
    const dir = path.join(base, `test-limits-${process.pid}`);
    mkdirSync(dir);
    process.on('exit', () => { try { rmdirSync(dir); } catch { /* somebody still dies in it */ } });
    const file = path.join(dir, v1 ? 'memory.limit_in_bytes' : 'memory.max');
    accessSync(file, constants.W_OK);
    writeFileSync(file, String(mib << 20));
    return dir;
  } catch { return null; }
}

await run({
  async 'standard streams can be opened by name'() {
    const text = source`
open('/dev/stdout', 'w').write('one\n')
open('/dev/fd/1', 'a').write('two\n')
open('/proc/self/fd/2', 'w').write('wrong\n')
open('/dev/stderr', 'w').write('more\n')
print(open('/dev/stdin').read())`;
    for (const stdin of ['typed', { base64: Buffer.from('typed').toString('base64') }, { blob: await blob('typed') }]) {
      const result = await play('python', text, { stdin });
      equal([result.verdict, result.stdout, result.stderr], ['OK', 'one\ntwo\ntyped\n', 'wrong\nmore\n'], JSON.stringify(stdin));
    }
    if (offered('c')) {
      const result = await play('c', source`#include <stdio.h>
int main(void) { FILE *out = fopen("/dev/stdout", "w"), *err = fopen("/dev/fd/2", "w"); return !out || !err || fputs("c", out) < 0 || fputs("e", err) < 0; }`);
      equal([result.verdict, result.stdout, result.stderr], ['OK', 'c', 'e'], 'C');
    }
    if (offered('javascript')) {
      const result = await play('javascript', `const fs = require('fs'); fs.writeFileSync('/dev/stdout', 'js'); fs.writeSync(2, 'e');`);
      equal([result.verdict, result.stdout, result.stderr], ['OK', 'js', 'e'], 'JavaScript');
    }
  },
  async 'output of any bytes comes back as it was'() {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const text = `import sys\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stderr.buffer.write(b'\\xe4\\xb8')`;
    const id = await submit('python', text);
    let { result } = await hub.final(id);
    equal(result.stdout_encoding, 'base64', 'the encoding');
    check(Buffer.from(result.stdout, 'base64').equals(bytes), 'stdout');
    check(Buffer.from(result.stderr, 'base64').equals(Buffer.from([0xe4, 0xb8])), 'stderr');
    equal((await play('python', `print('é中')`)).stdout_encoding, undefined, 'text stays text');
    const file = path.join(TMP, 'main.py');
    writeFileSync(file, text);
    const waited = await cli(['submit', 'code.run', '--file', file, '--wait']);
    check(waited.out.equals(bytes) && waited.err.charCodeAt(0) === 0xfffd, `the command line gives them: ${waited.err}`);
    // cut at its limit in the middle of a character it is text all the same
    const long = await play('python', `import sys\nsys.stdout.write('é' * 3000)\nsys.stdout.flush()\nprint('a' + 'é' * 3000)`, { limits: { out_kib: 1 } });
    equal([long.verdict, long.stdout_encoding], ['OLE', undefined], 'text that was cut');
    // longer than fits inline: the whole is a blob
    const more = await play('python', `import sys\nsys.stdout.buffer.write(bytes(range(256)) * 400)`);
    check(more.truncated && more.stdout_size === 102400 && bytes.equals(Buffer.from(more.stdout, 'base64').subarray(0, 256)), 'the beginning');
    const whole = await hub.get(`/v1/blobs/${more.stdout_blob.slice(7)}`);
    check(whole.bytes.equals(Buffer.concat(Array(400).fill(bytes))), 'the whole');
    // out of the history
    await hub.stop();
    hub = await new Hub({ data: hub.data, port: hub.port }).start();
    ({ result } = await hub.ok('GET', `/v1/tasks/${id}`));
    check(result.stdout_encoding === 'base64' && Buffer.from(result.stdout, 'base64').equals(bytes), 'after a restart');
    const got = await cli(['get', id, '--result']);
    check(got.out.equals(bytes), 'shoal get --result');
    await until('the node is back', 30000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/n1')).state === 'live');
  },
  async 'input of any bytes and any size'() {
    const text = `import sys, hashlib\nprint(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())`;
    const file = path.join(TMP, 'hash.py'), typed = path.join(TMP, 'typed');
    writeFileSync(file, text);
    for (const bytes of [Buffer.alloc(0), Buffer.from('text'), Buffer.from([0, 255, 10, 0xc3]), Buffer.alloc(16385, 'x'), Buffer.alloc(16000, 1), randomBytes(5 << 20)]) {
      writeFileSync(typed, bytes);
      for (const [args, input] of [[['--stdin', typed], ''], [['--stdin', '-'], bytes]]) {
        const result = await cli(['submit', 'code.run', '--file', file, '--wait', ...args], input);
        equal([result.code, result.out.toString(), result.err], [0, `${sha256(bytes)}\n`, ''], `${bytes.length} bytes with ${args.join(' ')}`);
      }
    }
    // a program that reads nothing of it, or a little, ends as usual
    const big = await blob(randomBytes(5 << 20));
    equal((await play('python', 'print(1)', { stdin: { blob: big } })).stdout, '1\n', 'not read');
    equal((await play('python', 'import sys\nprint(len(sys.stdin.buffer.read(10)))', { stdin: { blob: big } })).stdout, '10\n', 'read in part');
    const wrong = await task('python', 'print(1)', { stdin: { blob: `sha256:${'0'.repeat(64)}` } });
    check(wrong.error.kind === 'input' && wrong.error.message.includes('/stdin/blob'), 'a blob that is not there');
    equal((await task('python', 'print(1)', { stdin: { base64: 'Zg=' } })).error.kind, 'input', 'no base64');
  },
  async 'inputs are weighed before they are fetched, and fetched once'() {
    const before = kept().length;
    const bomb = await blob(Buffer.alloc(60 << 20, 'b'));
    const files = Array.from({ length: 40 }, (_, i) => ({ path: `f${i}`, blob: bomb }));
    for (const [limits, name] of [[{ fs_mib: 2000, mem_mib: 4096 }, 'fs_mib'], [{ fs_mib: 16384, mem_mib: 2000 }, 'mem_mib']]) {
      const refused = await task('python', 'print(1)', { files, limits });
      check(refused.error?.kind === 'input' && refused.error.message.includes(name), `refused by ${name}: ${JSON.stringify(refused.error)}`);
    }
    equal(kept().length, before, 'nothing was fetched');
    const shared = await blob(Buffer.alloc(20 << 20, 's'));
    const four = Array.from({ length: 4 }, (_, i) => ({ path: `f${i}`, blob: shared }));
    const result = await play('python', `import os\nprint(sum(os.path.getsize(f'f{i}') for i in range(4)))\nopen('f0', 'a').write('mine')\nprint(os.path.getsize('f1'))`,
      { files: four, limits: { fs_mib: 100, mem_mib: 512 } });
    equal([result.verdict, result.stdout], ['OK', `${80 << 20}\n${20 << 20}\n`], 'each file is its own');
    equal(kept().length, before + 1, 'fetched once');
    if (!process.env.SANITIZE) check(rssMib(node.pid) < 100, `the node itself holds little: ${rssMib(node.pid)} MiB`);
  },
  async 'a task that asks for more than the node has'() {
    const dir = smallGroup(300);
    if (!dir || process.env.SANITIZE) return;
    const small = new Process(['node', '--hub', hub.url, '--name', 'small', '--slots', '3', '--labels', 'small', '--data', path.join(TMP, 'small')],
      { name: 'small node', through: ['sh', '-c', `echo $$ > ${dir}/cgroup.procs && exec "$@"`, 'sh'] });
    try {
      await nodeReady(small);
      const seen = await hub.ok('GET', '/v1/nodes/small');
      equal(seen.memory_mib, 300, 'the node knows its group');
      const has = seen.info.sandbox_memory_mib;
      check(has > 100 && has < 260, `what it has for tasks: ${has}`);
      const requires = { labels: ['small'] }, limits = { mem_mib: 65536, procs: 4096 };
      const greedy = source`
import os
kept = []
for i in range(6):
    if os.fork() == 0: break
while True: kept.append(bytearray(os.urandom(1 << 20)))`;
      const all = await Promise.all([1, 2, 3, 4].map(() => play('python', greedy, { requires, limits })));
      for (const result of all) {
        equal(result.verdict, 'MLE', 'it was the task that ran out');
        check(note(result, /mem_mib was \d+ instead of 65536/), `the result says so: ${result.notes}`);
      }
      const heavy = await blob(Buffer.alloc(60 << 20, 'b'));
      const refused = await task('python', 'print(1)', { requires, limits: { ...limits, fs_mib: 16384 },
        files: Array.from({ length: 40 }, (_, i) => ({ path: `f${i}`, blob: heavy })) });
      check(refused.error?.kind === 'node', `inputs larger than the node: ${JSON.stringify(refused.error)}`);
      const many = await Promise.all([1, 2, 3].map(() => play('python', 'x = bytearray(40 << 20)\nprint(open("/proc/self/oom_score_adj").read().strip())', { requires, limits: { mem_mib: 100 } })));
      for (const result of many) equal([result.verdict, result.stdout], ['OK', '1000\n'], 'others go on');
      const after = await hub.ok('GET', '/v1/nodes/small');
      check(small.running && after.session === seen.session && after.lost === 0, 'the node is the same, and lost nothing');
      check(readFileSync(`/proc/${small.pid}/oom_score_adj`, 'utf8').trim() !== '1000', 'the node itself is not the first to go');
    } finally {
      await small.end();
      await sleep(100);
    }
  },
  async 'the limit of processes'() {
    for (const lang of ['javascript', 'java'].filter(offered)) {
      const refused = await task(lang, '', { limits: { procs: 4 } });
      check(refused.error?.kind === 'input' && /procs must be at least/.test(refused.error.message), `${lang}: ${refused.error?.message}`);
    }
    const least = { python: ['print(1)', 1], javascript: ['require("fs").readFile("main.js", () => console.log(1))', 11],
      java: ['public class Main { public static void main(String[] a) { System.out.println(1); } }', 20] };
    for (const [lang, [text, procs]] of Object.entries(least)) {
      if (offered(lang)) equal((await play(lang, text, { limits: { procs } })).stdout, '1\n', `${lang} runs with its least`);
    }
    if (facts.sandbox.limits === 'polling') return;
    const result = await play('python', source`
import threading, time
for i in range(20):
    try: threading.Thread(target=time.sleep, args=(0.2,)).start()
    except RuntimeError: pass
print('end')`, { limits: { procs: 6 } });
    check(result.stats.procs_refused > 0 && note(result, /the limit procs is 6/), `said: ${JSON.stringify(result)}`);
  },
  async 'the stack grows with the memory'() {
    const texts = {
      c: source`#include <stdio.h>
__attribute__((noinline)) static int deep(volatile int n) { volatile char part[1024]; part[n % 1024] = 1; return n == 0 ? 0 : deep(n - 1) + part[n % 1024]; }
int main(void) { printf("%d\n", deep(200000)); }`,
      python: `import sys\nsys.setrecursionlimit(10**6)\ndef deep(n): return 0 if n == 0 else 1 + deep(n - 1)\nprint(deep(200000))`,
      javascript: 'function deep(n) { return n === 0 ? 0 : 1 + deep(n - 1); } console.log(deep(200000));',
      java: 'public class Main { static int deep(int n) { return n == 0 ? 0 : 1 + deep(n - 1); } public static void main(String[] a) { System.out.println(deep(200000)); } }' };
    for (const [lang, text] of Object.entries(texts)) {
      if (offered(lang)) equal((await play(lang, text, { limits: { mem_mib: 512 } })).stdout, '200000\n', `${lang} with 512 MiB`);
    }
    if (offered('c')) check(['RE', 'MLE'].includes((await play('c', texts.c, { limits: { mem_mib: 64 } })).verdict), 'no further than the memory');
  },
  async 'output that was not flushed'() {
    const texts = { python: `print('before')\nwhile True: pass`,
      c: source`#include <stdio.h>
int main(void) { puts("before"); for (volatile int i = 0;; i++); }`,
      cpp: source`#include <iostream>
int main() { std::cout << "before\n"; for (volatile int i = 0;; i = i + 1); }` };
    for (const [lang, text] of Object.entries(texts)) {
      if (!offered(lang)) continue;
      const lost = await play(lang, text, { limits: { cpu_ms: 300 } });
      equal([lost.verdict, lost.stdout, note(lost, /not yet flushed/)], ['TLE', '', true], `${lang}, as it is`);
      const there = await play(lang, text, { limits: { cpu_ms: 300 }, unbuffered: true });
      equal([there.verdict, there.stdout, there.notes], ['TLE', 'before\n', undefined], `${lang}, unbuffered`);
    }
    const file = path.join(TMP, 'spin.py');
    writeFileSync(file, texts.python);
    const said = await cli(['submit', 'code.run', '--file', file, '--limit', 'cpu_ms=200', '--wait']);
    check(said.err.includes('not yet flushed'), `the command line says it: ${said.err}`);
    equal((await cli(['submit', 'code.run', '--file', file, '--limit', 'cpu_ms=200', '--unbuffered', '--wait'])).out.toString(), 'before\n', 'and can ask for it');
  },
  async 'what a queue compiled is not seen from another'() {
    if (!offered('c')) return;
    const text = `int main(void) { return ${Math.floor(Math.random() * 1e6) * 0}; } /* ${randomBytes(8).toString('hex')} */`;
    for (const queue of ['tenant-a', 'tenant-b']) await hub.ok('PUT', `/v1/queues/${queue}`, {});
    const cached = [];
    for (const queue of ['tenant-a', 'tenant-b', 'tenant-a', 'tenant-b']) cached.push((await play('c', text, { queue })).compile.cached);
    equal(cached, [false, false, true, true], 'cached');
  },
  async 'the end'() {
    check(node.running, 'the node still runs');
    await node.end();
    await hub.stop();
  },
});
