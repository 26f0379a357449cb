#!/usr/bin/env node
// Every documented route, used as a client would, with Node's own HTTP client.
import { Hub, FakeNode, run, check, equal, until, sleep } from './lib.mjs';
import { createHash, randomBytes } from 'node:crypto';

const hub = await new Hub().start();
await hub.ok('PUT', '/v1/kinds/test.job');
const worker = (extra = {}) => hub.ok('POST', '/v1/leases', { node: 'w', kinds: ['test.job'], max: 10, wait_ms: 0, ...extra });

await run({
  async 'health, facts and aliases'() {
    for (const path of ['/healthz', '/health', '/status', '/stats', '/v1/stats', '/nodes', '/tasks', '/openapi.json', '/readyz']) {
      const answer = await hub.get(path);
      equal(answer.status, 200, path);
      check(answer.json !== undefined, `${path} is JSON`);
      check(/^\d+$/.test(answer.headers['shoal-seq'] ?? ''), `${path} carries Shoal-Seq`);
    }
    equal((await hub.ok('GET', '/readyz')).durability, 'batch', 'the durability is shown');
    const metrics = await hub.get('/metrics');
    check(/^text\/plain/.test(metrics.headers['content-type']) && /^# TYPE shoal_\w+ (counter|gauge)$/m.test(metrics.text), 'metrics');
    for (const line of metrics.text.split('\n')) {
      check(line === '' || line.startsWith('#') || /^[a-z_]+(\{[^}]*\})? -?[0-9.e+]+$/.test(line), `metrics line: ${line}`);
    }
    const api = await hub.ok('GET', '/openapi.json');
    check(api.openapi.startsWith('3.1'), 'OpenAPI 3.1');
    for (const path of ['/v1/tasks', '/v1/tasks/{id}', '/v1/leases', '/v1/blobs/{digest}', '/v1/queues/{name}']) {
      check(Object.keys(api.paths).some((p) => p.replace(/\{\w+\}/g, '{}') === path.replace(/\{\w+\}/g, '{}')), `OpenAPI has ${path}`);
    }
    const head = await hub.call('HEAD', '/status');
    equal([head.status, head.text], [200, ''], 'HEAD');
    const options = await hub.call('OPTIONS', '/v1/tasks');
    equal(options.status, 204, 'OPTIONS');
  },
  async 'the life of a task over plain HTTP'() {
    const created = await hub.post('/v1/tasks', { kind: 'test.job', input: { a: [1, 2.5, 'é'] }, priority: 7, fairness_key: 'me' });
    equal([created.status, created.json.state], [201, 'ready'], 'submit');
    equal(created.headers.location, `/v1/tasks/${created.json.id}`, 'Location');
    const id = created.json.id;
    const { session, leases } = await worker();
    equal([leases.length, leases[0].task, leases[0].input], [1, id, { a: [1, 2.5, 'é'] }], 'lease');
    const leased = await hub.ok('GET', `/v1/tasks/${id}`);
    equal([leased.state, leased.lease.node, leased.priority, leased.fairness_key], ['leased', 'w', 7, 'me'], 'leased');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'progress', permille: 400, note: 'half', checkpoint: { at: 4 } }] });
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).progress, { permille: 400, note: 'half' }, 'progress');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'fail', error: { kind: 'io', message: 'no luck' } }] });
    const scheduled = await hub.ok('GET', `/v1/tasks/${id}`);
    equal([scheduled.state, scheduled.attempts_failed, scheduled.error.kind], ['scheduled', 1, 'io'], 'it waits for its second attempt');
    const again = await until('the second lease', 5000, async () => (await worker({ wait_ms: 500 })).leases[0]);
    equal([again.attempt, again.checkpoint], [2, { at: 4 }], 'the checkpoint is handed on');
    const waiting = hub.ok('GET', `/v1/tasks/${id}?wait_ms=10000`);
    await sleep(50);
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: again.token, outcome: 'complete', result: { ok: true } }] });
    const done = await waiting;
    equal([done.state, done.result, done.attempts], ['succeeded', { ok: true }, 2], 'the waiting GET');
    equal(await hub.ok('GET', `/v1/tasks/${id}/result`), { ok: true }, 'result');
    const { id: unfinished } = await hub.submit({ kind: 'test.job', delay_ms: 60000 });
    const early = await hub.get(`/v1/tasks/${unfinished}/result`);
    equal([early.status, early.json.code, early.json.retryable], [409, 'illegal-transition', true], 'no result yet');
    await hub.ok('POST', `/v1/tasks/${unfinished}:cancel`, {});
    const never = await hub.get(`/v1/tasks/${unfinished}/result`);
    equal([never.status, never.json.code, never.json.retryable], [409, 'illegal-transition', false], 'no result ever');
    equal((await hub.ok('GET', `/v1/tasks/${id}/attempts`)).items.map((a) => [a.attempt, a.outcome, a.node]), [[1, 'failed', 'w'], [2, 'succeeded', 'w']], 'attempts');
  },
  async 'submit and wait in one request'() {
    const node = await new FakeNode(hub.port, { name: 'quick', kinds: ['test.quick'], work: (l, me) => me.complete(l.token, l.input * 2) }).connect();
    const answer = await hub.post('/v1/tasks?wait_ms=5000', { kind: 'test.quick', input: 21 });
    equal([answer.json.state, answer.json.result], ['succeeded', 42], 'done');
    await node.close();
  },
  async 'cancel, retry, dead letters'() {
    const { id } = await hub.submit({ kind: 'test.job', retry: { max: 1 } });
    const { session, leases } = await worker();
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'fail', error: { kind: 'x', message: 'm' } }] });
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).state, 'dead', 'dead');
    equal((await hub.ok('POST', `/v1/tasks/${id}:retry`, {})).state, 'ready', 'retry');
    equal((await hub.ok('POST', `/v1/tasks/${id}:cancel`, { reason: 'enough' })).state, 'cancelled', 'cancel');
    equal((await hub.ok('GET', `/v1/tasks?state=cancelled&limit=1`)).items[0].id, id, 'list by state');
  },
  async 'delay, ttl and unique keys'() {
    const later = await hub.submit({ kind: 'test.job', delay_ms: 300 });
    equal(later.state, 'scheduled', 'delayed');
    const gone = await hub.submit({ kind: 'test.job', delay_ms: 60000, ttl_ms: 200 });
    await until('it becomes ready', 3000, async () => (await hub.ok('GET', `/v1/tasks/${later.id}`)).state === 'ready');
    await until('it expires', 3000, async () => (await hub.ok('GET', `/v1/tasks/${gone.id}`)).state === 'expired');
    const a = await hub.submit({ kind: 'test.job', delay_ms: 60000, unique: { key: 'u', mode: 'unfinished' } });
    const b = await hub.submit({ kind: 'test.job', delay_ms: 60000, unique: { key: 'u', mode: 'unfinished' } });
    equal([b.id, b.duplicate], [a.id, true], 'one task for one key');
    await hub.ok('POST', `/v1/tasks/${a.id}:cancel`, {});
    await hub.ok('POST', `/v1/tasks/${later.id}:cancel`, {});
  },
  async 'queues: pause holds work back, resume lets it go'() {
    equal((await hub.call('PUT', '/v1/queues/slow', {})).status, 201, 'made');
    await hub.ok('POST', '/v1/queues/slow:pause');
    const { id } = await hub.submit({ kind: 'test.job', queue: 'slow' });
    equal((await worker({ wait_ms: 200 })).leases, [], 'paused');
    equal((await hub.ok('GET', '/v1/queues/slow')).counts.ready, 1, 'counted');
    await hub.ok('POST', '/v1/queues/slow:resume');
    const { session, leases } = await worker({ wait_ms: 2000 });
    equal(leases.map((l) => l.task), [id], 'resumed');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete' }] });
    const queues = (await hub.ok('GET', '/v1/queues')).items;
    check(queues.some((q) => q.name === 'slow' && Math.abs(Date.parse(q.created_at) - Date.now()) < 60000), 'listed, made now');
    check(queues.some((q) => q.name === 'default' && !('created_at' in q)), 'default was always there');
  },
  async 'requirements: only a node that has them gets the task'() {
    const { id } = await hub.submit({ kind: 'test.fit', requires: { labels: ['zone=eu'], cpu: 2, memory_mib: 512 } }).catch(async () => {
      await hub.ok('PUT', '/v1/kinds/test.fit');
      return hub.submit({ kind: 'test.fit', requires: { labels: ['zone=eu'], cpu: 2, memory_mib: 512 } });
    });
    const wrong = await new FakeNode(hub.port, { name: 'us', kinds: ['test.fit'], labels: ['zone=us'] }).connect();
    await sleep(150);
    equal(wrong.leases.length, 0, 'the wrong zone');
    const right = await new FakeNode(hub.port, { name: 'eu', kinds: ['test.fit'], labels: ['zone=eu', 'x'] }).connect();
    const lease = await until('lease', 3000, () => right.leases[0]);
    right.complete(lease.token, 1, 0);
    equal((await hub.final(id)).state, 'succeeded', 'done');
    await wrong.close();
    await right.close();
  },
  async 'nodes: drain, quiet and cancel reach them'() {
    const node = await new FakeNode(hub.port, { name: 'told', kinds: ['test.told'], credit: 2 }).connect();
    const { id } = await hub.submit({ kind: 'test.told' });
    const lease = await until('lease', 3000, () => node.leases[0]);
    await hub.ok('POST', `/v1/tasks/${id}:cancel`, {});
    await until('cancel directive', 3000, () => node.directives.find((d) => d.do === 'cancel' && d.token === lease.token));
    await hub.ok('POST', '/v1/nodes/told:drain', {});
    await until('drain directive', 3000, () => node.directives.find((d) => d.do === 'drain'));
    const more = await hub.submit({ kind: 'test.told' });
    await sleep(200);
    equal(node.leases.length, 1, 'nothing new while draining');
    await hub.ok('POST', '/v1/nodes/told:undrain', {});
    const second = await until('lease after undrain', 3000, () => node.leases.find((l) => l.task === more.id));
    node.complete(second.token, 1, 0);
    await hub.final(more.id);
    equal((await hub.ok('GET', '/v1/nodes/told')).state, 'live', 'live');
    await node.close();
    await until('gone', 3000, async () => (await hub.ok('GET', '/v1/nodes/told')).state === 'gone');
  },
  async 'blobs: streamed up and down, by digest, ranges'() {
    const bytes = randomBytes(5 << 20);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const put = await hub.call('PUT', '/v1/blobs', bytes, { headers: { 'content-type': 'application/octet-stream' } });
    equal([put.status, put.json.blob, put.json.url, put.json.size], [201, `sha256:${digest}`, `/v1/blobs/${digest}`, bytes.length], 'PUT');
    equal((await hub.call('PUT', `/v1/blobs/${digest}`, bytes)).status, 200, 'again');
    const wrong = await hub.call('PUT', `/v1/blobs/${'0'.repeat(64)}`, 'x');
    equal([wrong.status, wrong.json.code], [422, 'digest-mismatch'], 'digest');
    const got = await hub.get(`/v1/blobs/${digest}`);
    check(got.bytes.equals(bytes), 'GET gives the same bytes');
    const part = await hub.get(`/v1/blobs/${digest}`, { headers: { range: 'bytes=1000-1999' } });
    equal(part.status, 206, 'range');
    check(part.bytes.equals(bytes.subarray(1000, 2000)), 'the right part');
    equal((await hub.get(`/v1/blobs/${digest}`, { headers: { range: 'bytes=99999999-' } })).status, 416, 'range outside');
    const head = await hub.call('HEAD', `/v1/blobs/${digest}`);
    equal([head.status, Number(head.headers['content-length'])], [200, bytes.length], 'HEAD');
  },
  async 'a long poll whose client goes away gives its lease back'() {
    await hub.ok('PUT', '/v1/kinds/test.leave');
    const { request: rawRequest } = await import('node:http');
    const req = rawRequest({ host: '127.0.0.1', port: hub.port, method: 'POST', path: '/v1/leases', headers: { 'content-type': 'application/json' } });
    req.on('error', () => {});
    req.end(JSON.stringify({ node: 'leaver', kinds: ['test.leave'], max: 1, wait_ms: 30000 }));
    await sleep(200);
    req.destroy();
    await sleep(200);
    const { id } = await hub.submit({ kind: 'test.leave' });
    const { session, leases } = await hub.ok('POST', '/v1/leases', { node: 'other', kinds: ['test.leave'], max: 1, wait_ms: 5000 });
    equal(leases.map((l) => l.task), [id], 'somebody else gets it');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete' }] });
  },
  async 'memory and history are one list; finished tasks leave memory'() {
    await hub.stop();
    hub.args = ['--set', 'finished_keep_ms=300'];
    await hub.start();
    const ids = [];
    for (let i = 0; i < 5; i++) {
      const results = (await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 60 }, (_, k) => ({ kind: 'test.job', input: { i, k } })))).results;
      ids.push(...results.map((r) => r.id));
    }
    let session, left = 200; // 100 of them stay unfinished
    while (left > 0) {
      const got = await hub.ok('POST', '/v1/leases', { node: 'w2', kinds: ['test.job'], max: Math.min(left, 100), wait_ms: 2000 });
      session = got.session;
      left -= got.leases.length;
      await hub.ok('POST', '/v1/leases:report', { session, outcomes: got.leases.map((l) => ({ token: l.token, outcome: 'complete', result: l.input })) });
    }
    const walk = async (query) => {
      const seen = [];
      let cursor = null;
      do {
        const page = await hub.ok('GET', `/v1/tasks?limit=37${query}${cursor ? `&cursor=${cursor}` : ''}`);
        seen.push(...page.items.map((t) => t.id));
        cursor = page.next_cursor;
      } while (cursor);
      return seen;
    };
    const expected = [...ids].reverse();
    for (let round = 0; round < 8; round++) { // while they move from memory to history
      const seen = (await walk('')).filter((id) => ids.includes(id));
      equal(seen, expected, 'newest first, none missing, none twice');
      await sleep(150);
    }
    await until('memory is given back', 10000, async () => {
      const stats = await hub.ok('GET', '/v1/stats');
      const c = stats.tasks?.counts ?? stats.counts;
      return c.succeeded === 0;
    });
    const done = (await walk('&state=succeeded')).filter((id) => ids.includes(id));
    equal(done.length, 200, 'succeeded ones from history');
    const task = await hub.ok('GET', `/v1/tasks/${done[0]}`);
    equal([task.state, task.result, task.attempts], ['succeeded', task.input, 1], 'a task from history');
    equal((await hub.ok('GET', `/v1/tasks/${done[0]}/attempts`)).items.map((a) => a.outcome), ['succeeded'], 'its attempts');
    await hub.crash();
    await hub.start();
    equal((await walk('')).filter((id) => ids.includes(id)), expected, 'the same after a crash');
  },
  async 'end'() { await hub.stop(); },
});
