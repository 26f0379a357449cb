#!/usr/bin/env node
// Tables that fill up: one caller cannot fill them for everybody, what exists goes on, and what nobody needs makes room.
//
// Callers are addresses: 127.0.0.1 is the operator, 127.0.0.2 fills whatever it can, 127.0.0.3 is somebody else.
import http from 'node:http';
import { spawnSync } from 'node:child_process';
import { Hub, SHOAL, FakeNode, check, equal, request, run, until, SLOW } from './lib.mjs';

const hub = await new Hub({ args: ['--set', 'durability=none'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');

class Caller {
  constructor(address) {
    this.address = address;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 16, localAddress: address });
  }
  call(method, target, body) { return request({ port: hub.port, method, target, body, agent: this.agent }); }
  async ok(method, target, body) {
    const answer = await this.call(method, target, body);
    check(answer.status < 300, `${this.address} ${method} ${target}: ${answer.status} ${answer.text}`);
    return answer.json;
  }
}
const mallory = new Caller('127.0.0.2'), bob = new Caller('127.0.0.3');

const table = async (name) => {
  const { text } = await hub.get('/metrics');
  const value = (metric) => Number(text.match(new RegExp(`^shoal_${metric}\\{table="${name}"\\} (\\d+)$`, 'm'))[1]);
  return { used: value('table_used'), max: value('table_max') };
};
const kinds = async () => (await hub.ok('GET', '/v1/kinds?limit=1000')).items.map((k) => k.name);
// Asks for numbered things, 16 at a time, until one is refused; the refusal, and how many were made.
async function fill(one, max) {
  let next = 0, made = 0, refusal;
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (!refusal && next < max) {
      const answer = await one(next++);
      if (answer.status < 300) made++;
      else refusal = answer;
    }
  }));
  return { made, refusal };
}
// Delayed tasks, a thousand in a request, each with a piece of its own; the first item that was refused.
async function fillByTasks(caller, piece, count) {
  for (let at = 0; at < count; at += 1000) {
    const tasks = Array.from({ length: Math.min(1000, count - at) }, (_, i) => ({ kind: 'test.job', delay_ms: 86400000, ...piece(at + i) }));
    const { results } = await caller.ok('POST', '/v1/tasks:batch', { tasks });
    const refused = results.find((r) => r.error);
    if (refused) return refused.error;
  }
  return undefined;
}
async function othersGoOn(what) { // somebody else can do everything that matters
  const name = `bob-${what}-${Math.random().toString(36).slice(2)}`;
  await bob.ok('PUT', `/v1/queues/${name}`, {});
  const { id } = await bob.ok('POST', '/v1/tasks', { kind: 'test.job', queue: name });
  const { id: plain } = await bob.ok('POST', '/v1/tasks', { kind: 'code.run', input: { language: 'bash', source: 'true' }, delay_ms: 3600000 });
  const { session, leases } = await bob.ok('POST', '/v1/leases', { node: `worker-${name}`, kinds: ['test.job'], max: 1, wait_ms: 10000 });
  equal(leases.map((l) => l.task), [id], `${what}: another caller's task is leased by another caller's worker`);
  await bob.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete' }] });
  await bob.ok('POST', `/v1/tasks/${plain}:cancel`, {});
  await bob.ok('POST', '/v1/tasks', { kind: 'test.job', delay_ms: 86400000, requires: { labels: [`bob=${name}`] }, fairness_key: name, retry: { max: 7, base_ms: 77 } });
}
const refused = (answer, code, word) => {
  equal(answer.code, code, `${JSON.stringify(answer)}`);
  check(answer.detail.startsWith(word), `it names the table: ${answer.detail}`);
};

