#!/usr/bin/env node
// A node dies, freezes or is cut off: its work is leased again within 3 s, and a late report is refused.
import { Hub, FakeNode, Process, nodeReady, run, check, equal, sleep, until, SLOW, TMP } from './lib.mjs';
import { Proxy } from './proxy.mjs';
import path from 'node:path';

const LEASED_AGAIN_MS = 3000;

const hub = await new Hub().start();
await hub.ok('PUT', '/v1/kinds/test.job');

async function leasedTo(name) {
  const node = await new FakeNode(hub.port, { name }).connect();
  return node;
}
async function submitTo(node) {
  const { id } = await hub.submit({ kind: 'test.job', input: 1, lease_ms: 60000 });
  const lease = await until('a lease', 3000 * SLOW, () => node.leases.find((l) => l.task === id));
  return { id, lease };
}
// The second node gets the task of the first within the bound; returns its lease.
async function leasedAgain(id, from, spare) {
  const began = Date.now();
  const lease = await until('leased again', 10000 * SLOW, () => spare.leases.find((l) => l.task === id));
  const took = Date.now() - began;
  console.log(`     leased again after ${took} ms`);
  check(took <= LEASED_AGAIN_MS * SLOW, `leased again within ${LEASED_AGAIN_MS} ms, took ${took}`);
  equal(lease.attempt, from.attempt + 1, 'it is the next attempt');
  check(lease.token !== from.token, 'the token is new');
  return lease;
}
async function lateReportIsRefused(late, spare, id, lease) {
  // by another session of the same node, and over plain HTTP with a made-up session
  const back = await new FakeNode(hub.port, { name: late.name, instance: late.instance, credit: 0, held: [late.leases.at(-1).token] }).connect();
  equal(back.welcome.lost, [late.leases.at(-1).token], 'the welcome names the lost lease');
  back.report([{ token: late.leases.at(-1).token, outcome: 'complete', result: 'late' }]);
  const answer = await until('an answer to the late report', 3000 * SLOW, () => back.reported[0]);
  equal(answer.refused.map((r) => r.code), ['lease-lost'], 'the late report is refused');
  equal((await hub.ok('GET', `/v1/tasks/${id}`)).state, 'leased', 'and changed nothing');
  spare.complete(lease.token, 'in time', 0);
  const task = await hub.final(id);
  equal([task.state, task.result], ['succeeded', 'in time'], 'the second attempt counts');
  const attempts = (await hub.ok('GET', `/v1/tasks/${id}/attempts`)).items;
  equal(attempts.map((a) => a.outcome), ['lost', 'succeeded'], 'attempts');
  await back.close();
}

await run({
  async 'a node whose process is gone (closed connection)'() {
    const dead = await leasedTo('dead');
    const { id, lease } = await submitTo(dead);
    const spare = await leasedTo('spare-1');
    dead.cut();
    const again = await leasedAgain(id, lease, spare);
    await lateReportIsRefused(dead, spare, id, again);
    await spare.close();
  },
  async 'a frozen node (connection open, no heartbeat)'() {
    const frozen = await leasedTo('frozen');
    const { id, lease } = await submitTo(frozen);
    const spare = await leasedTo('spare-2');
    frozen.stopBeating();
    await until('suspect', 2600 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/frozen')).state === 'suspect');
    const again = await leasedAgain(id, lease, spare);
    await frozen.closed;
    equal((await hub.ok('GET', '/v1/nodes/frozen')).state, 'gone', 'the node is gone');
    await lateReportIsRefused(frozen, spare, id, again);
    await spare.close();
  },
  async 'a cut connection, and one that swallows everything'() {
    for (const how of ['cut', 'mute']) {
      const proxy = await new Proxy(hub.port).start();
      const far = await new FakeNode(proxy.port, { name: `far-${how}` }).connect();
      const { id, lease } = await submitTo(far);
      const spare = await leasedTo(`spare-${how}`);
      if (how === 'cut') proxy.cut(); else proxy.swallow('both');
      far.stopBeating();
      const again = await leasedAgain(id, lease, spare);
      await lateReportIsRefused(far, spare, id, again);
      await spare.close();
      proxy.close();
    }
  },
  async 'a node that comes back in time keeps its leases'() {
    const node = await leasedTo('brief');
    const { id, lease } = await submitTo(node);
    node.cut();
    const back = await new FakeNode(hub.port, { name: 'brief', instance: node.instance, credit: 0, held: [lease.token] }).connect();
    equal(back.welcome.lost ?? [], [], 'nothing is lost');
    await sleep(1000);
    back.complete(lease.token, 'kept', 0);
    const task = await hub.final(id);
    equal([task.state, task.attempts], ['succeeded', 1], 'one attempt');
    await back.close();
  },
  async 'another process takes over the name of one that is silent'() {
    const old = await leasedTo('twin');
    const { id, lease } = await submitTo(old);
    old.stopBeating();
    await until('suspect', 2600 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/twin')).state !== 'live');
    const young = await new FakeNode(hub.port, { name: 'twin' }).connect();
    await old.closed;
    const again = await leasedAgain(id, lease, young);
    young.complete(again.token, 'ok', 0);
    equal((await hub.final(id)).attempts, 2, 'two attempts');
    await young.close();
  },
  async 'the real node: kill -9 and SIGSTOP in the middle of code.run'() {
    const start = async (name) => {
      const node = new Process(['node', '--hub', hub.url, '--name', name, '--slots', '2', '--data', path.join(TMP, name)], { name });
      await nodeReady(node);
      return node;
    };
    for (const how of ['SIGKILL', 'SIGSTOP']) {
      const first = await start(`real-${how}-a`);
      const second = await start(`real-${how}-b`); // before the work begins: its start may take longer than the work
      await hub.ok('POST', `/v1/nodes/real-${how}-b:drain`, {});
      const { id } = await hub.submit({ kind: 'code.run', input: { lang: 'python', files: [{ path: 'main.py',
        text: 'import time\nfor i in range(40):\n    time.sleep(0.1)\nprint("done")\n' }], limits: { wall_ms: 30000 } } });
      await until('leased', 10000 * SLOW, async () => (await hub.ok('GET', `/v1/tasks/${id}`)).state === 'leased');
      await hub.ok('POST', `/v1/nodes/real-${how}-b:undrain`, {});
      const began = Date.now();
      first.kill(how);
      await until('leased again', 10000 * SLOW, async () => {
        const task = await hub.ok('GET', `/v1/tasks/${id}`);
        return task.attempts === 2 && task.lease?.node === `real-${how}-b`;
      });
      const took = Date.now() - began;
      console.log(`     ${how}: leased again after ${took} ms`);
      check(took <= LEASED_AGAIN_MS * SLOW, `within ${LEASED_AGAIN_MS} ms`);
      if (how === 'SIGSTOP') first.kill('SIGCONT'); // wakes up late; whatever it reports must change nothing
      const task = await hub.final(id, 60000);
      equal([task.state, task.result.verdict, task.result.stdout], ['succeeded', 'OK', 'done\n'], 'it ends well');
      equal((await hub.ok('GET', `/v1/tasks/${id}/attempts`)).items.map((a) => a.outcome), ['lost', 'succeeded'], 'attempts');
      first.kill('SIGKILL');
      await second.end();
      equal(second.code, 0, 'the second node drains and ends with 0');
    }
  },
  async 'the hub ends in order'() { await hub.stop(); },
});
