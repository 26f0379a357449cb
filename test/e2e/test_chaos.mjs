#!/usr/bin/env node
// Real processes under faults, judged by the rules of the simulator.
//
// A hub on a small file system of its own, real nodes, WebSocket nodes and plain-HTTP workers of this test, and clients
// that repeat each submit until it is acknowledged; between all of them proxies. A seeded hand kills the hub and nodes
// with -9, freezes them, cuts, slows, stalls and swallows connections and fills the disk, at random moments under load.
// What everybody saw is recorded; when all is well again everything acknowledged must end, and `shoal sim --check` says
// whether what was recorded can have happened. docs/simulator.md has the records and the rules.
//
//   SEED=N           the same faults in the same order (the processes keep their own time)
//   CHAOS_KILLS=N    so many kills of the hub; 12 take about a minute and a half
//   CHAOS_KEEP=FILE  where the history is kept
import http from 'node:http';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, createWriteStream, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { FakeNode, Hub, Process, SHOAL, SLOW, TMP, check, equal, nodeReady, request, run, sleep, until } from './lib.mjs';
import { Proxy } from './proxy.mjs';

const KILLS = Number(process.env.CHAOS_KILLS ?? 12);
const REAL_NODES = 3, SOCKET_NODES = 3, WORKERS = 2, CLIENTS = 6, READERS = 3;
const PAUSE_MS = 60; // of a client between two submits, on average
const DISK_MIB = 160 + 4 * KILLS; // of memory, once history has grown to that
const PATIENCE_MS = 4000 * SLOW;

