#!/usr/bin/env node
// The hub's threads under ThreadSanitizer with real load: one hub, two nodes, workers over plain HTTP, blobs, lists and
// metrics, snapshots by forked children, nodes that die. Any report of a race fails, and so does an answer that is wrong.
//
// Uses SHOAL itself in a build with SANITIZE=thread; else builds such a `shoal` below the build folder, the first time in
// about 40 s of processor time. THREADS_SECONDS: how long the load runs.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const built = path.resolve(process.env.SHOAL);
const source = path.resolve(import.meta.dirname ?? '.', '../..');
const SECONDS = Number(process.env.THREADS_SECONDS ?? 15);

function must(command, args) {
  const r = spawnSync(command, args, { cwd: source, encoding: 'utf8', maxBuffer: 64 << 20, env: { ...process.env, CCACHE_NOHASHDIR: '1' } });
  if (r.status === 0) return;
  console.log(`${command} ${args.join(' ')}\n${(r.stdout ?? '').slice(-8000)}${r.stderr ?? r.error}`);
  process.exit(1);
}
if (process.env.SANITIZE && process.env.SANITIZE !== 'thread') {
  console.log('runs in the build without SANITIZE, and in the one with SANITIZE=thread');
  process.exit(77);
}
if (process.env.SANITIZE !== 'thread') {
  const folder = path.join(path.dirname(built), 'builds', 'thread');
  if (!existsSync(path.join(folder, 'build.ninja'))) {
    must('meson', ['setup', folder, source, '-Db_sanitize=thread', '-Db_lundef=false', '-Doptimization=1', '-Db_ndebug=false']);
  }
  must('ninja', ['-C', folder, 'shoal']);
  process.env.SHOAL = path.join(folder, 'shoal');
  process.env.SANITIZE = 'thread'; // bounds on time stretch
}
const { Hub, Process, FakeNode, run, check, equal, until, sleep, request, TMP } = await import('./lib.mjs');

// Reports go into files, one for each process, forked children too; the processes go on.
const reports = path.join(TMP, 'tsan');
process.env.TSAN_OPTIONS = `log_path=${reports}:halt_on_error=0:exitcode=66:second_deadlock_stack=1:die_after_fork=0`;
const bench = path.join(path.dirname(built), 'bench', 'bench_lifecycle');
const counts = { echo: 0, lifecycles: 0, blobs: 0, reads: 0, cuts: 0, batches: 0, cancels: 0 };
let over = false;
let hub;

function node(name) {
  return new Process(['node', '--hub', hub.url, '--name', name, '--slots', '8', '--offer', 'test.echo', '--data', path.join(TMP, name)], { name });
}

// Each must come back with its own value: a mix-up of answers would show.
async function echoes(number) {
  for (let i = 0; !over; i++) {
    const value = { number, i, pad: 'x'.repeat((i * 997) % 20000) };
    const input = i % 10 === 9 ? { fail: 'meant to', final: true } : { value, sleep_ms: i % 3 };
    const { id } = await hub.submit({ kind: 'test.echo', input, queue: i % 2 ? 'default' : 'other', fairness_key: `k${number % 3}` });
    const task = await hub.final(id, 60000);
    equal(task.state, i % 10 === 9 ? 'dead' : 'succeeded', `echo ${id}`);
    if (i % 10 !== 9) equal(task.result, value, 'its own value');
    counts.echo++;
  }
}

