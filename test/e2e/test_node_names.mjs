#!/usr/bin/env node
// Who may work under a name: whoever has it keeps it while it is heard, its own next process takes it over at once, and
// everybody else waits. What a hello may say is the same over WebSocket as over HTTP.
import { Hub, FakeNode, Process, TMP, SHOAL, SLOW, run, check, equal, until, sleep } from './lib.mjs';
import { WebSocket } from 'ws';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const hub = await new Hub({ data: path.join(TMP, 'names') }).start();
await hub.ok('PUT', '/v1/kinds/test.job');

// Says one message on a new connection; resolves with what came until the hub closed, or until `welcome`.
async function saying(text, port = hub.port) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/v1/work`, 'shoal.work.v1');
  const messages = [];
  ws.on('error', () => {});
  ws.on('message', (data) => messages.push(JSON.parse(data.toString())));
  const closed = once(ws, 'close').then(([code]) => code);
  await once(ws, 'open');
  ws.send(text);
  const code = await Promise.race([closed, until('an answer', 10000 * SLOW, () => messages.some((m) => m.type === 'welcome')).then(() => 'welcome', () => 'nothing')]);
  if (code === 'welcome') { ws.send('{"type":"leave"}'); await closed; }
  const error = messages.find((m) => m.type === 'error');
  return { code, error, welcome: messages.find((m) => m.type === 'welcome') };
}
const hello = (extra) => JSON.stringify({ type: 'hello', instance: Math.random().toString(16).slice(2, 14).padEnd(8, '1'), kinds: ['test.job'],
  labels: [], cpu_milli: 1, memory_mib: 1, gpu: 0, credit: 0, held: [], info: {}, ...extra });
const leaseOf = (node) => until('a lease', 10000 * SLOW, () => node.leases.at(-1));

await run({
  async 'a second node under the name of one that works is refused, and the work goes on'() {
    const first = await new FakeNode(hub.port, { name: 'one' }).connect();
    const { id } = await hub.submit({ kind: 'test.job', retry: { max: 1 } });
    const lease = await leaseOf(first);
    for (let i = 0; i < 5; i++) {
      const { code, error } = await saying(hello({ node: 'one' }));
      equal([code, error?.code], [1013, 'name-taken'], 'refused');
      check(/a node named one is already connected from 127\.0\.0\.1\S*; choose another name or wait/.test(error.detail), `says why: ${error.detail}`);
    }
    first.complete(lease.token, 'whole');
    const task = await hub.final(id);
    equal([task.state, task.result, task.attempts], ['succeeded', 'whole', 1], 'one attempt');
    await first.close();
  },
  async 'two hellos at once: one of them'() {
    const answers = await Promise.all(Array.from({ length: 8 }, () => new Promise((resolve) => {
      const node = new FakeNode(hub.port, { name: 'race', credit: 0 });
      node.connect().then(() => resolve(node), () => resolve(null));
    })));
    const in_ = answers.filter((a) => a !== null);
    equal(in_.length, 1, 'one is welcome');
    equal(in_[0].directives.filter((d) => d.do === 'terminate'), [], 'and stays');
    await in_[0].close();
  },
  async 'a worker over HTTP and a node do not take each other’s names'() {
    const node = await new FakeNode(hub.port, { name: 'both', credit: 0 }).connect();
    const refused = await hub.post('/v1/leases', { node: 'both', kinds: ['test.job'] });
    equal([refused.status, refused.json.code], [409, 'name-taken'], 'the worker is refused');
    await node.close();
    await until('the worker may', 5000 * SLOW, async () => (await hub.post('/v1/leases', { node: 'both', kinds: ['test.job'] })).status === 200);
    const waiting = hub.post('/v1/leases', { node: 'both', kinds: ['test.job'], wait_ms: 5000 });
    await until('it waits', 5000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/both')).credit === 1);
    const { code, error } = await saying(hello({ node: 'both' }));
    equal([code, error?.code], [1013, 'name-taken'], 'the node is refused while the worker calls');
    await waiting;
  },
  async 'a silent holder makes room, one whose connection closed at once'() {
    const silent = await new FakeNode(hub.port, { name: 'silent', credit: 0 }).connect();
    silent.stopBeating();
    await until('suspect', 10000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/silent')).state !== 'live');
    const next = await new FakeNode(hub.port, { name: 'silent', credit: 0 }).connect();
    await silent.closed;
    next.cut();
    const began = Date.now();
    await until('the name is free', 5000 * SLOW, async () => (await saying(hello({ node: 'silent' }))).welcome);
    check(Date.now() - began < 2000 * SLOW, `free after ${Date.now() - began} ms`);
  },
  async 'a later start of the same data directory takes over at once, an earlier one never'() {
    const owner = 'feedfacecafebeef';
    const old = await new FakeNode(hub.port, { name: 'again', hello: { owner, start: 1000 } }).connect();
    const { id } = await hub.submit({ kind: 'test.job' });
    await leaseOf(old);
    const young = await new FakeNode(hub.port, { name: 'again', hello: { owner, start: 1001 } }).connect();
    await old.closed;
    const lease = await leaseOf(young);
    const late = await saying(hello({ node: 'again', owner, start: 1000 }));
    equal([late.code, late.error?.code], [1013, 'session-lost'], 'the late hello of the dead process');
    const stranger = await saying(hello({ node: 'again', owner: 'feedfacecafebeee', start: 5000 }));
    equal([stranger.code, stranger.error?.code], [1013, 'name-taken'], 'another owner, whatever its start');
    young.complete(lease.token, 1);
    equal((await hub.final(id)).state, 'succeeded', 'done by the later one');
    await young.close();
  },
  async 'a hub that was killed knows the rightful successor as well'() {
    const owner = 'feedfacecafe0001';
    const one = await new Hub({ data: path.join(TMP, 'after'), args: ['--set', 'lost_ms=60000'] }).start(); // so long it waits for the holder
    const old = await new FakeNode(one.port, { name: 'after', kinds: ['code.run'], credit: 0, hello: { owner, start: 2000 } }).connect();
    await one.crash();
    await old.closed;
    await one.start();
    equal((await saying(hello({ node: 'after', owner, start: 1999 }), one.port)).error?.code, 'session-lost', 'not the one before');
    equal((await saying(hello({ node: 'after' }), one.port)).error?.code, 'name-taken', 'nor a stranger: the holder may come back');
    check((await saying(hello({ node: 'after', owner, start: 2001 }), one.port)).welcome, 'the next one');
    await one.stop();
  },
  async 'names follow one rule, and no member comes twice'() {
    const names = ['a b', 'a/b', 'ä', '', 'x'.repeat(129), 'a\tb', '\u001b[2J', 'a\u0085b', 'a:b', 'a%b'];
    for (const name of names) {
      const ws = await saying(hello({ node: name }));
      equal([ws.code, ws.error?.code], [1008, 'invalid'], `a node ${JSON.stringify(name)}`);
      equal((await hub.post('/v1/leases', { node: name, kinds: ['test.job'] })).status, 422, `a worker ${JSON.stringify(name)}`);
      const kind = await saying(hello({ node: 'good', kinds: [name] }));
      equal([kind.code, kind.error?.code], [1008, 'invalid'], `a kind ${JSON.stringify(name)}`);
      equal((await hub.post('/v1/leases', { node: 'good', kinds: [name] })).status, 422, `a worker's kind ${JSON.stringify(name)}`);
    }
    for (const label of ['', 'a\nb', '\u001b[2J', 'x'.repeat(129)]) {
      equal((await saying(hello({ node: 'good', labels: [label] }))).error?.code, 'invalid', `a label ${JSON.stringify(label)}`);
      equal((await hub.post('/v1/leases', { node: 'good', kinds: ['test.job'], labels: [label] })).status, 422, `over HTTP ${JSON.stringify(label)}`);
    }
    const whole = hello({ node: 'good', owner: '1', start: 1, key: 'k' });
    for (const [name, value] of Object.entries(JSON.parse(whole))) {
      const { error, code } = await saying(`${whole.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`);
      equal([code, error?.code], [1008, 'invalid'], `${name} twice in a hello`);
      check(error.detail.includes(`/${name}`) && error.detail.includes('twice'), error.detail);
    }
    const node = await new FakeNode(hub.port, { name: 'good', credit: 0 }).connect();
    const T = '0000000100001.1.1';
    for (const text of ['{"type":"beat","type":"beat"}', '{"type":"beat","load":{"running":1,"running":2}}', '{"type":"beat","load":{},"load":{}}',
      '{"type":"credit","n":1,"n":2}', '{"type":"report","outcomes":[],"outcomes":[]}', '{"type":"report","credit":1,"credit":1}',
      `{"type":"report","outcomes":[{"token":"${T}","token":"${T}","outcome":"complete"}]}`,
      `{"type":"report","outcomes":[{"token":"${T}","outcome":"fail","error":{"kind":"a","kind":"b"}}]}`]) {
      const before = node.messages.length;
      node.ws.send(text);
      const answer = await until('an answer', 5000 * SLOW, () => node.messages.slice(before).find((m) => m.type === 'error'));
      check(answer.code === 'invalid' && answer.detail.includes('twice'), `${text}: ${JSON.stringify(answer)}`);
    }
    await node.close();
    for (const [target, body] of [
      ['/v1/leases', '{"node":"w","kinds":["test.job"],"max":1,"max":2}'], ['/v1/leases', '{"node":"w","kinds":["test.job"],"wait_ms":0,"wait_ms":0}'],
      ['/v1/leases', '{"node":"w","kinds":["test.job"],"labels":[],"labels":[]}'], ['/v1/leases', '{"node":"w","kinds":["test.job"],"cpu":1,"cpu":1}'],
      ['/v1/leases', '{"node":"w","node":"w","kinds":["test.job"]}'],
      ['/v1/leases:report', '{"session":"0000000000001","outcomes":[],"max":0,"max":0}'],
      ['/v1/tasks', '{"kind":"test.job","requires":{"labels":["a"],"labels":["b"]}}'], ['/v1/tasks', '{"kind":"test.job","requires":{"gpu":1,"gpu":1}}'],
      ['/v1/tasks', '{"kind":"test.job","kind":"test.job"}']]) {
      const answer = await hub.post(target, body, { headers: { 'content-type': 'application/json' } });
      check(answer.status === 422 && answer.text.includes('twice'), `${target} ${body}: ${answer.status} ${answer.text}`);
    }
  },
  async 'the default name is one of the data directory'() {
    const start = (data, extra = []) => new Process(['node', '--hub', hub.url, '--slots', '1', '--offer', 'test.echo', '--data', path.join(TMP, data), ...extra], { name: data });
    const nameOf = async (node) => (await node.line(/shoal node (\S+) ready/))[1];
    const a = start('name-a'), b = start('name-b');
    const names = [await nameOf(a), await nameOf(b)];
    check(names[0] !== names[1], `two directories, two names: ${names}`);
    equal(statSync(path.join(TMP, 'name-a', 'identity')).mode & 0o777, 0o600, 'its secret is for its owner');
    await a.end('SIGKILL');
    const began = Date.now();
    const again = start('name-a');
    equal(await nameOf(again), names[0], 'the same one after kill -9');
    check(Date.now() - began < 5000 * SLOW, 'at once');
    // A stranger under that name waits, says so once, and comes in when the name is free.
    const stranger = start('name-c', ['--name', names[0]]);
    await until('it says that it waits', 20000 * SLOW, () => stranger.err.includes('already connected'));
    await sleep(3000);
    equal(stranger.err.split('trying until then').length, 2, 'once');
    check(again.running && b.running, 'the others live');
    await again.end('SIGKILL');
    equal(await nameOf(stranger), names[0], 'then it has the name');
    await Promise.all([stranger.end(), b.end()]);
  },
  async 'one log line for each kind of bad hello and second'() {
    writeFileSync(path.join(TMP, 'key'), 'open sesame\n', { mode: 0o600 });
    const keyed = await new Hub({ data: path.join(TMP, 'keyed'), args: ['--node-key-file', path.join(TMP, 'key')] }).start();
    const began = Date.now();
    for (let i = 0; i < 30; i++) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => saying(hello({ node: `x${i}`, key: 'wrong' }), keyed.port)));
      check(answers.every((a) => a.error?.code === 'unauthorized'), 'refused');
      await saying('{"type":"beat"}', keyed.port);
    }
    const seconds = Math.ceil((Date.now() - began) / 1000) + 1;
    for (const event of ['node.unauthorized', 'node.bad-hello']) {
      const lines = keyed.process.err.split('\n').filter((l) => l.includes(event)).length;
      check(lines >= 1 && lines <= seconds, `${lines} lines of ${event} in ${seconds} s`);
    }
    const told = (await keyed.get('/metrics')).text.match(/^shoal_bad_hellos_total (\d+)/m);
    equal(Number(told?.[1]), 330, 'all are counted');
    await keyed.stop();
  },
  async 'keys are kept from others'() {
    const file = path.join(TMP, 'open-key');
    writeFileSync(file, 'secret\n');
    chmodSync(file, 0o644);
    const says = (args) => { const r = spawnSync(SHOAL, args, { encoding: 'utf8', timeout: 30000 * SLOW }); return [r.status, r.stderr]; };
    const data = path.join(TMP, 'nothing');
    for (const args of [['hub', '--data', data, '--listen', '127.0.0.1:0', '--node-key-file', file],
      ['node', '--data', data, '--hub', hub.url, '--offer', 'test.echo', '--key-file', file]]) {
      const [status, err] = says(args);
      check(status === 15 && err.includes('chmod 600'), `${args[0]}: ${status} ${err}`);
    }
    writeFileSync(path.join(TMP, 'hub.yaml'), 'node_key: secret\n');
    chmodSync(path.join(TMP, 'hub.yaml'), 0o644);
    let [status, err] = says(['hub', '--data', data, '--listen', '127.0.0.1:0', '--config', path.join(TMP, 'hub.yaml')]);
    check(status === 15 && err.includes('chmod 600'), `a configuration file: ${status} ${err}`);
    [status, err] = says(['hub', '--data', data, '--listen', '127.0.0.1:0', '--set', 'node_key=secret']);
    check(status === 2 && err.includes('everybody who lists processes') && !err.includes('=secret'), `--set: ${status} ${err}`);
    chmodSync(file, 0o600);
    const keyed = await new Hub({ data, args: ['--node-key-file', file] }).start();
    check(!readFileSync(`/proc/${keyed.process.pid}/cmdline`, 'utf8').includes('secret'), 'nothing in the process list');
    await keyed.stop();
  },
});
