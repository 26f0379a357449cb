#!/usr/bin/env node
// A port in use, a locked data directory, a full disk, a damaged journal: one plain sentence and an exit code of its own.
// And what `verify` and `repair` make of it.
import { Hub, Process, run, check, equal, until, sleep, TMP, SHOAL, SLOW } from './lib.mjs';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync, mkdirSync, statSync, openSync, writeSync, closeSync } from 'node:fs';
import path from 'node:path';

const shoal = (...args) => {
  const r = spawnSync(SHOAL, args, { encoding: 'utf8', timeout: 120000 * SLOW });
  return { code: r.status, out: r.stdout, err: r.stderr };
};
const plainSentence = (text, what, advice) => {
  const lines = text.trim().split('\n').filter((l) => !/^\d{4}-\d\d-\d\dT/.test(l)); // log lines apart
  equal(lines.length, advice ? 2 : 1, `${what}: one sentence${advice ? ' and advice' : ''}, got ${JSON.stringify(lines)}`);
  check(/^shoal( hub)?: .+\.?$/.test(lines[0]), `${what}: ${lines[0]}`);
  check(!advice || lines[1].includes(advice), `${what}, advice: ${lines[1]}`);
  return lines[0];
};
const fill = async (hub, count) => {
  await hub.ok('PUT', '/v1/kinds/test.job');
  const ids = [];
  for (let i = 0; i < count; i += 100) {
    ids.push(...(await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 100 }, (_, k) => ({ kind: 'test.job', input: { n: i + k, pad: 'x'.repeat(200) } })))).results.map((r) => r.id));
  }
  return ids;
};
const segments = (hub) => readdirSync(path.join(hub.data, 'journal')).filter((n) => /^\d+\.seg$/.test(n)).sort();

