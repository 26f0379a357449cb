#!/usr/bin/env node
// Blobs from beginning to end: who names one keeps it, others go after their time; quota, slow uploads, a disk nearly full.
import { Hub, run, check, equal, until, sleep, TMP, SLOW } from './lib.mjs';
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const hexOf = (text) => createHash('sha256').update(text).digest('hex');
const put = async (hub, text) => {
  const answer = await hub.call('PUT', '/v1/blobs', text, { headers: { 'content-type': 'application/octet-stream' } });
  check(answer.status === 200 || answer.status === 201, `PUT: ${answer.status} ${answer.text}`);
  return hexOf(text);
};
const file = (hub, hex) => path.join(hub.data, 'blobs', hex.slice(0, 2), hex);
const status = async (hub, method, hex) => (await hub.call(method, `/v1/blobs/${hex}`)).status;
const lease = async (hub) => {
  const got = await hub.ok('POST', '/v1/leases', { node: 'w', kinds: ['b.job'], max: 10, wait_ms: 2000 });
  return { session: got.session, lease: got.leases[0] };
};
const finish = async (hub, id, result) => {
  const { session, lease: held } = await lease(hub);
  equal(held.task, id, 'the lease');
  await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: held.token, outcome: 'complete', result }] });
};
const passes = async (hub) => Number(/^shoal_blob_passes_total (\d+)/m.exec((await hub.get('/metrics')).text)[1]);
const afterPasses = async (hub, n) => {
  const begin = await passes(hub);
  await until(`${n} passes`, 60000 * SLOW, async () => await passes(hub) >= begin + n);
};

