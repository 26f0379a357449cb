#!/usr/bin/env node
// The hub–node protocol as a foreign implementation sees it: the npm `ws` client and the documented messages.
import { Hub, FakeNode, run, check, equal, until, sleep, SLOW } from './lib.mjs';

const hub = await new Hub().start();
await hub.ok('PUT', '/v1/kinds/test.job');

await run({
  async 'credit is never exceeded, and one report completes many'() {
    const node = await new FakeNode(hub.port, { name: 'credit', credit: 3 }).connect();
    const { results } = await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 10 }, (_, i) => ({ kind: 'test.job', input: i })));
    await until('three leases', 3000 * SLOW, () => node.leases.length === 3);
    await sleep(200);
    equal(node.leases.length, 3, 'no more than the credit');
    equal(node.leases.map((l) => l.input), [0, 1, 2], 'first in, first out');
    node.send({ type: 'credit', n: 2 });
    await until('five', 3000 * SLOW, () => node.leases.length === 5);
    node.report(node.leases.map((l) => ({ token: l.token, outcome: 'complete', result: l.input })), 5);
    await until('ten', 3000 * SLOW, () => node.leases.length === 10);
    equal((await until('reported', 3000, () => node.reported[0])).refused, [], 'all were accepted');
    node.report(node.leases.slice(5).map((l) => ({ token: l.token, outcome: 'complete', result: l.input })));
    for (const r of results) equal((await hub.final(r.id)).state, 'succeeded', 'done');
    await node.close();
  },
  async 'release, extend and a lease that ends'() {
    const node = await new FakeNode(hub.port, { name: 'lease', credit: 1 }).connect();
    const { id } = await hub.submit({ kind: 'test.job', lease_ms: 1000 });
    const first = await until('lease', 3000 * SLOW, () => node.leases[0]);
    for (let i = 0; i < 4; i++) {
      await sleep(500);
      node.report([{ token: first.token, outcome: 'extend' }]);
    }
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).attempts, 1, 'kept by extending');
    node.report([{ token: first.token, outcome: 'release', message: 'not now' }], 1);
    const second = await until('leased again at once', 3000 * SLOW, () => node.leases[1]);
    equal(second.attempt, 2, 'the second attempt');
    await until('its lease ends', 5000 * SLOW, () => node.directives.some((d) => d.do === 'cancel' && d.token === second.token));
    node.send({ type: 'credit', n: 1 });
    const third = await until('leased a third time', 5000 * SLOW, () => node.leases[2]);
    node.report([{ token: second.token, outcome: 'complete', result: 'late' }]);
    await until('refused', 3000 * SLOW, () => node.reported.some((r) => r.refused.some((x) => x.token === second.token && x.code === 'lease-lost')));
    node.complete(third.token, 'in time', 0);
    equal((await hub.final(id)).result, 'in time', 'only the live lease counts');
    await node.close();
  },
  async 'priorities, and fairness between keys'() {
    const keys = ['a', 'a', 'a', 'a', 'a', 'a', 'b', 'b', 'c'];
    const tasks = keys.map((key, i) => ({ kind: 'test.job', fairness_key: key, input: key }));
    await hub.ok('POST', '/v1/tasks:batch', [...tasks, { kind: 'test.job', priority: 9, input: 'first' }, { kind: 'test.job', priority: 0, input: 'last' }]);
    const order = [];
    const node = await new FakeNode(hub.port, { name: 'order', credit: 1, work: (l, me) => { order.push(l.input); me.complete(l.token, 1); } }).connect();
    await until('all done', 5000 * SLOW, () => order.length === 11);
    equal([order[0], order.at(-1)], ['first', 'last'], 'priorities');
    equal(order.slice(1, 4).sort(), ['a', 'b', 'c'], 'each key once before any twice');
    await node.close();
  },
  async 'leave gives work back at once'() {
    const node = await new FakeNode(hub.port, { name: 'leaver', credit: 1 }).connect();
    const { id } = await hub.submit({ kind: 'test.job' });
    await until('lease', 3000 * SLOW, () => node.leases[0]);
    node.send({ type: 'leave' });
    await until('ready again', 2000 * SLOW, async () => (await hub.ok('GET', `/v1/tasks/${id}`)).state === 'ready');
    await node.close();
    await hub.ok('POST', `/v1/tasks/${id}:cancel`, {});
  },
  async 'a thousand sessions, and all are gone afterwards'() {
    const nodes = [];
    for (let i = 0; i < 1000; i += 50) {
      nodes.push(...await Promise.all(Array.from({ length: 50 }, (_, k) => new FakeNode(hub.port, { name: `many-${i + k}`, credit: 1, kinds: ['test.many'] }).connect())));
    }
    const stats = await hub.ok('GET', '/v1/stats');
    check(JSON.stringify(stats).includes('1000') || (stats.sessions ?? stats.nodes?.sessions) >= 1000, 'a thousand live sessions');
    await Promise.all(nodes.map((n) => n.close()));
    await until('all gone', 10000 * SLOW, async () => {
      const s = await hub.ok('GET', '/v1/stats');
      return (s.sessions ?? s.nodes?.sessions) === 0;
    });
  },
  async 'end'() { await hub.stop(); },
});
