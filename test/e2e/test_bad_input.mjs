#!/usr/bin/env node
// Bad input never costs anything: a clear 4xx as problem+json that names the field and the limit, the state unchanged,
// and the connection kept wherever HTTP does not require its end.
import { Hub, run, check, equal, raw, request, sleep, SLOW } from './lib.mjs';
import http from 'node:http';
import net from 'node:net';

const hub = await new Hub({ args: ['--set', 'finished_keep_ms=600000'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');
const seed = await hub.submit({ kind: 'test.job', input: 1 });
await hub.ok('POST', `/v1/tasks/${seed.id}:cancel`, {});

async function state() {
  const s = await hub.ok('GET', '/v1/stats');
  const c = s.tasks?.counts ?? s.counts;
  return JSON.stringify([c, (await hub.ok('GET', '/v1/queues')).items.length, (await hub.ok('GET', '/v1/kinds')).items.length]);
}
function problem(answer, status, code, what) {
  equal(answer.status, status, `${what}: status (${answer.text.slice(0, 300)})`);
  check(/^application\/problem\+json/.test(answer.headers['content-type']), `${what}: problem+json`);
  const p = answer.json;
  check(p && p.status === status && typeof p.title === 'string' && typeof p.retryable === 'boolean', `${what}: members of ${answer.text}`);
  equal(p.code, code, `${what}: code`);
  if (status === 429 || status === 503) check(answer.headers['retry-after'], `${what}: Retry-After`);
  return p;
}
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const one = (method, target, body, headers = {}) => request({ port: hub.port, method, target, body, headers, agent });
const pointers = (p) => (p.errors ?? []).map((e) => e.pointer);

await run({
  async 'bad JSON: 400 with the offset, on one kept connection'() {
    const before = await state();
    for (const [text, offset] of [['{"kind":"test.job",}', 19], ['', 0], ['{"kind": tru}', 12], ['{"a":1} x', 8], ['nonsense', 1],
      ['{"kind":"\u0001"}', 9]]) {
      const p = problem(await one('POST', '/v1/tasks', text, { 'content-type': 'application/json' }), 400, 'bad-json', JSON.stringify(text));
      check(Math.abs(p.offset - offset) <= 2, `offset of ${JSON.stringify(text)}: ${p.offset}, about ${offset}`);
    }
    equal(await state(), before, 'the state');
  },
  async 'wrong and unknown fields: 422 with JSON pointers'() {
    const before = await state();
    const cases = [
      [{ kind: 'test.job', prio: 1 }, 'unknown-field', '/prio'],
      [{ kind: 7 }, 'invalid', '/kind'], [{}, 'invalid', '/kind'], [{ kind: '' }, 'invalid', '/kind'],
      [{ kind: 'x'.repeat(500) }, 'invalid', '/kind'],
      [{ kind: 'test.job', priority: 10 }, 'invalid', '/priority'], [{ kind: 'test.job', priority: -1 }, 'invalid', '/priority'],
      [{ kind: 'test.job', priority: 1.5 }, 'invalid', '/priority'], [{ kind: 'test.job', priority: '5' }, 'invalid', '/priority'],
      [{ kind: 'test.job', weight: 0 }, 'invalid', '/weight'], [{ kind: 'test.job', ttl_ms: -1 }, 'invalid', '/ttl_ms'],
      [{ kind: 'test.job', delay_ms: 1e18 }, 'invalid', '/delay_ms'], [{ kind: 'test.job', run_at: 'tomorrow' }, 'invalid', '/run_at'],
      [{ kind: 'test.job', retry: { max: 0 } }, 'invalid', '/retry/max'], [{ kind: 'test.job', retry: { max: 1, wat: 1 } }, 'unknown-field', '/retry/wat'],
      [{ kind: 'test.job', retry: { factor: 'x' } }, 'invalid', '/retry/factor'],
      [{ kind: 'test.job', unique: { key: 'a', mode: 'sometimes' } }, 'invalid', '/unique/mode'],
      [{ kind: 'test.job', requires: { labels: ['ok', 5] } }, 'invalid', '/requires/labels/1'],
      [{ kind: 'test.job', lease_ms: 1 }, 'invalid', '/lease_ms'],
    ];
    for (const [body, code, pointer] of cases) {
      const p = problem(await one('POST', '/v1/tasks', body), 422, code, JSON.stringify(body).slice(0, 80));
      check(pointers(p).includes(pointer), `${JSON.stringify(body).slice(0, 80)} points at ${pointer}: ${JSON.stringify(p)}`);
    }
    problem(await one('POST', '/v1/tasks', [1, 2]), 422, 'invalid', 'an array');
    equal(await state(), before, 'the state');
  },
  async 'unknown kind and queue, transitions, leases, ids'() {
    const before = await state();
    check(pointers(problem(await one('POST', '/v1/tasks', { kind: 'no.such' }), 422, 'kind-unknown', 'kind')).includes('/kind'), 'pointer');
    check(pointers(problem(await one('POST', '/v1/tasks', { kind: 'test.job', queue: 'nope' }), 422, 'queue-unknown', 'queue')).includes('/queue'), 'pointer');
    problem(await one('POST', `/v1/tasks/${seed.id}:cancel`, {}), 409, 'illegal-transition', 'cancel of a cancelled task');
    problem(await one('GET', `/v1/tasks/${seed.id}/result`), 409, 'illegal-transition', 'result of a cancelled task');
    for (const id of ['0000000000000', '7zzzzzzzzzzzz', 'abc', '%00', '../x', 'x'.repeat(4000)]) {
      problem(await one('GET', `/v1/tasks/${id}`), 404, 'not-found', `task ${id.slice(0, 20)}`);
    }
    problem(await one('GET', '/v1/queues/nope'), 404, 'not-found', 'queue');
    problem(await one('POST', '/v1/queues/nope:pause', {}), 404, 'not-found', 'pause');
    problem(await one('GET', '/v1/nodes/nope'), 404, 'not-found', 'node');
    problem(await one('POST', '/v1/nodes/nope:drain', {}), 404, 'not-found', 'drain');
    problem(await one('GET', '/v1/nothing'), 404, 'not-found', 'path');
    problem(await one('GET', '/v1/tasks?cursor=%%%'), 400, 'bad-request', 'cursor');
    problem(await one('GET', '/v1/tasks?limit=0'), 400, 'bad-request', 'limit');
    problem(await one('GET', '/v1/tasks?state=busy'), 400, 'bad-request', 'state');
    problem(await one('GET', '/v1/blobs/zz'), 404, 'not-found', 'blob');
    const refused = await one('DELETE', '/v1/tasks');
    problem(refused, 405, 'method-not-allowed', 'method');
    check(/POST/.test(refused.headers.allow), 'Allow');
    problem(await one('POST', '/v1/tasks', 'kind=x', { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'media-type', 'form');
    equal(await state(), before, 'the state');
  },
  async 'stale leases over plain HTTP: 409 lease-lost'() {
    const { id } = await hub.submit({ kind: 'test.job', input: 2 });
    const { session, leases } = await hub.ok('POST', '/v1/leases', { node: 'w', kinds: ['test.job'], max: 1, wait_ms: 2000 });
    equal(leases.map((l) => l.task), [id], 'the lease');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete', result: 1 }] });
    problem(await one('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete', result: 2 }] }), 409, 'lease-lost', 'again');
    problem(await one('POST', '/v1/leases:report', { session: 'zzzzzzzzzzzzz', outcomes: [{ token: leases[0].token, outcome: 'complete' }] }), 422, 'invalid', 'session text')
    problem(await one('POST', '/v1/leases:report', { session, outcomes: [{ token: 'x', outcome: 'complete' }] }), 422, 'invalid', 'token text');
    problem(await one('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'explode' }] }), 422, 'invalid', 'outcome');
    equal((await hub.ok('GET', `/v1/tasks/${id}/result`)), 1, 'the first result stands');
  },
  async 'idempotency keys: the same answer, or 422'() {
    const headers = { 'idempotency-key': 'k1' };
    const a = await hub.ok('POST', '/v1/tasks', { kind: 'test.job', input: 5 }, { headers });
    const b = await hub.ok('POST', '/v1/tasks', { kind: 'test.job', input: 5 }, { headers });
    equal(a.id, b.id, 'the same task');
    problem(await one('POST', '/v1/tasks', { kind: 'test.job', input: 6 }, headers), 422, 'idempotency-mismatch', 'another body');
    await hub.ok('POST', `/v1/tasks/${a.id}:cancel`, {});
  },
  async 'batches: one bad item does not refuse the others'() {
    const answer = await hub.ok('POST', '/v1/tasks:batch', [{ kind: 'test.job' }, { kind: 'test.job', priority: 99 }, { kind: 'no.such' }, 5]);
    equal([answer.accepted, answer.refused], [1, 3], 'counts');
    equal(answer.results.map((r) => r.error?.code ?? 'ok'), ['ok', 'invalid', 'kind-unknown', 'invalid'], 'codes');
    await hub.ok('POST', `/v1/tasks/${answer.results[0].id}:cancel`, {});
    const lines = await hub.call('POST', '/v1/tasks:batch', '{"kind":"test.job"}\n{bad\n\n{"kind":"test.job"}\n', { headers: { 'content-type': 'application/x-ndjson' } });
    equal(lines.status, 200, 'ndjson');
    const results = lines.text.trim().split('\n').map((l) => JSON.parse(l));
    equal(results.map((r) => r.error?.code ?? 'ok'), ['ok', 'bad-json', 'ok'], 'a result per line');
    for (const r of results) if (r.id) await hub.ok('POST', `/v1/tasks/${r.id}:cancel`, {});
    problem(await one('POST', '/v1/tasks:batch', Array.from({ length: 1001 }, () => ({ kind: 'test.job' }))), 413, 'too-large', '1001 tasks');
  },
  async 'sizes: 413, 414 and 431 name the limit'() {
    const before = await state();
    const big = problem(await one('POST', '/v1/tasks', { kind: 'test.job', input: 'x'.repeat(70000) }), 413, 'too-large', 'input');
    check(/65536/.test(JSON.stringify(big)), `the limit is named: ${JSON.stringify(big)}`);
    const huge = await one('POST', '/v1/tasks', Buffer.alloc(9 << 20, 32), { 'content-type': 'application/json' }).catch((e) => e);
    check(huge.status === 413 && /8388608/.test(huge.text), `a huge body: ${huge.status ?? huge}`);
    check(/^HTTP\/1\.1 414/.test(await raw(hub.port, `GET /${'x'.repeat(9000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)), '414');
    check(/^HTTP\/1\.1 431/.test(await raw(hub.port, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(40000)}\r\n\r\n`)), '431');
    check(/^HTTP\/1\.1 431/.test(await raw(hub.port, `GET / HTTP/1.1\r\nHost: localhost\r\n${'X: y\r\n'.repeat(200)}\r\n`)), '431 by count');
    equal(await state(), before, 'the state');
  },
  async 'malformed HTTP and smuggling: 400 as problem+json'() {
    const before = await state();
    const body = '{"kind":"test.job"}';
    for (const text of ['GARBAGE\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'GET /\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      `POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
      `POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n${body}`,
      `POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n`,
      `POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      'GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 'GET / HTTP/1.1\r\n\x00: a\r\n\r\n']) {
      const answer = await raw(hub.port, text);
      check(/^HTTP\/1\.1 (400|501|505) /.test(answer), `${JSON.stringify(text.slice(0, 60))} → ${answer.slice(0, 80)}`);
      check(/application\/problem\+json/.test(answer), `${JSON.stringify(text.slice(0, 60))}: problem+json`);
    }
    equal(await state(), before, 'the state');
  },
  async 'what HTTP forbids is refused and what it allows is read, whole and in pieces'() {
    const before = await state();
    const host = `Host: 127.0.0.1:${hub.port}`;
    const get = (line, fields = host) => `${line}\r\n${fields}\r\nConnection: close\r\n\r\n`;
    const post = (fields, body) => `POST /v1/tasks HTTP/1.1\r\n${host}\r\nContent-Type: application/json\r\nConnection: close\r\n${fields}\r\n\r\n${body}`;
    const body = '{"kind":"no.such"}'; // 422: the body was read
    const size = body.length.toString(16);
    const upgrade = (version) => get(`GET /v1/work HTTP/${version}`, `${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: shoal.work.v1`);
    const shapes = [
      ['a blank in Host', get('GET /healthz HTTP/1.1', 'Host: a b'), 400], ['a user in Host', get('GET /healthz HTTP/1.1', 'Host: u@localhost'), 400],
      ['a blank in Host, HTTP/1.0', get('GET /healthz HTTP/1.0', 'Host: a b'), 400],
      ['two blanks', get('GET  /healthz HTTP/1.1'), 400], ['two blanks, later', get('GET /healthz  HTTP/1.1'), 400],
      ['a fragment', get('GET /healthz#x HTTP/1.1'), 400], ['no version', 'GET /healthz\r\n', 400],
      ['a star', get('GET * HTTP/1.1'), 400], ['OPTIONS *', get('OPTIONS * HTTP/1.1'), 204],
      ['HTTP/1.2', get('GET /healthz HTTP/1.2'), 200], ['HTTP/2.0', get('GET /healthz HTTP/2.0'), 505],
      ['absolute-form', get(`GET http://localhost:${hub.port}/healthz HTTP/1.1`), 200],
      ['a user in absolute-form', get('GET http://u@localhost/healthz HTTP/1.1'), 400],
      ['a tab behind a length', post(`Content-Length:\t${body.length}\t`, body), 422],
      ['a tab in a length', post(`Content-Length: 1\t${body.length}`, body), 400],
      ['a tab behind chunked', post('Transfer-Encoding: chunked\t', `${size}\r\n${body}\r\n0\r\n\r\n`), 422],
      ['two extensions', post('Transfer-Encoding: chunked', `${size};a=b;c="d"\r\n${body}\r\n0;a=b;c=d\r\n\r\n`), 422],
      ['a bare line feed behind two', post('Transfer-Encoding: chunked', `${size};a=b;c=d\n${body}\r\n0\r\n\r\n`), 400],
      ['a WebSocket over HTTP/1.0', upgrade('1.0'), 400], ['a WebSocket', upgrade('1.1'), 101],
    ];
    await Promise.all(shapes.flatMap(([what, text, status]) => [text.length, 7].map(async (step) => {
      const socket = net.connect({ port: hub.port, host: '127.0.0.1', noDelay: true });
      let answer = '';
      socket.on('error', () => {}); // it may end before all was sent
      socket.on('data', (d) => { answer += d; if (status === 101) socket.destroy(); });
      const closed = new Promise((resolve) => socket.on('close', resolve));
      for (let at = 0; at < text.length && !socket.destroyed; at += step) {
        socket.write(text.slice(at, at + step));
        if (step < text.length) await sleep(1);
      }
      await Promise.race([closed, sleep(30000 * SLOW)]);
      socket.destroy();
      equal(Number(/^HTTP\/1\.1 (\d+) /.exec(answer)?.[1]), status, `${what}, in pieces of ${step}: ${answer.slice(0, 400)}`);
      if (status >= 400) check(/application\/problem\+json/.test(answer), `${what}: problem+json`);
    })));
    equal(await state(), before, 'the state');
  },
  async 'random bytes for a while: the hub stays'() {
    let seed = 12345;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2 ** 31);
    for (let i = 0; i < 150; i++) {
      const prefix = ['', 'POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n', 'GET /v1/work HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: shoal.work.v1\r\n\r\n'][i % 3];
      await raw(hub.port, Buffer.concat([Buffer.from(prefix), Buffer.from(Array.from({ length: 200 }, () => (random() >> 8) & 255))]), { ms: 100, half: true });
    }
    equal((await hub.get('/healthz')).status, 200, 'alive');
  },
  async 'pipelining keeps the order; a half-closed client is answered'() {
    const text = await raw(hub.port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nope HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', { half: true });
    equal([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1]), ['200', '404', '200'], 'three answers');
  },
  async 'a WebSocket that says nonsense'() {
    const { WebSocket } = await import('ws');
    for (const text of ['{', '[]', '{"type":"nope"}', '{"type":"hello"}', '{"type":"report","outcomes":[]}', '{"type":"hello","node":7}']) {
      const ws = new WebSocket(`ws://127.0.0.1:${hub.port}/v1/work`, 'shoal.work.v1');
      const said = await new Promise((resolve, reject) => {
        ws.on('open', () => ws.send(text));
        ws.on('message', (d) => { resolve(JSON.parse(d)); ws.terminate(); });
        ws.on('close', () => resolve(null));
        ws.on('error', reject);
      });
      check(said?.type === 'error' && said.code, `${text}: ${JSON.stringify(said)}`);
    }
  },
  async 'slow and half-open clients are timed out, others are served meanwhile'() {
    const socket = net.connect(hub.port, '127.0.0.1');
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (d) => { text += d; });
    socket.write('POST /v1/tasks HTTP/1.1\r\nHo');
    const closed = new Promise((resolve) => socket.on('close', resolve));
    const began = Date.now();
    while (Date.now() - began < 500) equal((await hub.get('/healthz')).status, 200, 'served');
    await Promise.race([closed, sleep(20000 * SLOW).then(() => { throw new Error('the slow client is still there'); })]);
    check(/^HTTP\/1\.1 408/.test(text), `408: ${text.slice(0, 60)}`);
  },
  async 'end'() { await hub.stop(); },
});