// --- chance: faults have numbers of their own, so that load does not shift them ---
const seed = Number(process.env.SEED ?? Date.now() % 1e9) >>> 0;
function numbers(start) { // mulberry32
  let state = start;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const fate = numbers(seed), luck = numbers(seed + 1);
const between = (from, to, random = luck) => from + random() * (to - from);
const pick = (list, random = luck) => list[Math.floor(random() * list.length)];
console.log(`SEED=${seed}`);

// --- what was seen ---
const historyFile = path.join(TMP, 'history.ndjson');
const history = createWriteStream(historyFile);
const now = () => Number(process.hrtime.bigint() - began);
const began = process.hrtime.bigint();
let isOver = false; // what is seen later belongs to no history
const record = (what, members) => { if (!isOver) history.write(`${JSON.stringify({ what, ...members })}\n`); };
const opOf = (input) => input?.value?.op;
let mistake; // the first thing that must not happen at all
const wrong = (error) => { mistake ??= error instanceof Error ? error : new Error(error); };

// --- a disk of the hub's own, in a namespace that lives as long as this test ---
async function smallDisk() {
  const mount = path.join(TMP, 'disk');
  mkdirSync(mount, { recursive: true });
  const keeper = spawn('unshare', ['-Urm', 'sh', '-c', `mount -t tmpfs -o size=${DISK_MIB}m tmpfs "$0" && echo ready && exec cat`, mount],
    { stdio: ['pipe', 'pipe', 'ignore'] });
  process.on('exit', () => keeper.kill('SIGKILL'));
  const isReady = await new Promise((resolve) => {
    keeper.stdout.once('data', () => resolve(true));
    keeper.once('error', () => resolve(false));
    keeper.once('exit', () => resolve(false));
  });
  if (!isReady) return null;
  const filler = path.join(`/proc/${keeper.pid}/root${mount}`, 'filler');
  return { data: path.join(mount, 'hub'), through: ['nsenter', '-t', `${keeper.pid}`, '-U', '-m', '--preserve-credentials'],
    isFull: false,
    async fill() {
      this.isFull = true;
      const fd = openSync(filler, 'w');
      for (let size = 2 ** 20; size >= 4096;) {
        try {
          if (writeSync(fd, Buffer.alloc(size)) < size) size /= 16;
        } catch (error) {
          if (error.code !== 'ENOSPC') throw error;
          size /= 16;
        }
        await new Promise(setImmediate); // the nodes of this test must go on beating
      }
      closeSync(fd);
    },
    free() { rmSync(filler, { force: true }); this.isFull = false; } };
}

const disk = await smallDisk();
if (!disk) console.log('     no small file system can be made here: the disk never gets full');
const hub = await new Hub({ ...(disk ? { data: disk.data, through: disk.through } : {}),
  args: ['--set', 'segment_size_mib=1', '--set', 'snapshot_every_mib=1', '--set', 'finished_keep_ms=2000',
    '--set', 'deaths_max=1000'] }).start(); // nodes die at random here: no task is to blame
await hub.ok('PUT', '/v1/kinds/test.job');
const proxies = { clients: [], nodes: [] };
for (let i = 0; i < 3; i++) proxies.clients.push(await new Proxy(hub.port).start());
for (let i = 0; i < REAL_NODES + SOCKET_NODES + WORKERS; i++) proxies.nodes.push(await new Proxy(hub.port).start());
const allProxies = [...proxies.clients, ...proxies.nodes];

// A call through a proxy: answered, or null when it was not.
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
async function call(proxy, method, target, body, { headers = {}, timeout = PATIENCE_MS } = {}) {
  try {
    return await request({ port: proxy.port, method, target, body, headers, timeout, agent });
  } catch {
    return null;
  }
}
const seqOf = (answer) => Number(answer.headers['shoal-seq']);
const isLater = (answer) => answer.status === 503 || answer.status === 507;
async function backOff() { await sleep(between(30, 200)); }

// --- clients ---
const phase = { isSubmitting: true, isWorking: true };
const acknowledged = []; // {op, id}
let ops = 0, tries = 0;

function makeTask(op) {
  const isReal = luck() < 0.5;
  const input = { value: { op, pad: 'x'.repeat(luck() < 0.1 ? Math.floor(between(0, 3000)) : 0) } };
  if (isReal) input.sleep_ms = Math.floor(luck() < 0.03 ? between(500, 3000) : between(0, 30));
  return { kind: isReal ? 'test.echo' : 'test.job', input, lease_ms: 2000, fairness_key: `f${op % 5}`, priority: op % 10,
    retry: { max: 200, base_ms: 20, cap_ms: 500 }, ...(luck() < 0.03 ? { delay_ms: Math.floor(between(10, 1500)) } : {}),
    ...(luck() < 0.03 ? { unique: { key: `u${Math.floor(between(0, 4))}` } } : {}) };
}

const submitBody = (tasks) => (tasks.length > 1 ? ['/v1/tasks:batch', tasks] : ['/v1/tasks', tasks[0]]);
const uniqueOf = (task) => (task.unique ? { unique: task.unique.key } : {});
// What a submit was told, or null when it must be said again.
function takeAnswer(answer, mine, tasks, sent_ns) {
  if (!answer || isLater(answer)) return null;
  if (answer.status >= 300) return wrong(`a submit is refused: ${answer.status} ${answer.text}`);
  const answered_ns = now();
  const results = tasks.length > 1 ? answer.json.results : [answer.json];
  if (results.some((r) => r.error?.retryable)) return null;
  return results.map((r, i) => {
    if (!r.id) return wrong(`a task of a batch is refused: ${JSON.stringify(r)}`);
    record('submit', { op: mine[i], sent_ns, answered_ns, task: r.id, seq: answer.json.seq, ...(r.duplicate ? { duplicate: true } : {}),
      ...uniqueOf(tasks[i]) });
    return { op: mine[i], id: r.id, isUnique: Boolean(tasks[i].unique) };
  });
}

// With a key: said again until it is acknowledged. Without one: said once, and it may have been done or not.
async function submit(proxy, mine, tasks, isKeyed) {
  const headers = isKeyed ? { 'idempotency-key': `op-${mine[0]}` } : {};
  const ask = async (sent_ns) => {
    tries++;
    return takeAnswer(await call(proxy, 'POST', ...submitBody(tasks), { headers }), mine, tasks, sent_ns);
  };
  for (let isFirst = true; !mistake; isFirst = false) {
    const sent_ns = now();
    const known = await ask(sent_ns);
    if (known) {
      acknowledged.push(...known.filter(Boolean));
      break;
    }
    if (isFirst) mine.forEach((op, i) => record('submit', { op, sent_ns, ...uniqueOf(tasks[i]) }));
    if (!isKeyed) {
      for (const op of mine) record('give_up', { op });
      return;
    }
    await backOff();
  }
  if (isKeyed && luck() < 0.1) { // as a client that lost the answer: its key must find the same again
    await sleep(between(0, 100));
    await Promise.all([ask(now()), ask(now())]);
  }
}

async function client(number) {
  const proxy = proxies.clients[number % proxies.clients.length];
  while (phase.isSubmitting && !mistake) {
    const count = luck() < 0.2 ? Math.floor(between(2, 20)) : 1;
    const mine = Array.from({ length: count }, () => ++ops);
    await submit(proxy, mine, mine.map(makeTask), luck() < 0.92);
    await sleep(between(0, 2 * PAUSE_MS));
  }
}

async function look(proxy, { id }, wait_ms = 0) {
  const sent_ns = now();
  const answer = await call(proxy, 'GET', `/v1/tasks/${id}${wait_ms ? `?wait_ms=${wait_ms}` : ''}`);
  if (!answer || isLater(answer)) return null;
  const answered_ns = now();
  if (answer.status === 404) {
    const { op } = acknowledged.find((a) => a.id === id);
    record('missing', { op, task: id, sent_ns, answered_ns });
    return null;
  }
  if (answer.status !== 200) { wrong(`a task cannot be read: ${answer.status} ${answer.text}`); return null; }
  return { sent_ns, answered_ns, seq: seqOf(answer), task: answer.json };
}
const shown = ({ sent_ns, answered_ns, seq, task }) => ({ op: opOf(task.input), task: task.id, sent_ns, answered_ns, seq,
  state: task.state, ...(task.result !== undefined ? { result: task.result } : {}) });

async function reader(number) {
  const proxy = proxies.clients[number % proxies.clients.length];
  while (phase.isSubmitting && !mistake) {
    await sleep(between(5, 60));
    if (acknowledged.length === 0) continue;
    const young = Math.max(0, acknowledged.length - 60);
    const known = acknowledged[Math.floor(between(luck() < 0.7 ? young : 0, acknowledged.length))];
    if (luck() < 0.08) {
      const sent_ns = now();
      const answer = await call(proxy, 'POST', `/v1/tasks/${known.id}:cancel`, {});
      if (!answer || isLater(answer)) continue;
      if (answer.status === 200 && !known.isUnique) {
        record('cancel', { op: known.op, task: known.id, sent_ns, answered_ns: now(), seq: answer.json.seq });
      } else if (answer.status !== 200 && answer.status !== 409) wrong(`a cancel is refused: ${answer.status} ${answer.text}`);
    } else {
      const found = await look(proxy, known, luck() < 0.2 ? Math.floor(between(50, 1500)) : 0);
      if (!found) continue;
      record('read', shown(found));
      if (found.task.state === 'succeeded' && luck() < 0.1) { // for ever
        const answer = await call(proxy, 'POST', `/v1/tasks/${known.id}:retry`);
        if (answer && !isLater(answer) && answer.status !== 409) wrong(`a task that succeeded can be retried: ${answer.status} ${answer.text}`);
      }
    }
  }
}

// --- nodes of this test: what they decide to do with a lease ---
function decide() {
  const dice = luck();
  return dice < 0.04 ? 'fail' : dice < 0.06 ? 'release' : dice < 0.065 ? 'forget' : dice < 0.085 ? 'late' : 'complete';
}
// Half of the second attempts are long enough for a late outcome of the first to meet them.
function workMs(what, lease) {
  if (what === 'late') return between(2100, 4000);
  return lease.attempt > 1 && luck() < 0.5 ? between(0, 1900) : between(0, 25);
}
function outcomeOf(what, lease, node) {
  const outcome = { token: lease.token, outcome: what === 'late' ? 'complete' : what };
  if (outcome.outcome === 'complete') outcome.result = { op: opOf(lease.input), by: lease.token, node };
  else if (what === 'fail') outcome.error = { kind: 'chaos', message: 'as it was decided' };
  return outcome;
}
const recent = []; // leases, for lies
function sawLease(lease, node) {
  record('lease', { op: opOf(lease.input), token: lease.token, node, answered_ns: now() });
  recent.push({ lease, node });
  if (recent.length > 20) recent.shift();
}
// A complete of a lease that another node has; undefined when there is none.
function lie(node) {
  const others = recent.filter((r) => r.node !== node);
  if (luck() > 0.03 || others.length === 0) return undefined;
  const { lease } = pick(others);
  return { isLie: true, op: opOf(lease.input), outcome: { ...outcomeOf('complete', lease, node), result: 'a lie' } };
}
function sawAnswer(job, node, seq, isTaken) {
  if (job.isLie && !isTaken) return; // it says nothing about the lease
  const common = { op: job.op, token: job.outcome.token, node, sent_ns: job.sent_ns, answered_ns: now(), seq };
  if (!isTaken) record('refused', common);
  else if (job.outcome.outcome === 'complete') record('complete', { ...common, result: job.outcome.result });
}

// A node over WebSocket: keeps an outcome until it is answered, names what it holds when it comes back, and now and then
// is a new process that knows of nothing.
class SocketNode {
  constructor(number) {
    this.name = `socket-${number}`;
    this.proxy = proxies.nodes[REAL_NODES + number];
    this.begin();
  }
  begin() {
    this.instance = Math.floor(luck() * 2 ** 48).toString(16).padStart(16, '0');
    this.jobs = new Map(); // token -> {op, outcome once it is known, sent_ns of the first try}
  }
  async run() {
    while (phase.isWorking) {
      if (luck() < 0.1) this.begin();
      await this.session();
      await sleep(between(10, 150));
    }
  }
  async session() {
    const onWire = []; // reports of this connection that are not answered, in their order
    const node = new FakeNode(this.proxy.port, { name: this.name, instance: this.instance, held: [...this.jobs.keys()],
      kinds: ['test.job', 'test.echo'], credit: Math.max(0, 8 - this.jobs.size), work: (lease) => this.work(lease, node) });
    const plain = node.onMessage.bind(node);
    node.onMessage = (message) => {
      plain(message);
      if (message.type === 'reported') {
        const job = onWire.shift();
        if (!job.isLie) this.jobs.delete(job.outcome.token);
        sawAnswer(job, this.name, message.seq, !message.refused.some((r) => r.token === job.outcome.token));
      } else if (message.type === 'welcome') {
        for (const token of message.lost ?? []) this.jobs.delete(token);
      }
    };
    const deliver = (job) => {
      job.sent_ns ??= now();
      onWire.push(job);
      node.report([job.outcome], job.isLie ? 0 : 1);
    };
    const tooLate = setTimeout(() => node.cut(), PATIENCE_MS); // the welcome may have been swallowed
    try {
      await node.connect();
      clearTimeout(tooLate);
      for (const job of this.jobs.values()) if (job.outcome) deliver(job);
      this.deliver = deliver;
      await Promise.race([node.closed, sleep(between(2000, 15000))]);
    } catch { /* refused, cut or late */ }
    clearTimeout(tooLate);
    this.deliver = null;
    node.cut();
  }
  work(lease, node) {
    sawLease(lease, this.name);
    const what = decide();
    if (what === 'forget') return node.send({ type: 'credit', n: 1 }); // until its time is over
    const { jobs } = this;
    const job = { op: opOf(lease.input) };
    jobs.set(lease.token, job);
    setTimeout(() => {
      if (jobs !== this.jobs || jobs.get(lease.token) !== job) return; // another process, or lost meanwhile
      job.outcome = outcomeOf(what, lease, this.name);
      this.deliver?.(job);
      const made = lie(this.name);
      if (made) this.deliver?.(made);
    }, workMs(what, lease));
    return undefined;
  }
}

// A worker over plain HTTP: repeats a report until it is answered.
async function worker(number) {
  const name = `worker-${number}`;
  const proxy = proxies.nodes[REAL_NODES + SOCKET_NODES + number];
  while (phase.isWorking) {
    const polled = await call(proxy, 'POST', '/v1/leases', { node: name, kinds: ['test.job'], max: 4, wait_ms: 500 });
    if (!polled || polled.status !== 200) {
      if (polled && !isLater(polled)) wrong(`a poll is refused: ${polled.status} ${polled.text}`);
      await backOff();
      continue;
    }
    const jobs = [];
    for (const lease of polled.json.leases) {
      sawLease(lease, name);
      const what = decide();
      if (what === 'forget') continue;
      if (what !== 'late' || jobs.length === 0) await sleep(workMs(what, lease));
      jobs.push({ op: opOf(lease.input), outcome: outcomeOf(what, lease, name) });
    }
    for (let left = 20; jobs.length > 0 && left > 0; left--) {
      const sent_ns = now();
      for (const job of jobs) job.sent_ns ??= sent_ns;
      const answer = await call(proxy, 'POST', '/v1/leases:report', { session: polled.json.session, outcomes: jobs.map((j) => j.outcome) });
      if (!answer || isLater(answer)) {
        await backOff();
        continue;
      }
      const { code } = answer.json ?? {};
      if (answer.status === 200) answer.json.results.forEach((r, i) => sawAnswer(jobs[i], name, seqOf(answer), r.ok));
      else if (code === 'lease-lost' && jobs.length === 1) sawAnswer(jobs[0], name, seqOf(answer), false);
      else if (code !== 'session-lost') wrong(`a report is refused: ${answer.status} ${answer.text}`);
      break;
    }
  }
}

// --- real processes ---
const realNodes = [];
function watch(child) { // nothing may end that was not killed
  child.exited.then(({ code, signal }) => {
    if (!child.isDoomed) wrong(`${child.name} ended by itself (${code ?? signal}): ${child.err.slice(-2000)}`);
  });
  return child;
}
function startNode(number) {
  const name = `real-${number}`;
  realNodes[number] = watch(new Process(['node', '--hub', `http://127.0.0.1:${proxies.nodes[number].port}`, '--name', name, '--slots', '6',
    '--offer', 'test.echo', '--data', path.join(TMP, name)], { name }));
  return realNodes[number];
}
async function kill(child) {
  child.isDoomed = true;
  child.kill('SIGKILL');
  await child.exited;
}
async function freeze(child, ms) {
  child.kill('SIGSTOP');
  await sleep(ms);
  child.kill('SIGCONT');
}
async function startHub() {
  for (;;) {
    const starting = hub.start();
    watch(hub.process).isDoomed = true; // until it is up, its end is looked at here
    if (fate() < 0.15) { // killed while it recovers
      starting.catch(() => {});
      await sleep(between(5, 120, fate));
      await kill(hub.process);
      count('kill the hub while it starts');
      continue;
    }
    try {
      await starting;
      hub.process.isDoomed = false;
      return;
    } catch (error) {
      const isForDisk = disk && hub.process.code === 12; // no room; nobody frees it at the right moment but us
      await kill(hub.process);
      if (!isForDisk) throw error;
      disk.free();
      count('start with a full disk');
    }
  }
}

// --- faults ---
const counts = {};
const count = (what) => { counts[what] = (counts[what] ?? 0) + 1; };
const lines = new Map(); // what happens to one thing happens one after the other
function inLine(thing, what, body) {
  const done = (lines.get(thing) ?? Promise.resolve()).then(async () => {
    if (process.env.SHOAL_E2E_VERBOSE) console.log(`     ${(now() / 1e9).toFixed(2)} ${what}`);
    count(what);
    await body();
  }).catch(wrong);
  lines.set(thing, done);
}
async function forAWhile(proxy, from, to) {
  await sleep(between(from, to, fate));
  proxy.heal();
}
const faults = {
  'kill the hub': () => inLine(hub, 'kill the hub', async () => {
    await kill(hub.process);
    await sleep(between(0, 400, fate));
    await startHub();
  }),
  'freeze the hub': () => inLine(hub, 'freeze the hub', () => freeze(hub.process, between(100, 4000, fate))),
  'kill a node': () => {
    const number = Math.floor(fate() * REAL_NODES);
    inLine(`node ${number}`, 'kill a node', async () => {
      await kill(realNodes[number]);
      await sleep(between(0, 1500, fate));
      startNode(number);
    });
  },
  'freeze a node': () => {
    const number = Math.floor(fate() * REAL_NODES);
    inLine(`node ${number}`, 'freeze a node', () => freeze(realNodes[number], between(200, 5000, fate)));
  },
  'cut connections': () => {
    const proxy = pick(allProxies, fate);
    inLine(proxy, 'cut connections', async () => proxy.cut());
  },
  'slow connections': () => {
    const proxy = pick(allProxies, fate);
    inLine(proxy, 'slow connections', () => {
      proxy.slow(between(5, 400, fate), fate() < 0.5 ? between(1, 50, fate) : 0);
      return forAWhile(proxy, 500, 5000);
    });
  },
  'stall one direction': () => {
    const proxy = pick(allProxies, fate);
    inLine(proxy, 'stall one direction', () => {
      proxy.stall(pick(['up', 'down'], fate));
      return forAWhile(proxy, 200, 4000);
    });
  },
  'swallow what is sent': () => {
    const proxy = pick(allProxies, fate);
    inLine(proxy, 'swallow what is sent', () => {
      proxy.swallow(pick(['up', 'down', 'both'], fate));
      return forAWhile(proxy, 200, 5000);
    });
  },
  ...(disk ? { 'fill the disk': () => inLine(disk, 'fill the disk', async () => {
    await disk.fill();
    await sleep(between(300, 2500, fate));
    disk.free();
  }) } : {}),
};

async function hand() {
  const shares = { 'kill the hub': 1, 'fill the disk': 0.2, 'kill a node': 0.4, 'freeze the hub': 0.3 };
  const deck = Object.keys(faults).flatMap((what) => Array(Math.ceil(KILLS * (shares[what] ?? 0.35))).fill(what));
  for (let i = deck.length - 1; i > 0; i--) {
    const j = Math.floor(fate() * (i + 1));
    [deck[i], deck[j]] = [deck[j], deck[i]];
  }
  for (const what of deck) {
    await sleep(between(200, 2200, fate));
    if (mistake) throw mistake;
    if (what === 'kill the hub') await lines.get(hub); // each kill meets a hub that has worked again
    faults[what]();
  }
}

async function heal() {
  await Promise.all(lines.values());
  if (disk) disk.free();
  for (const proxy of allProxies) proxy.heal();
  if (mistake) throw mistake;
}

// --- the end ---
async function writeRows() {
  const ids = [];
  let cursor = '';
  do {
    const page = await hub.ok('GET', `/v1/tasks?limit=1000${cursor ? `&cursor=${cursor}` : ''}`);
    ids.push(...page.items.map((item) => item.id));
    cursor = page.next_cursor;
  } while (cursor);
  let at = 0;
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (at < ids.length) {
      const id = ids[at++];
      const sent_ns = now();
      const answer = await hub.get(`/v1/tasks/${id}`);
      if (answer.status !== 200) throw new Error(`task ${id} is listed and answered with ${answer.status}`);
      const row = shown({ sent_ns, answered_ns: now(), seq: seqOf(answer), task: answer.json });
      const { items } = await hub.ok('GET', `/v1/tasks/${id}/attempts`);
      const done = items.filter((a) => a.outcome === 'succeeded');
      if (done.length > 1 || (row.state === 'succeeded') !== (done.length === 1)) wrong(`task ${id} is ${row.state} and has ${done.length} attempts that succeeded`);
      record('row', { ...row, ...(done.length === 1 ? { attempt: done[0].attempt } : {}) });
    }
  }));
  return ids.length;
}

