#!/usr/bin/env node
// Makes the data directories that every later build must open: test/data/<name>/{full,trimmed}.tar.gz and expect.json.
//
//   SHOAL=build/shoal test/data/make.mjs <name>       <name> is the release, such as 0.2.0
//
// Each release adds one, made by its own build, and none is ever changed or removed: test/e2e/test_format.mjs opens,
// verifies and continues all of them. (One of a build that was never released may be made anew.)
//
//   full      a snapshot, journal behind it (the hub was killed), history.db and blobs; tasks in every state that a task can
//             reach, attempts of every outcome, unique keys of every mode, idempotency keys, retry policies, errors, progress,
//             checkpoints, held leases, paused queues, kinds, nodes and workers
//   trimmed   two snapshots and the journal behind them; the segments with the first entries are gone
//
// expect.json says what the hub that made them answered last.
import { spawnSync } from 'node:child_process';
import { mkdirSync, existsSync, writeFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Hub, FakeNode, TMP, check, until, sleep } from '../e2e/lib.mjs';

const name = process.argv[2];
if (!/^[\w.-]+$/.test(name ?? '')) {
  console.error('usage: SHOAL=build/shoal test/data/make.mjs NAME');
  process.exit(2);
}
const folder = path.join(import.meta.dirname, name);
if (existsSync(folder)) {
  console.error(`${folder} is there already, and what a release wrote is never changed`);
  process.exit(2);
}
const SMALL = ['--set', 'segment_size_mib=1', '--set', 'snapshot_every_mib=1', '--set', 'finished_keep_ms=1000'];
const FAR = '2199-01-01T00:00:00.000Z';
const KINDS = ['test.work', 'test.other', 'test.waits'];

const tasks = {};
async function submit(hub, label, task, headers) {
  const answer = await hub.call('POST', '/v1/tasks', { kind: 'test.waits', input: { label }, ...task }, { headers });
  check(answer.status === 201, `${label}: ${answer.status} ${answer.text}`);
  tasks[label] = answer.json.id;
  return answer.json.id;
}
async function lease(hub, node, kinds, max = 1) {
  const answer = await hub.ok('POST', '/v1/leases', { node, kinds, max, wait_ms: 5000, labels: ['zone=a'], cpu: 4, memory_mib: 4096, gpu: 1 });
  check(answer.leases.length > 0, `${node} gets a lease`);
  return answer;
}
async function work(hub, node, kind, outcomeOf) {
  const { session, leases } = await lease(hub, node, [kind]);
  const answer = await hub.ok('POST', '/v1/leases:report', { session, outcomes: leases.map((l) => ({ token: l.token, ...outcomeOf(l) })) });
  check(answer.results.every((r) => r.ok), `the report is taken: ${JSON.stringify(answer)}`);
  return leases;
}

