// lib.mjs - what the end-to-end tests share: processes that are always ended, an HTTP client, a node of our own.
//
// Each test is one program. It gets SHOAL (the binary) and SHOAL_TMP (a scratch directory of its own), talks to
// 127.0.0.1 only, and ends every process it started by its id.
import { spawn, spawnSync } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { WebSocket } from 'ws';

export const SHOAL = process.env.SHOAL ?? path.resolve(import.meta.dirname ?? '.', '../../build/shoal');
export const TMP = process.env.SHOAL_TMP ?? mkdtempSync(path.join(tmpdir(), 'shoal-e2e-'));
// Sanitizer builds are several times slower: bounds on time stretch, counts and checks never do.
export const SLOW = process.env.SANITIZE ? 4 : 1;
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let checks = 0;
export function check(condition, what) {
  checks++;
  if (!condition) throw new Error(`does not hold: ${what}`);
}
export function equal(actual, expected, what) {
  const a = JSON.stringify(actual), e = JSON.stringify(expected);
  check(a === e, `${what}: expected ${e}, got ${a}`);
}
export async function until(what, ms, condition) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await sleep(20);
  }
}

// --- processes ---
const children = new Set();
export class Process {
  // `through` is a command that runs it, such as nsenter; it must become the process, not start it.
  constructor(args, { name = args[0], env = {}, quiet = false, through = [] } = {}) {
    this.name = name;
    this.out = '';
    this.err = '';
    const [program, ...rest] = [...through, SHOAL, ...args];
    this.child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    children.add(this.child);
    this.exited = new Promise((resolve) => this.child.on('exit', (code, signal) => {
      children.delete(this.child);
      this.code = code;
      this.signal = signal;
      resolve({ code, signal });
    }));
    this.child.stdout.on('data', (d) => { this.out += d; });
    this.child.stderr.on('data', (d) => {
      this.err += d;
      if (!quiet && process.env.SHOAL_E2E_VERBOSE) process.stderr.write(`[${this.name}] ${d}`);
    });
  }
  get pid() { return this.child.pid; }
  get running() { return this.child.exitCode === null && this.child.signalCode === null; }
  kill(signal = 'SIGKILL') { if (this.running) this.child.kill(signal); }
  async end(signal = 'SIGTERM', ms = 20000 * SLOW) {
    this.kill(signal);
    const timer = setTimeout(() => this.kill('SIGKILL'), ms);
    const result = await this.exited;
    clearTimeout(timer);
    return result;
  }
  async line(pattern, ms = 30000 * SLOW) {
    await until(`${this.name} prints ${pattern}`, ms, () => {
      if (!this.running && !pattern.test(this.out)) {
        throw new Error(`${this.name} ended (${this.code ?? this.signal}): ${this.out}${this.err}`);
      }
      return pattern.test(this.out);
    });
    return this.out.match(pattern);
  }
}
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