async function judge() {
  isOver = true;
  history.end();
  await once(history, 'close');
  if (process.env.CHAOS_KEEP) copyFileSync(historyFile, process.env.CHAOS_KEEP);
  const { status, stdout, stderr } = spawnSync(SHOAL, ['sim', '--check', historyFile, '--json'], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  check(status === 0 || status === 1, `the history can be judged: ${stderr}`);
  const verdict = JSON.parse(stdout);
  const of = (rule, pattern) => verdict.violations.filter((v) => v.rule === rule && pattern.test(v.why)).length;
  console.log(`     ${verdict.acked} acknowledged in ${verdict.tasks} tasks by ${tries} requests: ${of('T4', /./)} lost, ${of('once', /./) + of('T3', /twice/)} doubled`);
  console.log(`     seen: ${verdict.leases} leases, ${verdict.completes} completes taken, ${verdict.refused} outcomes refused, ${verdict.reads} reads, ${verdict.cancels} cancels`);
  for (const { line, rule, why } of verdict.violations.slice(0, 30)) console.log(`     line ${line}: ${rule}: ${why}`);
  return verdict;
}

await run({
  async 'nothing acknowledged is lost or doubled, whatever breaks'() {
    for (let i = 0; i < REAL_NODES; i++) await nodeReady(startNode(i));
    watch(hub.process);
    const nodes = [...Array.from({ length: SOCKET_NODES }, (_, i) => new SocketNode(i).run()), ...Array.from({ length: WORKERS }, (_, i) => worker(i))];
    const clients = [...Array.from({ length: CLIENTS }, (_, i) => client(i)), ...Array.from({ length: READERS }, (_, i) => reader(i))];
    for (const one of [...nodes, ...clients]) one.catch(wrong);
    let failure;
    try {
      await hand();
      await heal();
      phase.isSubmitting = false;
      await Promise.all(clients);
      await until('all that was acknowledged has ended', 120000 * SLOW, async () => {
        if (mistake) throw mistake;
        const { counts: c } = (await hub.ok('GET', '/v1/stats')).tasks;
        return c.ready + c.leased + c.scheduled === 0;
      });
    } catch (error) {
      failure = error; // what was recorded may say why
      await heal().catch(() => {});
    }
    phase.isWorking = phase.isSubmitting = false;
    console.log(`     ${Object.entries(counts).map(([what, n]) => `${what}: ${n}`).join(', ')}`);
    const listed = hub.process.running ? await writeRows().catch(wrong) : 0;
    if (!failure) record('end', {});
    const verdict = await judge();
    if (failure ?? mistake) throw failure ?? mistake;
    equal(verdict.violated, 0, 'what was recorded can have happened');
    equal(verdict.rows, listed, 'each listed task is a row');
    for (const what of Object.keys(faults)) check(counts[what] > 0, `there was a fault "${what}"`);
    check(counts['kill the hub'] >= KILLS, `${counts['kill the hub']} kills of the hub`);
    check(verdict.acked > KILLS * 40 && verdict.completes > KILLS * 10 && verdict.refused > 0, 'there was load');
  },
  async 'all ends in order'() {
    for (const node of realNodes) {
      node.isDoomed = true;
      equal((await node.end()).code, 0, `${node.name} ends`);
    }
    hub.process.isDoomed = true;
    await hub.stop();
    for (const proxy of allProxies) proxy.close();
  },
});
