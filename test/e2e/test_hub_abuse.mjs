#!/usr/bin/env node
// What clients can do to a hub without meaning well: leave while they wait, fill it, flood one connection, talk nonsense as a
// node, come under thousands of names. The hub says no where it must, forgets who left, and is as before afterwards.
import { Hub, FakeNode, run, check, equal, request, sleep, until, SLOW } from './lib.mjs';
import http from 'node:http';
import net from 'node:net';

const hub = await new Hub({ args: ['--set', 'tasks_max=1000', '--set', 'payload_max_mib=8', '--set', 'connections_max=300',
  '--set', 'finished_keep_ms=0'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');
await hub.ok('PUT', '/v1/kinds/test.wait');
const stats = () => hub.ok('GET', '/v1/stats');
const ends = ['succeeded', 'dead', 'cancelled', 'expired'];

// Takes every task of a kind and completes it.
async function work(kind, count) {
  for (let left = count; left > 0;) {
    const { session, leases } = await hub.ok('POST', '/v1/leases', { node: 'worker', kinds: [kind], max: 500, wait_ms: 5000 });
    check(leases.length > 0, `${left} of ${count} ${kind} are left, and none is to be had`);
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: leases.map(({ token }) => ({ token, outcome: 'complete', result: 1 })) });
    left -= leases.length;
  }
}
function refused(answer, what) {
  equal([answer.status, answer.json?.code, answer.json?.retryable], [503, 'busy', true], `${what} (${answer.text.slice(0, 200)})`);
  check(Number(answer.headers['retry-after']) > 0, `${what}: Retry-After`);
}

await run({
  async 'callers that leave while they wait are forgotten at once'() {
    const { id } = await hub.submit({ kind: 'test.wait' });
    const before = (await stats()).http;
    const sockets = [];
    for (let i = 0; i < 60; i++) {
      const socket = net.connect(hub.port, '127.0.0.1');
      socket.on('error', () => {});
      const target = [`GET /v1/tasks/${id}?wait_ms=60000`, `GET /v1/tasks/${id}/result?wait_ms=60000`][i % 2];
      if (i % 3 === 2) {
        const body = JSON.stringify({ kind: 'test.wait' });
        socket.write(`POST /v1/tasks?wait_ms=60000 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      } else socket.write(`${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      sockets.push(socket);
    }
    await until('60 requests wait', 10000 * SLOW, async () => (await stats()).http.waiting === before.waiting + 60);
    sockets.forEach((socket, i) => (i % 2 ? socket.end() : socket.resetAndDestroy()));
    await until('none of them waits', 3000 * SLOW, async () => {
      const { http } = await stats();
      return http.waiting === before.waiting && http.connections <= before.connections;
    });
    for (const task of (await hub.ok('GET', '/v1/tasks?kind=test.wait&limit=100')).items) {
      if (!ends.includes(task.state)) await hub.ok('POST', `/v1/tasks/${task.id}:cancel`, {});
    }
  },
  async 'a hub full of tasks: 503 with Retry-After, and room again when some are done'() {
    const { accepted, results } = await hub.ok('POST', '/v1/tasks:batch', Array.from({ length: 1000 }, (_, i) => ({ kind: 'test.job', input: i })));
    check(accepted > 900, `${accepted} fit`);
    for (const { error } of results) if (error) equal([error.status, error.code], [503, 'busy'], 'what does not fit');
    let more = accepted;
    for (let answer; (answer = await hub.post('/v1/tasks', { kind: 'test.job' })).status === 201 || refused(answer, 'a full hub');) more++;
    check(more <= 1000, `${more} tasks in a hub for 1000`);
    refused(await hub.post('/v1/tasks?wait_ms=5000', { kind: 'test.job' }), 'a full hub, waiting');
    await work('test.job', more);
    await until('room', 5000 * SLOW, async () => (await hub.post('/v1/tasks', { kind: 'test.job' })).status === 201);
    await work('test.job', 1);
  },
  async 'a hub full of inputs: the same'() {
    const input = 'x'.repeat(65000);
    let count = 0;
    for (let answer; (answer = await hub.post('/v1/tasks', { kind: 'test.job', input })).status === 201 || refused(answer, 'full of inputs');) count++;
    check(count > 100 && count < 130, `${count} inputs of 65,000 bytes in 8 MiB`);
    equal((await hub.post('/v1/tasks', { kind: 'test.job', input: 1 })).status, 201, 'a small one still fits');
    await work('test.job', count + 1);
    await until('room for large ones', 5000 * SLOW, async () => (await hub.post('/v1/tasks', { kind: 'test.job', input })).status === 201);
    await work('test.job', 1);
  },
  async '10,000 pipelined requests, written before anything is read'() {
    const socket = net.connect(hub.port, '127.0.0.1');
    let text = '', answers = 0;
    const done = new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', resolve);
      socket.on('data', (d) => {
        text += d.toString('latin1');
        const pieces = text.split('HTTP/1.1 200 OK\r\n');
        answers += pieces.length - 1;
        text = pieces.pop().slice(-40);
        if (answers === 10000) socket.end();
      });
    });
    socket.pause();
    socket.write('GET /v1/queues/default HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(10000));
    await sleep(500);
    equal((await hub.get('/healthz')).status, 200, 'others are answered');
    socket.resume();
    await done;
    equal(answers, 10000, 'answers');
  },
  async 'more connections than there may be: 503, and room again'() {
    const open = (await stats()).http.connections;
    const sockets = [];
    for (let i = open; i < 300; i++) {
      sockets.push(await new Promise((resolve, reject) => {
        const socket = net.connect(hub.port, '127.0.0.1', () => resolve(socket));
        socket.on('error', reject);
      }));
    }
    await until('all are counted', 5000 * SLOW, async () => (await stats()).http.connections >= 300);
    const agent = new http.Agent({ keepAlive: false });
    refused(await request({ port: hub.port, target: '/healthz', agent }), 'one too many');
    for (const socket of sockets) socket.destroy();
    await until('room', 5000 * SLOW, async () => (await request({ port: hub.port, target: '/healthz', agent })).status === 200);
  },
  async 'a node that talks nonsense loses nothing but its own word'() {
    const node = await new FakeNode(hub.port, { name: 'mad', kinds: ['test.mad'], credit: 1 }).connect();
    const errors = () => node.messages.filter((m) => m.type === 'error').length;
    const nonsense = [{ type: 'credit', n: 4294967295 }, { type: 'credit', n: -1 }, { type: 'credit', n: 1e300 }, { type: 'what' }, 7, [], null,
      { type: 'report', outcomes: [{ token: 'x', outcome: 'complete' }] }, { type: 'report', outcomes: {} },
      { type: 'beat', load: { cpu_permille: -5 } }];
    for (const message of nonsense) node.send(message);
    node.ws.send('{"type":"beat"');
    node.ws.send(Buffer.from([0, 1, 2]));
    await until('an error for each', 5000 * SLOW, () => errors() >= nonsense.length);
    equal((await hub.ok('GET', '/v1/nodes/mad')).state, 'live', 'it is there');
    // Outcomes of leases that it never had: more than a message may have, more bytes than an entry may have, and as many as may be
    const outcomes = (count, size) => Array.from({ length: count }, (_, i) => (
      { token: `000000g000001.${i % 900 + 1}.${i + 1}`, outcome: 'complete', result: 'x'.repeat(size) }));
    const before = errors();
    node.report(outcomes(4097, 1));
    await until('an error for too many', 5000 * SLOW, () => errors() === before + 1);
    node.report(outcomes(4096, 500));
    await until('each is refused', 5000 * SLOW, () => node.reported.length === 1);
    equal(node.reported[0].refused.length, 4096, 'refused');
    equal(node.reported[0].refused.filter((r) => r.error?.code !== 'lease-lost' && r.code !== 'lease-lost').length, 0, 'lease-lost');
    node.report(outcomes(120, 60000));
    await until('7 MiB are refused', 5000 * SLOW, () => errors() === before + 2 || node.reported.length === 2);
    if (node.ws.readyState === 1) node.cut();
    // Far more credit than it may have, a little at a time
    const greedy = await new FakeNode(hub.port, { name: 'greedy', kinds: ['test.greedy'], credit: 4096 }).connect();
    for (let i = 0; i < 50; i++) greedy.send({ type: 'credit', n: 4096 });
    await sleep(300);
    equal((await hub.ok('GET', '/v1/nodes/greedy')).credit, 4096, 'the most that it may have');
    greedy.cut();
    // Processes that believe to be the same node: the first one is it, for as long as it is heard of, and the others are told so
    const twins = [];
    for (let i = 0; i < 40; i++) {
      twins.push(await new FakeNode(hub.port, { name: 'twin', kinds: ['test.twin'], beat: false }).connect().then(() => 'it', (e) => e.message));
    }
    equal(twins[0], 'it', 'the first one has the name');
    check(twins.every((t) => t === 'it' || /name-taken/.test(t)), `all others are told: ${[...new Set(twins)].join('; ')}`);
    check(twins.filter((t) => t !== 'it').length > 20, 'nearly all of them are');
    equal((await hub.ok('GET', '/v1/nodes/twin')).name, 'twin', 'one node');
    await until('its sessions end', 10000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/twin')).state === 'gone');
  },
  async 'afterwards it is as before, also after a restart'() {
    const { tasks, http } = await stats();
    equal(['scheduled', 'ready', 'leased'].map((s) => tasks.counts[s]), [0, 0, 0], 'no task is left over');
    equal(http.waiting, 0, 'nobody waits');
    await hub.stop();
    await hub.start();
    equal(['scheduled', 'ready', 'leased'].map((s) => tasks.counts[s]), [0, 0, 0], 'after the restart');
    const answer = await hub.post('/v1/tasks', { kind: 'test.job' });
    equal(answer.status, 201, 'it takes work');
    await work('test.job', 1);
    await hub.stop();
  },
});
