#!/usr/bin/env node
// Data directories of every release are opened, verified and continued; what a newer one wrote is refused by name, and
// nothing on the disk is changed by that.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createHash } from 'node:crypto';
import { Hub, Process, SHOAL, TMP, run, check, equal, until } from './lib.mjs';

const DATA = path.join(import.meta.dirname, '../data');
const SMALL = ['--set', 'segment_size_mib=1', '--set', 'snapshot_every_mib=1', '--set', 'finished_keep_ms=1000'];
const releases = readdirSync(DATA, { withFileTypes: true }).filter((d) => d.isDirectory()).map((d) => d.name);

let scratch = 0;
function unpack(release, which) {
  const data = path.join(TMP, `data-${scratch++}`);
  mkdirSync(data, { recursive: true });
  const { status, stderr } = spawnSync('tar', ['-C', data, '-xzf', path.join(DATA, release, `${which}.tar.gz`)], { encoding: 'utf8' });
  check(status === 0, `tar: ${stderr}`);
  return data;
}
const shoal = (...args) => spawnSync(SHOAL, args, { encoding: 'utf8' });
function verify(data, what) {
  const { status, stdout, stderr } = shoal('verify', '--data', data, '--json');
  check(status === 0, `${what} verifies: ${stdout}${stderr}`);
  const report = JSON.parse(stdout);
  equal([report.ok, report.undecodable], [true, 0], `${what}: everything is understood`);
  return report;
}
const files = (data) => Object.fromEntries(['journal', 'snapshot'].flatMap((folder) => readdirSync(path.join(data, folder)).sort()
  .map((name) => [`${folder}/${name}`, createHash('sha256').update(readFileSync(path.join(data, folder, name))).digest('hex')])));

// What may have become of a task since: leases and times run out.
const later = { leased: ['leased', 'ready'], ready: ['ready', 'expired'] };
const plain = (value) => JSON.stringify(value ?? null);
const all = async (hub, what) => (await hub.ok('GET', `${what}?limit=1000`)).items;

async function sameTasks(hub, expected) {
  for (const [id, was] of Object.entries(expected.tasks)) {
    const task = await hub.ok('GET', `/v1/tasks/${id}`);
    check((later[was.state] ?? [was.state]).includes(task.state), `task ${id} was ${was.state} and is ${task.state}`);
    for (const field of ['kind', 'queue', 'priority', 'weight', 'result', 'checkpoint', 'progress', 'retry', 'requires', 'fairness_key', 'timeout_ms']) {
      equal(plain(task[field]), plain(was[field]), `${field} of ${id}`);
    }
    if (was.unique) equal(task.unique.key, was.unique.key, `the unique key of ${id}`);
    if (typeof was.input === 'string') check(task.input.startsWith(was.input), `input of ${id}`);
    else equal(plain(task.input), plain(was.input), `input of ${id}`);
    if (was.error) {
      equal([task.error.kind, task.error.message, plain(task.error.detail)], [was.error.kind, was.error.message, plain(was.error.detail)], `error of ${id}`);
    }
    const attempts = (await hub.ok('GET', `/v1/tasks/${id}/attempts`)).items.map((a) => a.outcome);
    equal(attempts.slice(0, was.attempts.length).map((o, i) => (was.attempts[i] === 'running' ? 'running' : o)), was.attempts, `attempts of ${id}`);
  }
  const queues = Object.fromEntries((await all(hub, '/v1/queues')).map((q) => [q.name, q.paused]));
  for (const [name, paused] of Object.entries(expected.queues)) equal(queues[name], paused, `queue ${name}`);
  const kinds = (await all(hub, '/v1/kinds')).map((k) => k.name);
  for (const kind of expected.kinds) check(kinds.includes(kind), `kind ${kind} is known`);
  const nodes = Object.fromEntries((await all(hub, '/v1/nodes')).map((n) => [n.name, n]));
  for (const [name, was] of Object.entries(expected.nodes)) {
    check(nodes[name], `node ${name} is known`);
    equal({ worker: nodes[name].worker, draining: nodes[name].draining, quiet: nodes[name].quiet }, was, `node ${name}`);
  }
}
async function goOn(hub, count) {
  const ids = [];
  for (let i = 0; i < count; i++) ids.push((await hub.submit({ kind: 'test.fresh', input: i, unique: { key: `fresh-${i}` }, fairness_key: `f${i % 3}` })).id);
  let left = count;
  while (left > 0) {
    const answer = await hub.ok('POST', '/v1/leases', { node: 'today', kinds: ['test.fresh'], max: count, wait_ms: 5000 });
    check(answer.leases.length > 0, 'work is handed out');
    await hub.ok('POST', '/v1/leases:report', { session: answer.session, outcomes: answer.leases.map((l) => ({ token: l.token, outcome: 'complete', result: l.input })) });
    left -= answer.leases.length;
  }
  for (const [i, id] of ids.entries()) equal((await hub.final(id)).result, i, `the result of a new task ${id}`);
}