export class Hub {
  constructor({ data = path.join(TMP, 'hub'), args = [], port = 0, through = [] } = {}) {
    this.through = through;
    this.data = data;
    this.args = args;
    this.port = port;
    mkdirSync(data, { recursive: true });
  }
  async start() {
    this.process = new Process(['hub', '--data', this.data, '--listen', `127.0.0.1:${this.port}`, ...this.args],
      { name: 'hub', through: this.through });
    const [, port] = await this.process.line(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
    this.port = Number(port);
    this.url = `http://127.0.0.1:${port}`;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
    return this;
  }
  async crash() {
    this.process.kill('SIGKILL');
    await this.process.exited;
    this.agent.destroy();
  }
  async stop() {
    const result = await this.process.end('SIGTERM');
    this.agent.destroy();
    if (result.code !== 0) throw new Error(`the hub ended with ${result.code ?? result.signal}: ${this.process.err.slice(-4000)}`);
  }
  call(method, target, body, { headers = {}, timeout = 70000 } = {}) {
    return request({ port: this.port, method, target, body, headers, timeout, agent: this.agent });
  }
  get(target, options) { return this.call('GET', target, undefined, options); }
  post(target, body, options) { return this.call('POST', target, body, options); }
  async ok(method, target, body, options) {
    const answer = await this.call(method, target, body, options);
    if (answer.status >= 300) throw new Error(`${method} ${target}: ${answer.status} ${answer.text}`);
    return answer.json;
  }
  async submit(task) { return this.ok('POST', '/v1/tasks', task); }
  async final(id, ms = 30000) {
    return until(`task ${id} is final`, ms * SLOW, async () => {
      const task = await this.ok('GET', `/v1/tasks/${id}?wait_ms=2000`);
      return ['succeeded', 'dead', 'cancelled', 'expired'].includes(task.state) ? task : null;
    });
  }
}

export function request({ port, method = 'GET', target, body, headers = {}, timeout = 70000, agent }) {
  return new Promise((resolve, reject) => {
    const isRaw = typeof body === 'string' || Buffer.isBuffer(body) || body === undefined;
    const payload = isRaw ? body : JSON.stringify(body);
    const req = http.request({ host: '127.0.0.1', port, method, path: target, agent, timeout,
      headers: { ...(isRaw ? {} : { 'content-type': 'application/json' }),
        ...(payload !== undefined ? { 'content-length': Buffer.byteLength(payload) } : {}), ...headers } }, (res) => {
      const pieces = [];
      res.on('data', (d) => pieces.push(d));
      res.on('error', reject);
      res.on('aborted', () => reject(new Error('the answer broke off')));
      res.on('end', () => {
        const bytes = Buffer.concat(pieces);
        const text = bytes.toString();
        let json;
        try { json = JSON.parse(text); } catch { json = undefined; }
        resolve({ status: res.statusCode, headers: res.headers, bytes, text, json });
      });
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${timeout} ms`)));
    req.on('error', reject);
    req.end(payload);
  });
}

// Bytes as they are: for requests that no HTTP client would send. Resolves with all that came until the end or `ms`.
export function raw(port, bytes, { ms = 3000, half = false } = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    const timer = setTimeout(() => socket.destroy(), ms);
    socket.on('connect', () => { half ? socket.end(bytes) : socket.write(bytes); });
    socket.on('data', (d) => { text += d.toString('latin1'); });
    socket.on('error', (e) => { if (e.code !== 'ECONNRESET' && e.code !== 'EPIPE') reject(e); });
    socket.on('close', () => { clearTimeout(timer); resolve(text); });
  });
}

// --- a node written against the documented protocol with the npm `ws` client, not with our own code ---
export class FakeNode {
  constructor(port, { name = 'fake', kinds = ['test.job'], credit = 1, instance, labels = [], work, beat = true, held = [], hello = {} } = {}) {
    Object.assign(this, { port, name, kinds, credit, labels, work, beat, held, hello });
    this.instance = instance ?? Math.floor(Math.random() * 2 ** 48).toString(16).padStart(16, '0');
    this.leases = [];
    this.messages = [];
    this.directives = [];
    this.reported = [];
  }
  async connect() {
    this.ws = new WebSocket(`ws://127.0.0.1:${this.port}/v1/work`, 'shoal.work.v1');
    this.closed = new Promise((resolve) => this.ws.on('close', (code) => { clearInterval(this.timer); resolve(code); }));
    this.ws.on('error', () => {});
    this.ws.on('message', (data) => this.onMessage(JSON.parse(data.toString())));
    await Promise.race([once(this.ws, 'open'), this.closed.then((c) => { throw new Error(`closed with ${c}`); })]);
    this.send({ type: 'hello', node: this.name, instance: this.instance, kinds: this.kinds, labels: this.labels,
      cpu_milli: 2000, memory_mib: 1024, gpu: 0, credit: this.credit, held: this.held, info: {}, ...this.hello });
    this.welcome = await until('welcome', 5000 * SLOW, () => {
      const error = this.messages.find((m) => m.type === 'error');
      if (error) throw new Error(`refused: ${error.code}: ${error.detail}`);
      return this.messages.find((m) => m.type === 'welcome');
    });
    if (this.beat) this.timer = setInterval(() => this.send({ type: 'beat' }), this.welcome.beat_ms);
    return this;
  }
  onMessage(message) {
    this.messages.push(message);
    if (message.type === 'lease') {
      message.at = process.hrtime.bigint();
      this.leases.push(message);
      this.work?.(message, this);
    } else if (message.type === 'reported') this.reported.push(message);
    else if (message.type === 'beat') this.directives.push(...(message.directives ?? []));
  }
  send(message) { if (this.ws.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(message)); }
  report(outcomes, credit) { this.send({ type: 'report', outcomes, ...(credit ? { credit } : {}) }); }
  complete(token, result, credit = 1) { this.report([{ token, outcome: 'complete', result }], credit); }
  stopBeating() { clearInterval(this.timer); }
  async close() { clearInterval(this.timer); this.ws.close(); await this.closed; }
  cut() { clearInterval(this.timer); this.ws.terminate(); }
}

// --- where no sandbox can be made ---
export class Skip extends Error {}
// Waits until a real node is ready. Throws Skip when it ended because this machine lacks something and `shoal doctor`, which
// tries without the node's own code, finds that no sandbox can be made here. Any other end is a failure.
export async function nodeReady(node) {
  try {
    await node.line(/ready/, 60000 * SLOW);
  } catch (error) {
    if (node.running || node.code !== 16) throw error;
    const doctor = JSON.parse(spawnSync(SHOAL, ['doctor', '--quick', '--json', '--data', TMP], { encoding: 'utf8' }).stdout);
    const found = doctor.checks.find((c) => c.check === 'bubblewrap');
    if (found.verdict !== 'fail') throw error;
    throw new Skip(`no sandbox can be made here: ${found.text}`);
  }
}
export function skipped(error) {
  if (!(error instanceof Skip)) throw error;
  console.log(error.message);
  process.exit(77);
}

// --- runs the cases of one test program ---
export async function run(cases) {
  const began = Date.now();
  let skip;
  for (const [name, body] of Object.entries(cases)) {
    const at = Date.now();
    try {
      await body();
      console.log(`ok   ${name} (${Date.now() - at} ms)`);
    } catch (error) {
      if (error instanceof Skip) {
        skip = error;
        console.log(`skip ${name}: ${error.message}`);
        continue;
      }
      console.log(`FAIL ${name} (${Date.now() - at} ms)\n${error.stack}`);
      process.exit(1);
    }
  }
  console.log(`${Object.keys(cases).length} cases, ${checks} checks, ${Date.now() - began} ms`);
  if (skip) skipped(skip);
  process.exit(0);
}
