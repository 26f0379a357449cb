#!/usr/bin/env node
// Workers over plain HTTP: who waits for whom, what a lost caller leaves behind, and what outlives a crash of the hub.
import { Hub, run, check, equal, until, sleep, SLOW } from './lib.mjs';
import http from 'node:http';

const hub = await new Hub().start();
await hub.ok('PUT', '/v1/kinds/test.job');
const poll = (node, extra = {}) => hub.call('POST', '/v1/leases', { node, kinds: ['test.job'], max: 1, wait_ms: 0, ...extra });
const report = (session, outcomes, extra = {}) => hub.call('POST', '/v1/leases:report', { session, outcomes, ...extra });
const complete = (lease) => ({ token: lease.token, outcome: 'complete', result: lease.input });
const submit = (count, extra = {}) => hub.ok('POST', '/v1/tasks:batch', Array.from({ length: count }, (_, i) => ({ kind: 'test.job', input: i, ...extra })));
const ready = async () => (await hub.ok('GET', '/v1/queues/default')).counts.ready;
const node = (name) => hub.ok('GET', `/v1/nodes/${name}`);

function abandoned(body, path = '/v1/leases') { // a call whose client can be cut off
  const req = http.request({ host: '127.0.0.1', port: hub.port, method: 'POST', path, headers: { 'content-type': 'application/json' } });
  req.on('error', () => {});
  req.end(JSON.stringify(body));
  return req;
}