// What a hub is asked before the clean stop that makes the snapshot, and again behind it.
async function fill(hub, part) {
  const label = (text) => `${text}-${part}`;
  await submit(hub, label('scheduled'), { run_at: FAR, priority: 9 });
  await submit(hub, label('ready'), { priority: 1, fairness_key: label('tenant'), weight: 7 });
  await submit(hub, label('required'), { requires: { labels: ['zone=a', 'never'], cpu: 0.5, memory_mib: 64, gpu: 1 } });
  await submit(hub, label('paused'), { queue: label('halted') });
  await submit(hub, label('policy'), { retry: { max: 7, base_ms: 5, factor: 3, cap_ms: 900, jitter: 0.5, not_retryable: ['fatal', 'worse'] },
    ttl_ms: 366 * 86400000, timeout_ms: 60000, lease_ms: 3600000 });
  for (const mode of ['queued', 'unfinished', 'time']) {
    await submit(hub, label(`unique-${mode}`), { unique: { key: label(`key-${mode}`), mode, ...(mode === 'time' ? { for_ms: 366 * 86400000 } : {}) } });
  }
  await submit(hub, label('idempotent'), {}, { 'idempotency-key': label('once'),
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
  await submit(hub, label('cancelled'), {});
  await hub.ok('POST', `/v1/tasks/${tasks[label('cancelled')]}:cancel`, { reason: 'not wanted' });
  await submit(hub, label('expired'), { ttl_ms: 20 });
  await hub.final(tasks[label('expired')]);

  await submit(hub, label('succeeded'), { kind: 'test.work' });
  await work(hub, 'plain', 'test.work', () => ({ outcome: 'complete', result: { label: label('done'), n: [1, 2.5, null, 'ü'] } }));
  await submit(hub, label('dead'), { kind: 'test.work', retry: { max: 1 } });
  await work(hub, 'plain', 'test.work', () => ({ outcome: 'fail', error: { kind: 'code', message: 'it broke', detail: { at: 7 } } }));
  await submit(hub, label('fatal'), { kind: 'test.work', retry: { max: 9, not_retryable: ['fatal'] } });
  await work(hub, 'plain', 'test.work', () => ({ outcome: 'fail', error: { kind: 'fatal', message: 'for good' } }));
  await submit(hub, label('backing-off'), { kind: 'test.work', retry: { max: 9, base_ms: 366 * 86400000, cap_ms: 366 * 86400000, jitter: 0 } });
  await work(hub, 'plain', 'test.work', () => ({ outcome: 'fail', error: { kind: 'code', message: 'try later', detail: [1] } }));
  await submit(hub, label('retried'), { kind: 'test.other', retry: { max: 1 } });
  await work(hub, 'plain', 'test.other', () => ({ outcome: 'fail', error: { kind: 'code', message: 'once' } }));
  await hub.ok('POST', `/v1/tasks/${tasks[label('retried')]}:retry`);
  await work(hub, 'plain', 'test.other', () => ({ outcome: 'complete', result: 'at last' }));
  await submit(hub, label('released'), { kind: 'test.other' });
  await work(hub, 'plain', 'test.other', () => ({ outcome: 'release', message: 'shutting down' }));
  await work(hub, 'plain', 'test.other', () => ({ outcome: 'complete', result: 7 }));
  await submit(hub, label('leased'), { kind: 'test.work', lease_ms: 3600000 });
  await work(hub, label('holder'), 'test.work', () => ({ outcome: 'progress', permille: 250, note: 'a quarter', checkpoint: { page: 12 }, lease_ms: 3600000 }));

  // A node of the WebSocket: its connection breaks, the attempt is lost, the next one succeeds.
  await submit(hub, label('lost'), { kind: 'test.node', timeout_ms: 3600000 });
  const first = await new FakeNode(hub.port, { name: label('breaks'), kinds: ['test.node'], labels: ['zone=a', 'disk'] }).connect();
  await until('a lease for the node that breaks', 10000, () => first.leases.length > 0);
  first.cut();
  const second = await new FakeNode(hub.port, { name: label('node'), kinds: ['test.node'], labels: ['zone=b'] }).connect();
  await until('the task of the node that broke', 20000, () => second.leases.length > 0);
  second.complete(second.leases[0].token, { from: 'node' });
  await hub.final(tasks[label('lost')]);
  await hub.ok('POST', `/v1/nodes/${label('node')}:quiet`);
  await hub.ok('POST', `/v1/nodes/${label('node')}:drain`);
  await second.close();
  const blob = await hub.call('PUT', '/v1/blobs', Buffer.from(`bytes of ${part}\n`.repeat(50)));
  check(blob.status === 201, `a blob: ${blob.text}`);
  return blob.json.blob;
}

async function list(hub, what) {
  const items = [];
  for (let cursor = ''; ;) {
    const page = await hub.ok('GET', `${what}?limit=1000${cursor ? `&cursor=${cursor}` : ''}`);
    items.push(...page.items);
    if (!page.next_cursor) return items;
    cursor = page.next_cursor;
  }
}
async function facts(hub) {
  const all = {};
  for (const { id } of await list(hub, '/v1/tasks')) {
    const task = await hub.ok('GET', `/v1/tasks/${id}`);
    const attempts = (await hub.ok('GET', `/v1/tasks/${id}/attempts`)).items;
    all[id] = { state: task.state, kind: task.kind, queue: task.queue, input: task.input, result: task.result, error: task.error,
      checkpoint: task.checkpoint, progress: task.progress, retry: task.retry, requires: task.requires, unique: task.unique,
      priority: task.priority, weight: task.weight, fairness_key: task.fairness_key, timeout_ms: task.timeout_ms,
      attempts: attempts.map((a) => a.outcome) };
  }
  return { tasks: all,
    queues: Object.fromEntries((await list(hub, '/v1/queues')).map((q) => [q.name, q.paused])),
    kinds: (await list(hub, '/v1/kinds')).map((k) => k.name),
    nodes: Object.fromEntries((await list(hub, '/v1/nodes')).map((n) => [n.name, { worker: n.worker, draining: n.draining, quiet: n.quiet }])) };
}
function pack(data, file) {
  const { status, stderr } = spawnSync('sh', ['-c', `tar -C "$0" --owner=0 --group=0 --numeric-owner --exclude=LOCK --exclude='*.tmp' --exclude='spare-*.seg' -c . | gzip -9n > "$1"`,
    data, path.join(folder, file)], { encoding: 'utf8' });
  check(status === 0, `tar: ${stderr}`);
}

async function full() {
  const hub = await new Hub({ data: path.join(TMP, 'full'), args: SMALL }).start();
  for (const kind of KINDS) await hub.ok('PUT', `/v1/kinds/${kind}`);
  await hub.ok('PUT', '/v1/kinds/test.node');
  for (const part of ['old', 'new']) await hub.ok('PUT', `/v1/queues/halted-${part}`, { paused: true });
  const blobs = [await fill(hub, 'old')];
  await sleep(1500); // what is finished leaves memory for history
  await hub.submit({ kind: 'test.waits', input: 'the time passes', run_at: FAR });
  await hub.stop();
  await hub.start();
  blobs.push(await fill(hub, 'new'));
  await until('history holds everything', 10000, async () => (await hub.ok('GET', '/readyz')).history_seq > 0);
  const expect = { ...(await facts(hub)), blobs, labels: { ...tasks } };
  await hub.crash();
  pack(hub.data, 'full.tar.gz');
  return expect;
}

async function trimmed() {
  const hub = await new Hub({ data: path.join(TMP, 'trimmed'), args: SMALL }).start();
  for (const kind of KINDS) await hub.ok('PUT', `/v1/kinds/${kind}`);
  const readySeq = async () => (await hub.ok('GET', '/readyz')).snapshot_seq;
  // Text that compresses to nothing, until there were three snapshots: the first entries are in no file then.
  let snapshots = 0, seq = 0;
  for (let i = 0; snapshots < 3; i++) {
    await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 4 }, (_, k) => ({ kind: 'test.other', input: `${i}.${k} ${'-'.repeat(60000)}` })));
    const { session, leases } = await lease(hub, 'plain', ['test.other'], 4);
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: leases.map((l) => ({ token: l.token, outcome: 'complete', result: l.attempt })) });
    if (await readySeq() > seq) { seq = await readySeq(); snapshots++; }
    check(i < 200, 'snapshots are made');
    await sleep(100);
  }
  await hub.submit({ kind: 'test.waits', input: 'behind the last snapshot' });
  await until('the first segment is gone', 10000, () => !existsSync(path.join(hub.data, 'journal', '00000000000000000001.seg')));
  const expect = await facts(hub);
  // The inputs are long and all the same: what is left of them is enough.
  for (const task of Object.values(expect.tasks)) if (typeof task.input === 'string') task.input = task.input.slice(0, 60);
  await hub.crash();
  pack(hub.data, 'trimmed.tar.gz');
  return expect;
}

mkdirSync(folder);
try {
  const expect = { full: await full(), trimmed: await trimmed() };
  writeFileSync(path.join(folder, 'expect.json'), `${JSON.stringify(expect, null, 1)}\n`);
} catch (error) {
  rmSync(folder, { recursive: true });
  throw error;
}
process.exit(0);