const cases = {
  async 'there is a directory of the first format'() { check(releases.includes('0.1.0-first'), releases.join()); },
};
for (const release of releases) {
  const expect = JSON.parse(readFileSync(path.join(DATA, release, 'expect.json')));
  for (const which of ['full', 'trimmed']) {
    cases[`${release}/${which} is verified, opened and continued`] = async () => {
      const data = unpack(release, which);
      const before = verify(data, 'the directory as it came');
      check(before.snapshots_compared > 0, 'a snapshot is held against a replay');
      const hub = await new Hub({ data, args: SMALL }).start();
      await sameTasks(hub, expect[which]);
      await hub.ok('PUT', '/v1/kinds/test.fresh');
      await goOn(hub, 20);
      if (which === 'full') {
        const { labels, blobs } = expect.full;
        for (const part of ['old', 'new']) {
          for (const mode of ['unfinished', 'time']) { // keys that were taken still are
            const label = `unique-${mode}-${part}`;
            const again = await hub.call('POST', '/v1/tasks', { kind: 'test.waits', unique: { key: `key-${mode}-${part}`, mode: 'unfinished' } });
            equal([again.status, again.json.id, again.json.duplicate], [200, labels[label], true], `the key of ${label}`);
          }
          await hub.ok('POST', `/v1/tasks/${labels[`dead-${part}`]}:retry`);
          await hub.ok('POST', `/v1/queues/halted-${part}:resume`);
          await hub.ok('POST', `/v1/tasks/${labels[`scheduled-${part}`]}:cancel`);
        }
        for (const blob of blobs) {
          const got = await hub.get(`/v1/blobs/${blob.replace('sha256:', '')}`);
          equal([got.status, `sha256:${createHash('sha256').update(got.bytes).digest('hex')}`], [200, blob], 'a blob');
        }
      }
      await hub.crash();
      check(verify(data, 'after a crash').last_seq > before.last_seq, 'the hub went on');
      await hub.start();
      await goOn(hub, 5);
      await hub.stop();
      const after = verify(data, 'after a clean stop');
      check(after.snapshots > 0 && after.snapshots_compared + (after.stood_in > 0 ? 1 : 0) > 0, 'its own snapshot is held against a replay');
      await hub.start();
      equal((await hub.ok('GET', '/readyz')).ready, true, 'ready');
      await hub.stop();
    };
  }
}

// --- data of a newer Shoal, made from our own ---
const CRC = (() => {
  const table = Array.from({ length: 256 }, (_, n) => { let c = n; for (let k = 0; k < 8; k++) c = c & 1 ? 0x82F63B78 ^ (c >>> 1) : c >>> 1; return c >>> 0; });
  return (crc, bytes) => { let c = ~crc >>> 0; for (const b of bytes) c = (table[(c ^ b) & 255] ^ (c >>> 8)) >>> 0; return ~c >>> 0; };
})();
const segments = (data) => readdirSync(path.join(data, 'journal')).filter((n) => /^\d{20}\.seg$/.test(n)).sort().map((n) => path.join(data, 'journal', n));
const snapshots = (data) => readdirSync(path.join(data, 'snapshot')).filter((n) => /^\d{20}\.snap$/.test(n)).sort().map((n) => path.join(data, 'snapshot', n));
// Changes the body or head of the newest record and makes its checksum right again.
function changeLastRecord(data, change) {
  const file = segments(data).at(-1);
  const bytes = readFileSync(file);
  const salt = bytes.readUInt32LE(32);
  let at = 8192, last = 0;
  while (at + 32 <= bytes.length && bytes.readBigUInt64LE(at + 8) !== 0n) {
    last = at;
    at += (32 + bytes.readUInt32LE(at) + 7) & ~7;
  }
  check(last > 0, 'there is a record');
  const record = bytes.subarray(last, last + 32 + bytes.readUInt32LE(last));
  change(record);
  record.writeUInt32LE(CRC(CRC(salt, record.subarray(0, 4)), record.subarray(8)), 4);
  writeFileSync(file, bytes);
  return Number(record.readBigUInt64LE(8));
}
// Makes a snapshot that says so of itself; `sound`: with digests that are right.
function changeSnapshot(file, change, sound = true) {
  const bytes = readFileSync(file);
  const sha = (b) => createHash('sha256').update(b).digest();
  const state = bytes.subarray(72, bytes.length - 40);
  change(state);
  if (sound) {
    sha(state.subarray(0, -32)).copy(state, state.length - 32);
    sha(bytes.subarray(0, -32)).copy(bytes, bytes.length - 32);
  }
  writeFileSync(file, bytes);
}
const newerSection = (state) => state.writeUInt32LE(99, state.length - 32 - 4 - 16 + 4);
async function refuses(data, pattern, code = 18) {
  const before = files(data);
  const hub = new Process(['hub', '--data', data, '--listen', '127.0.0.1:0', ...SMALL], { name: 'hub' });
  equal((await hub.exited).code, code, `the hub ends with ${code}: ${hub.err}`);
  check(pattern.test(hub.err), `${hub.err} says ${pattern}`);
  equal(hub.out, '', 'it never listened');
  equal(files(data), before, 'nothing was changed');
  const verified = shoal('verify', '--data', data);
  check(verified.status !== 0 && /newer Shoal/.test(verified.stderr), `verify: ${verified.status} ${verified.stdout}${verified.stderr}`);
}
async function ours(name, keep = () => {}) {
  const data = path.join(TMP, name);
  const hub = await new Hub({ data, args: SMALL }).start();
  await hub.ok('PUT', '/v1/kinds/test.fresh');
  await goOn(hub, 3);
  await hub.stop();
  await hub.start();
  await goOn(hub, 3);
  await keep(hub);
  await hub.crash();
  return data;
}
const copy = (data) => { const to = path.join(TMP, `data-${scratch++}`); cpSync(data, to, { recursive: true }); return to; };