await run({
  async 'DELETE refuses what a task names, in memory and in history'() {
    const hub = await new Hub({ data: path.join(TMP, 'delete'), args: ['--set', 'finished_keep_ms=200'] }).start();
    await hub.ok('PUT', '/v1/kinds/b.job');
    const [input, result, free] = [await put(hub, 'input'), await put(hub, 'result'), await put(hub, 'free')];
    const { id } = await hub.submit({ kind: 'b.job', input: { files: [{ name: 'a', blob: `sha256:${input}` }] } });
    equal(await status(hub, 'DELETE', input), 409, 'named by an input');
    equal(await status(hub, 'DELETE', free), 200, 'named by nobody');
    equal([await status(hub, 'GET', free), await status(hub, 'DELETE', free)], [404, 404], 'it is gone');
    await until('its file is gone', 10000, () => !existsSync(file(hub, free)));
    equal(await put(hub, 'free'), free, 'and can come again');
    equal(await status(hub, 'GET', free), 200, 'it is back');
    equal(await status(hub, 'DELETE', 'x'.repeat(64)), 404, 'no digest');
    await finish(hub, id, { out_blob: `sha256:${result}`, text: 'sha256:12' });
    equal([await status(hub, 'DELETE', input), await status(hub, 'DELETE', result)], [409, 409], 'named by a finished task');
    await until('the task is in history only', 20000, async () => (await hub.ok('GET', '/v1/stats')).tasks.counts.succeeded === 0);
    equal([await status(hub, 'DELETE', input), await status(hub, 'DELETE', result)], [409, 409], 'named by a row');
    await hub.crash();
    await hub.start();
    equal([await status(hub, 'DELETE', input), await status(hub, 'DELETE', result)], [409, 409], 'after a crash too');
    equal(await status(hub, 'GET', result), 200, 'they are there');
    await hub.stop();
  },
  async 'what nobody names is collected after its time, what is named or wanted stays'() {
    const hub = await new Hub({ data: path.join(TMP, 'collect'), args: ['--set', 'blob_keep_ms=3000', '--set', 'finished_keep_ms=100'] }).start();
    await hub.ok('PUT', '/v1/kinds/b.job');
    const [live, past, lost] = [await put(hub, 'live'), await put(hub, 'past'), await put(hub, 'lost')];
    const done = await hub.submit({ kind: 'b.job', input: `sha256:${past}` });
    await finish(hub, done.id, null);
    await hub.submit({ kind: 'b.job', input: [`sha256:${live}`, `sha256:${live}`] });
    await afterPasses(hub, 1);
    await until('the one that nobody names is gone', 60000 * SLOW, async () => await status(hub, 'GET', lost) === 404);
    await afterPasses(hub, 2);
    equal([await status(hub, 'GET', live), await status(hub, 'GET', past)], [200, 200], 'those that are named stay');
    await hub.crash();
    await hub.start();
    await afterPasses(hub, 3);
    equal([await status(hub, 'GET', live), await status(hub, 'GET', past)], [200, 200], 'after a crash too');
    const metrics = (await hub.get('/metrics')).text;
    check(/^shoal_blobs 2$/m.test(metrics) && /^shoal_blobs_bytes 8$/m.test(metrics), 'they are counted');
    await hub.stop();
  },
  async 'a quota'() {
    const hub = await new Hub({ data: path.join(TMP, 'quota'), args: ['--set', 'blob_quota_mib=1'] }).start();
    const half = await put(hub, 'h'.repeat(600000));
    const body = 'g'.repeat(600000);
    const full = await hub.call('PUT', '/v1/blobs', body);
    equal([full.status, full.json.code], [507, 'no-space'], 'over the quota');
    check(/1048576 bytes/.test(full.json.detail), `says how much: ${full.json.detail}`);
    equal(await status(hub, 'DELETE', half), 200, 'room is made');
    await put(hub, body);
    await hub.stop();
  },
  async 'a slow upload ends with 408'() {
    const hub = await new Hub({ data: path.join(TMP, 'slow'), args: ['--set', 'blob_upload_ms=2000'] }).start();
    const socket = net.connect(hub.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (d) => { answer += d; });
    socket.on('error', () => {});
    socket.write('PUT /v1/blobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n');
    const drip = setInterval(() => { if (!socket.destroyed) socket.write('x'); }, 200);
    await until('408', 30000 * SLOW, () => answer.startsWith('HTTP/1.1 408'));
    clearInterval(drip);
    socket.destroy();
    await until('nothing is left of it', 10000 * SLOW, () => !existsSync(path.join(hub.data, 'blobs', 'tmp', '1.part')));
    await put(hub, 'a quick one');
    await hub.stop();
  },
  async 'with little disk left new work is refused and old work goes on, until there is room'() {
    const mount = path.join(TMP, 'disk');
    mkdirSync(mount, { recursive: true });
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', mount]).status !== 0) {
      console.log('     (no right to mount a small disk: left out)');
      return;
    }
    try {
      const hub = await new Hub({ data: path.join(mount, 'hub'), args: ['--set', 'segment_size_mib=1', '--set', 'disk_reserve_mib=40'] }).start();
      await hub.ok('PUT', '/v1/kinds/b.job');
      const before = await hub.submit({ kind: 'b.job' });
      const filler = path.join(mount, 'filler');
      writeFileSync(filler, Buffer.alloc(64 << 20));
      const refused = await until('new work is refused', 20000 * SLOW, async () => {
        const answer = await hub.post('/v1/tasks', { kind: 'b.job' });
        return answer.status === 507 ? answer : null;
      });
      check(/40 MiB are kept/.test(refused.json.detail), `says why: ${refused.json.detail}`);
      equal((await hub.post('/v1/tasks:batch', [{ kind: 'b.job' }])).status, 507, 'a batch');
      equal((await hub.call('PUT', '/v1/blobs', 'x')).status, 507, 'a blob');
      const ready = await hub.get('/readyz');
      equal([ready.status, ready.json.ready], [503, false], 'readyz');
      check(/^disk/.test(ready.json.reasons[0]), `readyz says why: ${ready.text}`);
      await finish(hub, before.id, 'done');
      equal((await hub.final(before.id)).result, 'done', 'what was there finishes');
      rmSync(filler);
      await until('work is taken again', 20000 * SLOW, async () => (await hub.post('/v1/tasks', { kind: 'b.job' })).status === 201);
      equal((await hub.get('/readyz')).json.reasons, [], 'and readyz is content');
      await hub.stop();
    } finally {
      spawnSync('umount', ['-l', mount]);
    }
  },
});