await run({
  async 'a poll that names kinds nobody knows stores nothing'() {
    const before = await kinds();
    const names = (await table('names')).used;
    const polls = Array.from({ length: 300 }, (_, i) => mallory.call('POST', '/v1/leases', { node: `poller-${i}`, kinds: Array.from({ length: 64 }, (_, k) => `made.up-${i}-${k}`) }));
    for (const answer of await Promise.all(polls)) {
      equal([answer.status, answer.json.code], [422, 'kind-unknown'], 'refused');
      check(answer.json.errors[0].detail.includes('/v1/kinds/made.up-'), 'and told what to do');
    }
    equal((await table('names')).used, names, 'no name is kept');
    const mixed = await hub.ok('POST', '/v1/leases', { node: 'mixed', kinds: ['made.up', 'test.job'] });
    equal(mixed.leases, [], 'one that is known is enough');
    equal((await hub.ok('GET', '/v1/nodes/mixed')).kinds, ['test.job'], 'and the only one that is kept');
    equal(await kinds(), before, 'no kind became known');
    equal((await table('names')).used, names + 1, 'only the name of the worker is new');
  },
  async 'a kind that becomes known is matched by the next poll'() {
    await hub.ok('PUT', '/v1/kinds/made.up');
    const { id } = await hub.submit({ kind: 'made.up' });
    const { session, leases } = await hub.ok('POST', '/v1/leases', { node: 'mixed', kinds: ['made.up', 'test.job'], wait_ms: 5000 });
    equal(leases.map((l) => l.task), [id], 'leased');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete' }] });
  },
  async 'queues'() {
    const { made, refusal } = await fill((i) => mallory.call('PUT', `/v1/queues/m-${i}`, {}), 10000);
    equal([made, refusal.status], [5000, 429], 'half of the table, and no more');
    refused(refusal.json, 'table-share', 'queues');
    check(refusal.json.detail.includes('DELETE /v1/queues/'), 'it says what to do');
    await mallory.ok('PUT', '/v1/queues/m-3', { paused: true });
    await mallory.ok('PUT', '/v1/queues/m-3', { paused: false });
    await othersGoOn('queues');
    equal((await mallory.call('DELETE', '/v1/queues/m-3')).status, 204, 'an empty queue is deleted');
    equal((await mallory.call('DELETE', '/v1/queues/m-3')).status, 404, 'once');
    await mallory.ok('PUT', '/v1/queues/m-again', {});
    equal((await mallory.call('DELETE', '/v1/queues/default')).status, 409, 'the default one stays');
    const { id } = await mallory.ok('POST', '/v1/tasks', { kind: 'test.job', queue: 'm-4', delay_ms: 60000 });
    equal((await mallory.call('DELETE', '/v1/queues/m-4')).status, 409, 'one with tasks stays too');
    await mallory.ok('POST', `/v1/tasks/${id}:cancel`, {});
  },
  async 'queues that were never used make room when they run short'() {
    const carol = new Caller('127.0.0.4');
    const { made, refusal } = await fill((i) => carol.call('PUT', `/v1/queues/c-${i}`, {}), 10000);
    equal([made > 3900, refusal.status, refusal.json.code], [true, 503, 'table-full'], 'what is for everybody is taken');
    await hub.ok('PUT', '/v1/queues/of-the-operator', {}); // the rest is not
    const ready = await hub.get('/readyz');
    check(ready.json.warnings.some((w) => w.table === 'queues') || (await table('queues')).used < 8000, JSON.stringify(ready.json));
    await until('room is made', 20000 * SLOW, async () => (await table('queues')).used <= 5200);
    await bob.ok('PUT', '/v1/queues/bob-new', {});
    for (const name of ['default', 'm-4', 'of-the-operator', 'bob-new']) await hub.ok('GET', `/v1/queues/${name}`);
  },
  async 'kinds'() {
    const { made, refusal } = await fill((i) => mallory.call('PUT', `/v1/kinds/m.kind-${i}`, {}), 10000);
    equal([made, refusal.status], [5000, 429], 'half of the table');
    refused(refusal.json, 'table-share', 'kinds');
    await othersGoOn('kinds');
    await bob.ok('PUT', '/v1/kinds/bob.kind', {});
    equal((await mallory.call('DELETE', '/v1/kinds/m.kind-3')).status, 204, 'an unused kind is deleted');
    equal((await mallory.call('DELETE', '/v1/kinds/m.kind-3')).status, 404, 'once');
    await mallory.ok('PUT', '/v1/kinds/m.kind-again', {}); // and gives its room back
    await mallory.ok('POST', '/v1/tasks', { kind: 'm.kind-5', delay_ms: 86400000 });
    equal((await mallory.call('DELETE', '/v1/kinds/m.kind-5')).status, 409, 'not one that a task has');
  },
  async 'sessions of workers, and of nodes'() {
    const { made, refusal } = await fill((i) => mallory.call('POST', '/v1/leases', { node: `m-worker-${i}`, kinds: ['test.job'] }), 33000);
    equal([made, refusal.status], [32750, 429], 'half of the table');
    refused(refusal.json, 'table-share', 'sessions');
    await othersGoOn('sessions');
    const node = await new FakeNode(hub.port, { name: 'real-node', kinds: ['test.node'] }).connect();
    check((await kinds()).includes('test.node') || (await table('kinds')).used > 1000, 'a node makes its kinds known');
    await hub.submit({ kind: 'test.node' });
    equal((await bob.call('DELETE', '/v1/nodes/real-node')).status, 409, 'a node that is connected stays');
    await node.close();
    await until('the node is gone', 10000 * SLOW, async () => (await hub.get('/v1/nodes/real-node')).json.state === 'gone');
    equal((await bob.call('DELETE', '/v1/nodes/real-node')).status, 204, 'one that is gone is forgotten');
    equal((await hub.get('/v1/nodes/real-node')).status, 404, 'wholly');
  },
  async 'label sets and retry policies of delayed tasks'() {
    refused(await fillByTasks(mallory, (i) => ({ requires: { labels: [`only=${i}`] } }), 4096), 'table-share', 'requirements');
    refused(await fillByTasks(mallory, (i) => ({ retry: { max: 3, base_ms: 1000 + i } }), 4096), 'table-share', 'retry_policies');
    await mallory.ok('POST', '/v1/tasks', { kind: 'code.run', delay_ms: 86400000 });
    await mallory.ok('POST', '/v1/tasks', { kind: 'test.job', delay_ms: 86400000, requires: { labels: ['only=3'] } });
    await othersGoOn('labels');
    // Whoever takes the rest of what is for everybody: plain tasks and what exists go on, and so does the operator.
    const carol = new Caller('127.0.0.4');
    refused(await fillByTasks(carol, (i) => ({ requires: { labels: [`carol=${i}`] } }), 4096), 'table-full', 'requirements');
    const ready = await hub.get('/readyz');
    equal([ready.status, ready.json.ready, ready.json.full], [200, true, true], 'it takes work, and is not simply ready');
    check(ready.json.warnings.some((w) => w.table === 'requirements' && w.full) && ready.json.reasons.some((r) => r.startsWith('requirements:')), JSON.stringify(ready.json));
    await bob.ok('POST', '/v1/tasks', { kind: 'code.run', delay_ms: 86400000 });
    await bob.ok('POST', '/v1/tasks', { kind: 'bob.kind', delay_ms: 86400000 });
    await bob.ok('POST', '/v1/tasks', { kind: 'test.job', delay_ms: 86400000, requires: { labels: ['only=3'] } });
    await hub.ok('POST', '/v1/tasks', { kind: 'test.job', delay_ms: 86400000, requires: { labels: ['operator=1'] } });
    equal((await bob.call('POST', '/v1/tasks', { kind: 'test.job', requires: { labels: ['bob=new'] } })).status, 503, 'nobody else');
  },
  async 'after a restart it is as before'() {
    await hub.stop();
    await hub.start();
    for (const caller of [mallory, bob]) caller.agent = new http.Agent({ keepAlive: true, maxSockets: 16, localAddress: caller.address });
    refused((await mallory.call('PUT', '/v1/kinds/m.new', {})).json, 'table-share', 'kinds');
    refused((await mallory.call('POST', '/v1/tasks', { kind: 'test.job', retry: { max: 9, base_ms: 9 } })).json, 'table-share', 'retry_policies');
    await bob.ok('PUT', '/v1/queues/bob-again', {});
    await bob.ok('POST', '/v1/tasks', { kind: 'code.run', delay_ms: 86400000 });
    await bob.ok('POST', '/v1/leases', { node: 'bob-worker-again', kinds: ['test.job'] });
    await hub.ok('GET', '/v1/queues/m-4');
  },
  async 'the command line forgets too'() {
    const shoal = (...args) => spawnSync(SHOAL, [...args, '--hub', hub.url], { encoding: 'utf8' });
    equal(shoal('queues', 'add', 'of-the-cli').status, 0, 'a queue is added');
    equal(shoal('queues', 'rm', 'of-the-cli').stdout, 'of-the-cli is forgotten.\n', 'and forgotten');
    equal(shoal('kinds', 'add', 'operator.kind').status, 0, 'a kind is added');
    check(shoal('kinds').stdout.split('\n').includes('operator.kind'), 'and listed, behind thousands of others');
    equal(shoal('kinds', 'rm', 'operator.kind').stdout, 'operator.kind is forgotten.\n', 'and forgotten');
    const none = shoal('nodes', 'rm', 'no-such-node');
    check(none.status !== 0 && none.stderr.includes('no-such-node'), none.stderr);
  },
});