await run({
  async 'port in use, directory locked'() {
    const hub = await new Hub({ data: path.join(TMP, 'a') }).start();
    const port = shoal('hub', '--data', path.join(TMP, 'b'), '--listen', `127.0.0.1:${hub.port}`);
    equal(port.code, 10, `port in use: ${port.err}`);
    plainSentence(port.err, 'port in use', '--listen');
    const locked = shoal('hub', '--data', hub.data, '--listen', '127.0.0.1:0');
    equal(locked.code, 11, `locked: ${locked.err}`);
    plainSentence(locked.err, 'locked', '--data');
    equal(shoal('verify', '--data', hub.data).code, 11, 'verify of a running hub');
    await hub.stop();
  },
  async 'configuration mistakes name the line'() {
    const file = path.join(TMP, 'bad.yaml');
    writeFileSync(file, 'listen: 127.0.0.1:0\ndurability: sometimes\n');
    const bad = shoal('hub', '--config', file, '--data', path.join(TMP, 'c'));
    equal(bad.code, 15, bad.err);
    check(/bad\.yaml/.test(bad.err) && /\b2\b/.test(bad.err), `names file and line: ${bad.err}`);
    writeFileSync(file, 'listen: 127.0.0.1:0\n\nlisten_to: me\n');
    const unknown = shoal('hub', '--config', file, '--data', path.join(TMP, 'c'));
    equal(unknown.code, 15, unknown.err);
    check(/\b3\b/.test(unknown.err), `names the line: ${unknown.err}`);
  },
  async 'a torn tail is cut and said so; verify agrees'() {
    const hub = await new Hub({ data: path.join(TMP, 'torn') }).start();
    const ids = await fill(hub, 500);
    await hub.crash();
    // what a write that was cut by a power loss leaves: a record's beginning after the last sound one
    const file = path.join(hub.data, 'journal', segments(hub).at(-1));
    const bytes = readFileSync(file);
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.from([200, 1, 0, 0, 9, 9, 9, 9, 7, 7, 7]), 0, 11, end + 64);
    closeSync(fd);
    await hub.start();
    for (const id of [ids[0], ids[250], ids.at(-1)]) equal((await hub.ok('GET', `/v1/tasks/${id}`)).state, 'ready', 'still there');
    await hub.stop();
    const verify = shoal('verify', '--data', hub.data);
    equal(verify.code, 0, `verify: ${verify.out}${verify.err}`);
  },
  async 'damage in the middle: refuses to start, names file and offset; repair keeps what is sound'() {
    const hub = await new Hub({ data: path.join(TMP, 'damaged') }).start();
    const ids = await fill(hub, 1000);
    await hub.crash();
    const name = segments(hub)[0];
    const file = path.join(hub.data, 'journal', name);
    const bytes = readFileSync(file);
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    const at = Math.floor(end / 2);
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.from([bytes[at] ^ 0x10]), 0, 1, at);
    closeSync(fd);
    const refused = shoal('hub', '--data', hub.data, '--listen', '127.0.0.1:0');
    equal(refused.code, 14, `${refused.out}${refused.err}`);
    const sentence = plainSentence(refused.err, 'damaged');
    check(sentence.includes(name) && /\d{2,}/.test(sentence) && /shoal repair/.test(sentence), `names file, offset and repair: ${sentence}`);
    equal(shoal('verify', '--data', hub.data).code, 14, 'verify sees it');
    const dry = shoal('repair', '--data', hub.data, '--dry-run');
    equal(dry.code, 0, dry.err);
    equal(shoal('hub', '--data', hub.data, '--listen', '127.0.0.1:0').code, 14, 'a dry run changes nothing');
    equal(shoal('repair', '--data', hub.data).code, 0, 'repair');
    await hub.start();
    equal((await hub.ok('GET', `/v1/tasks/${ids[0]}`)).state, 'ready', 'what was before the damage is there');
    equal((await hub.get(`/v1/tasks/${ids.at(-1)}`)).status, 404, 'what was behind it is gone, as repair said');
    await hub.stop();
  },
  async 'damage in front of the newest snapshot: nothing is lost, and verify agrees with repair'() {
    const hub = await new Hub({ data: path.join(TMP, 'standin') }).start();
    const [id] = await fill(hub, 500);
    await hub.stop(); // takes a snapshot of everything
    const snapshot = Number(readdirSync(path.join(hub.data, 'snapshot')).filter((n) => n.endsWith('.snap')).sort().at(-1).slice(0, 20));
    const file = path.join(hub.data, 'journal', segments(hub).at(-1));
    const bytes = readFileSync(file);
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    const at = Math.floor(end / 2); // header and records: between the first and the last
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.from([bytes[at] ^ 0x10]), 0, 1, at);
    closeSync(fd);
    const found = shoal('verify', '--data', hub.data);
    equal(found.code, 14, `verify: ${found.out}${found.err}`);
    check(found.err.includes(`shoal repair --data ${hub.data} --dry-run`), `says what to do: ${found.err}`);
    const [, broken] = found.err.match(/entry (\d+) is damaged/);
    const standsIn = `the snapshot at entry ${snapshot} stands in for`;
    const repair = shoal('repair', '--data', hub.data);
    equal(repair.code, 0, repair.err);
    check(repair.out.includes(`${standsIn} entries ${broken} to ${snapshot}`), `why nothing is lost: ${repair.out}`);
    check(repair.out.includes(`Everything is kept up to entry ${snapshot}; nothing is lost.`), `what is lost: ${repair.out}`);
    const repaired = shoal('verify', '--data', hub.data);
    equal(repaired.code, 0, `verify after repair: ${repaired.out}${repaired.err}`);
    check(repaired.out.includes(standsIn) && repaired.out.includes(`${broken} to ${snapshot}`), `what verify could not replay: ${repaired.out}`);
    // the hub goes on behind the snapshot, in a segment of its own
    await hub.start();
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).state, 'ready', 'what the snapshot holds is there');
    await fill(hub, 100);
    await hub.crash();
    const later = shoal('verify', '--data', hub.data, '--json');
    equal(later.code, 0, `verify later: ${later.out}${later.err}`);
    const report = JSON.parse(later.out);
    equal(report.stood_in, snapshot - Number(broken) + 1, 'entries that the snapshot stands in for');
    check(report.entries >= Number(broken) && report.last_seq > snapshot, `replayed on both sides: ${later.out}`);
  },
  async 'snapshots: made, verified, and enough without the old segments'() {
    const hub = new Hub({ data: path.join(TMP, 'snap'), args: ['--set', 'segment_size_mib=1', '--set', 'snapshot_every_mib=1', '--set', 'finished_keep_ms=200'] });
    await hub.start();
    const ids = await fill(hub, 6000);
    await until('two snapshots', 30000 * SLOW, async () => {
      await fill(hub, 500);
      return readdirSync(path.join(hub.data, 'snapshot')).filter((n) => n.endsWith('.snap')).length >= 2;
    });
    await until('old segments are recycled', 30000 * SLOW, async () => {
      await fill(hub, 500);
      return Number(segments(hub)[0].slice(0, 20)) > 1;
    });
    await hub.crash();
    const verify = shoal('verify', '--data', hub.data, '--json');
    equal(verify.code, 0, `${verify.out}${verify.err}`);
    check(JSON.parse(verify.out), 'verify --json');
    await hub.start();
    equal((await hub.ok('GET', `/v1/tasks/${ids[0]}`)).input.n, 0, 'the oldest task');
    await hub.stop();
  },
  async 'a full disk: 503 or 507, nothing lost, and it goes on when there is room'() {
    const mount = path.join(TMP, 'small');
    mkdirSync(mount);
    if (process.getuid() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', mount]).status !== 0) {
      console.log('     skipped: no right to mount a small file system');
      return;
    }
    try {
      const hub = await new Hub({ data: path.join(mount, 'hub'), args: ['--set', 'segment_size_mib=1'] }).start();
      await hub.ok('PUT', '/v1/kinds/test.job');
      const acknowledged = [];
      let refused;
      for (let i = 0; i < 4000 && !refused; i++) {
        const answer = await hub.post('/v1/tasks:batch', Array.from({ length: 20 }, (_, k) => ({ kind: 'test.job', input: { n: i * 20 + k, pad: 'x'.repeat(1000) } })));
        if (answer.status === 200 && answer.json.refused === 0) acknowledged.push(...answer.json.results.map((r) => r.id));
        else refused = answer;
      }
      check(refused, 'the disk fills up');
      const codes = refused.status === 200 ? refused.json.results.map((r) => r.error?.code).filter(Boolean) : [refused.json.code];
      check(codes.every((c) => ['no-space', 'busy'].includes(c)), `said so: ${codes[0]}`);
      equal((await hub.get('/healthz')).status, 200, 'it still answers');
      equal((await hub.ok('GET', `/v1/tasks/${acknowledged.at(-1)}`)).state, 'ready', 'and reads');
      execFileSync('mount', ['-o', 'remount,size=64m', mount]);
      await until('it goes on', 15000 * SLOW, async () => (await hub.post('/v1/tasks', { kind: 'test.job' })).status === 201);
      await hub.crash();
      await hub.start();
      for (const id of acknowledged) equal((await hub.get(`/v1/tasks/${id}`)).status, 200, `task ${id} after the crash`);
      await hub.stop();
      // A clean end takes the index of SQLite's log along; the next start must make it anew, and there is no room for it.
      const filler = path.join(mount, 'filler');
      const fd = openSync(filler, 'w');
      for (let size = 65536; size >= 1;) {
        try {
          writeSync(fd, Buffer.alloc(size));
        } catch (error) {
          equal(error.code, 'ENOSPC', 'the disk is full');
          size = Math.floor(size / 256);
        }
      }
      closeSync(fd);
      const start = shoal('hub', '--data', hub.data, '--listen', '127.0.0.1:0');
      equal(start.code, 12, `a start without room: ${start.err}`);
      check(plainSentence(start.err, 'no room').includes('the disk is full'), `says so: ${start.err}`);
      rmSync(filler);
      await hub.start();
      await hub.stop();
    } finally {
      spawnSync('umount', ['-l', mount]);
    }
  },
});