await run({
  async 'a poll waits for the first lease and takes no credit with it'() {
    const began = Date.now();
    const waiting = poll('a', { max: 5, wait_ms: 10000 });
    await sleep(100);
    equal((await node('a')).credit, 5, 'credit while it waits');
    await submit(2);
    const { session, leases } = (await waiting).json;
    check(leases.length >= 1 && Date.now() - began < 5000 * SLOW, 'answered at once');
    equal((await node('a')).credit, 0, 'no credit afterwards');
    const rest = (await poll('a', { max: 5 })).json.leases;
    equal(leases.length + rest.length, 2, 'both were leased once');
    equal((await report(session, [...leases, ...rest].map(complete))).json.results.map((r) => r.ok), [true, true], 'done');
  },
  async 'the time is over: an empty list, no credit left'() {
    const began = Date.now();
    const answer = await poll('a', { wait_ms: 300 });
    equal([answer.status, answer.json.leases], [200, []], 'nothing');
    check(Date.now() - began >= 295, `waited ${Date.now() - began} ms`);
    equal((await node('a')).credit, 0, 'credit');
    await submit(1);
    await sleep(100);
    equal(await ready(), 1, 'nobody got it');
    const { session, leases } = (await poll('a')).json;
    await report(session, leases.map(complete));
  },
  async 'polls of one name are served one after the other; reports are not held up'() {
    await submit(1);
    const { session, leases } = (await poll('b')).json;
    const first = poll('b', { wait_ms: 8000 });
    await sleep(50);
    const second = poll('b', { wait_ms: 8000 });
    const third = poll('b', { wait_ms: 200 });
    const began = Date.now();
    const done = await report(session, leases.map(complete));
    check(done.json.results[0].ok && Date.now() - began < 1000 * SLOW, 'the report is answered at once');
    equal((await third).json.leases, [], 'the third gives up in line');
    await submit(2);
    const got = [(await first).json, (await second).json];
    equal(got.map((g) => g.leases.length), [1, 1], 'one each');
    check(got[0].leases[0].token !== got[1].leases[0].token, 'not the same one');
    await report(session, got.flatMap((g) => g.leases.map(complete)));
  },
  async 'report N, get N more'() {
    await submit(30);
    let { session, leases } = (await poll('c', { max: 10 })).json;
    let done = 0;
    while (leases.length > 0) {
      const answer = (await report(session, leases.map(complete), { max: 10 })).json;
      equal(answer.results.filter((r) => r.ok).length, leases.length, 'all taken');
      done += leases.length;
      leases = answer.leases;
    }
    equal([done, (await node('c')).leases, (await node('c')).credit], [30, 0, 0], 'thirty, nothing held, no credit');
  },
  async 'a mixed report tells each outcome; a single refused one is the answer, and takes no lease with it'() {
    await submit(3);
    const { session, leases } = (await poll('d', { max: 2 })).json;
    await report(session, [complete(leases[0])]);
    const mixed = (await report(session, leases.map(complete))).json;
    equal(mixed.results.map((r) => [r.ok, r.error?.code]), [[false, 'lease-lost'], [true, null]].map(([a, b]) => [a, b ?? undefined]), 'each');
    const refused = await report(session, [complete(leases[0])], { max: 1, wait_ms: 1000 });
    equal([refused.status, refused.json.code], [409, 'lease-lost'], 'refused');
    await until('the third task is ready again', 3000 * SLOW, async () => (await ready()) === 1 && (await node('d')).leases === 0);
    const last = (await poll('d')).json;
    await report(session, last.leases.map(complete));
  },
  async 'callers that hang up at any moment leave no lease and no credit behind'() {
    const calls = [];
    for (let i = 0; i < 60; i++) {
      const call = abandoned({ node: `gone-${i % 5}`, kinds: ['test.job'], max: 3, wait_ms: 20000 });
      calls.push(call);
      setTimeout(() => call.destroy(), (i * 7) % 60);
      if (i % 6 === 0) await submit(2, { lease_ms: 1000 }); // an answer on its way to one who has just left is lost: that lease ends by time
    }
    await until('all work is ready again', 10000 * SLOW, async () => (await ready()) === 20);
    for (let i = 0; i < 5; i++) {
      const view = await node(`gone-${i}`);
      equal([view.credit, view.leases], [0, 0], view.name);
    }
    const { session, leases } = (await poll('e', { max: 100 })).json;
    equal(leases.length, 20, 'all of it is there for another');
    await report(session, leases.map(complete));
    equal((await hub.ok('GET', '/v1/stats')).nodes.polls, 0, 'no poll is left');
  },
  async 'wrong bodies change nothing'() {
    const before = (await hub.ok('GET', '/v1/nodes')).items.length;
    for (const [body, pointer] of [[{}, '/node'], [{ node: 'x', kinds: [] }, '/kinds'], [{ node: 'x', kinds: ['a b'] }, '/kinds/0'],
      [{ node: 'x y', kinds: ['k'] }, '/node'], [{ node: 'x', kinds: ['k'], max: 0 }, '/max'], [{ node: 'x', kinds: ['k'], wat: 1 }, '/wat']]) {
      const answer = await hub.call('POST', '/v1/leases', body);
      equal(answer.status, 422, JSON.stringify(body));
      check(answer.json.errors.some((e) => e.pointer === pointer), `${JSON.stringify(answer.json)} has ${pointer}`);
    }
    equal((await report('0000000000000', [])).json.code, 'session-lost', 'no such session');
    equal((await hub.ok('GET', '/v1/nodes')).items.length, before, 'no node more');
  },
  async 'a worker and its leases outlive a crash of the hub; leftover credit does not'() {
    await submit(1);
    const { session, leases } = (await poll('f')).json;
    const cut = abandoned({ node: 'g', kinds: ['test.job'], max: 4, wait_ms: 30000 });
    await until('g waits', 3000 * SLOW, async () => (await hub.get('/v1/nodes/g')).json.credit === 4);
    await hub.crash();
    cut.destroy();
    await hub.start();
    await until('the credit of g is taken back', 3000 * SLOW, async () => (await node('g')).credit === 0);
    await submit(1);
    await sleep(50);
    equal(await ready(), 1, 'it is not given to a caller of before the crash');
    equal((await report(session, leases.map(complete))).json.results[0].ok, true, 'the old session goes on');
    const again = (await poll('f')).json;
    equal([again.session, again.leases.length], [session, 1], 'and is the same');
    await report(session, again.leases.map(complete));
  },
  async 'a stop answers those who wait'() {
    const waiting = [poll('h', { wait_ms: 30000 }), poll('h', { wait_ms: 30000 }), hub.post('/v1/tasks?wait_ms=30000', { kind: 'test.job' })];
    await sleep(200);
    await hub.stop();
    for (const answer of await Promise.all(waiting)) check([200, 201, 503].includes(answer.status), `answered ${answer.status}`);
  },
});