Object.assign(cases, {
  async 'an entry of a higher level, or with a command that is not known, stops the hub by name'() {
    const data = await ours('ours');
    const level = copy(data);
    const seq = changeLastRecord(level, (r) => { r[32 + 15] = 200; });
    await refuses(level, new RegExp(`entry ${seq} was written by a newer Shoal: it has feature level 200`));
    const type = copy(data);
    changeLastRecord(type, (r) => { r[32 + 20] = 250; });
    await refuses(type, new RegExp(`entry ${seq} was written by a newer Shoal: its command 1 of \\d+ has type 250`));
    const version = copy(data);
    changeLastRecord(version, (r) => r.writeUInt16LE(77, 24));
    await refuses(version, new RegExp(`entry ${seq} was written by a newer Shoal`));
    for (const broken of [level, type, version]) {
      const before = files(broken);
      const repaired = shoal('repair', '--data', broken);
      check(repaired.status === 18 && /newer Shoal/.test(repaired.stderr), `repair: ${repaired.status} ${repaired.stderr}`);
      equal(files(broken), before, 'repair leaves it alone');
    }
  },
  async 'a snapshot of a newer Shoal, or one that does not load, is passed over for the log'() {
    const data = await ours('passed');
    for (const [change, aside, sound] of [[newerSection, 'newer', true], [(s) => s.fill(0xee, 400, 480), 'damaged', true], [(s) => s.fill(0xee, 400, 480), 'damaged', false]]) {
      const changed = copy(data);
      const file = snapshots(changed).at(-1);
      changeSnapshot(file, change, sound);
      const hub = await new Hub({ data: changed, args: SMALL }).start();
      await goOn(hub, 2);
      await hub.stop();
      check(!existsSync(file) && existsSync(`${file}.${aside}`), `the snapshot is ${aside}`);
      if (aside === 'newer') check(/section IDEM version 99/.test(hub.process.err), `the log names the section: ${hub.process.err}`);
      verify(changed, 'afterwards');
    }
  },
  async 'with trimmed segments nothing stands in: the sentence names the files'() {
    const data = unpack(releases.at(-1), 'trimmed');
    const hub = await new Hub({ data, args: SMALL }).start();
    await hub.stop(); // a snapshot in the format of today
    for (const file of snapshots(data).slice(0, -1)) rmSync(file);
    const oldest = path.basename(segments(data)[0]);
    const newest = path.basename(snapshots(data)[0]);
    check(!oldest.startsWith('00000000000000000001'), `the first segment is gone: ${oldest}`);
    const newer = copy(data);
    changeSnapshot(snapshots(newer)[0], newerSection);
    await refuses(newer, new RegExp(`${newest} was written by a newer Shoal.*${oldest}.*section IDEM version 99`, 's'));
    const damaged = copy(data);
    changeSnapshot(snapshots(damaged)[0], (s) => s.fill(0xee, 400, 480));
    const before = files(damaged);
    const process = new Process(['hub', '--data', damaged, '--listen', '127.0.0.1:0', ...SMALL], { name: 'hub' });
    equal((await process.exited).code, 14, process.err);
    check(process.err.includes(`${newest} is damaged`) && process.err.includes(oldest), process.err);
    equal(files(damaged), before, 'nothing was changed');
  },
});
await run(cases);