// Whole lifecycles in batches, through workers over plain HTTP. The program checks that none is lost or doubled.
async function lifecycles() {
  while (!over) {
    const child = spawn(bench, [String(hub.port), '4000', '50', '3', '3'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (d) => { out += d; });
    child.stderr.on('data', (d) => { out += d; });
    const code = await new Promise((resolve) => child.on('exit', resolve));
    equal(code, 0, `bench_lifecycle: ${out}`);
    counts.lifecycles += 4000;
  }
}

async function blobs() {
  while (!over) {
    const bytes = randomBytes(300000 + (counts.blobs * 77777) % 900000);
    const hex = createHash('sha256').update(bytes).digest('hex');
    const put = await hub.call('PUT', '/v1/blobs', bytes, { headers: { 'content-type': 'application/octet-stream' } });
    check(put.status < 300 && put.json.blob === `sha256:${hex}`, `blob: ${put.status} ${put.text}`);
    const [whole, part] = await Promise.all([hub.get(`/v1/blobs/${hex}`), hub.get(`/v1/blobs/${hex}`, { headers: { range: 'bytes=1000-4999' } })]);
    check(whole.bytes.equals(bytes) && part.bytes.equals(bytes.subarray(1000, 5000)), 'the bytes come back');
    counts.blobs++;
  }
}

// Lists ask memory and the history's thread; the rest asks everything else.
async function reads() {
  const targets = ['/v1/tasks?limit=50', '/v1/tasks?state=succeeded&limit=100', '/v1/tasks?queue=other&state=dead', '/metrics', '/v1/stats',
    '/v1/nodes', '/v1/queues', '/status', '/readyz', '/openapi.json'];
  for (let i = 0; !over; i++) {
    const answer = await hub.get(targets[i % targets.length]);
    equal(answer.status, 200, targets[i % targets.length]);
    if (answer.json?.next_cursor) await hub.get(`/v1/tasks?limit=50&cursor=${encodeURIComponent(answer.json.next_cursor)}`);
    if (answer.json?.items?.[0]?.id) await hub.get(`/v1/tasks/${answer.json.items[0].id}/attempts`);
    counts.reads++;
  }
}

// Nodes that take work and are cut off, clients that ask and are gone, work that is cancelled and tried again.
async function cuts() {
  while (!over) {
    const fake = await new FakeNode(hub.port, { name: `cut-${counts.cuts % 3}`, credit: 4 }).connect();
    const batch = await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 20 }, (_, i) => ({ kind: 'test.job', input: i, ttl_ms: 60000 })));
    await until('a lease', 20000, () => fake.leases.length > 0);
    fake.complete(fake.leases[0].token, 'done');
    request({ port: hub.port, target: `/v1/tasks/${batch.results[19].id}?wait_ms=5000`, timeout: 50 }).catch(() => {});
    for (const { id } of batch.results.slice(5)) {
      const cancelled = await hub.post(`/v1/tasks/${id}:cancel`, {});
      check([200, 409].includes(cancelled.status), `cancel: ${cancelled.status}`);
      counts.cancels++;
    }
    await hub.post(`/v1/tasks/${batch.results[10].id}:retry`, {});
    if (counts.cuts % 2) fake.cut(); else await fake.close();
    counts.cuts++;
    counts.batches++;
  }
}

// Prints the reports, and says of how many processes there are some.
function races() {
  const found = readdirSync(TMP).filter((name) => name.startsWith(`${path.basename(reports)}.`));
  for (const name of found) console.log(readFileSync(path.join(TMP, name), 'utf8').slice(0, 12000));
  return found.length;
}
process.on('exit', (code) => { if (code !== 0) races(); });

await run({
  async 'real load, and no report'() {
    hub = await new Hub({ args: ['--set', 'snapshot_every_mib=1', '--set', 'segment_size_mib=1', '--set', 'finished_keep_ms=300'] }).start();
    const nodes = [node('one'), node('two')];
    for (const one of nodes) await one.line(/ready/);
    await hub.ok('PUT', '/v1/queues/other', {});
    await hub.ok('PUT', '/v1/kinds/test.job');
    const load = [...[0, 1, 2, 3, 4, 5].map(echoes), lifecycles(), blobs(), reads(), cuts()];
    const snapshots = () => readdirSync(path.join(hub.data, 'snapshot')).filter((name) => name.endsWith('.snap')).length;
    const missing = () => [...Object.entries(counts).filter(([, count]) => count === 0).map(([what]) => what), ...(snapshots() ? [] : ['snapshots'])];
    const timer = sleep(SECONDS * 1000) // a machine with much else to do gets the time that some of everything takes
      .then(() => until('some of everything', 120000, () => missing().length === 0))
      .catch(() => { throw new Error(`in vain: ${missing()}`); })
      .finally(() => { over = true; });
    const dies = (async () => { // in the middle of it a node dies, and another comes
      await sleep(SECONDS * 300);
      nodes[1].kill('SIGKILL');
      nodes[1] = node('two');
      await nodes[1].line(/ready/);
    })();
    await Promise.all([timer, dies, ...load]);
    for (const one of nodes) equal((await one.end()).code, 0, `${one.name} ends in order: ${one.err.slice(-2000)}`);
    await hub.stop();
    console.log(`     ${JSON.stringify(counts)}, ${snapshots()} snapshots`);
    equal(races(), 0, 'reports of ThreadSanitizer');
  },
});
