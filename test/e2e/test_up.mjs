#!/usr/bin/env node
// shoal up: the hub outlives its node, and a start after kill -9 works at once, whatever ran.
import { Hub, FakeNode, Process, TMP, SHOAL, SLOW, run, check, equal, until, sleep, request } from './lib.mjs';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const OFFER = ['--slots', '1', '--offer', 'test.echo'];
const up = (data, { port = 0, extra = [] } = {}) => new Process(['up', '--data', path.join(TMP, data), '--listen', `127.0.0.1:${port}`, ...OFFER, ...extra], { name: `up ${data}` });
const portOf = async (process) => Number((await process.line(/listening on http:\/\/127\.0\.0\.1:(\d+)/))[1]);
const get = async (port, target) => (await request({ port, target })).json;
const submit = async (port, input) => (await request({ port, method: 'POST', target: '/v1/tasks', body: { kind: 'test.echo', input } })).json;
const final = (port, id, ms) => until(`task ${id} is final`, ms * SLOW, async () => {
  const task = await get(port, `/v1/tasks/${id}?wait_ms=1000`);
  return ['succeeded', 'dead'].includes(task?.state) ? task : null;
});
// The process that runs `shoal hub` or `shoal node` for a `shoal up`.
function childOf(parent, command) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const ppid = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[1]);
      if (ppid === parent.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === command) return Number(pid);
    } catch { /* it has ended meanwhile */ }
  }
  return null;
}
const alive = (pid) => { try { process.kill(pid, 0); return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')); } catch { return false; } };

await run({
  async 'the hub outlives its node, which is started again'() {
    const one = up('outlives');
    const port = await portOf(one);
    await one.line(/Shoal is up/);
    const hub = childOf(one, 'hub');
    for (let i = 0; i < 3; i++) {
      const node = await until('a node', 20000 * SLOW, () => childOf(one, 'node'));
      process.kill(node, 'SIGKILL');
      await until('it is gone', 20000 * SLOW, () => !alive(node));
      check((await request({ port, target: '/healthz' })).status === 200, 'the hub serves');
    }
    const { id } = await submit(port, { value: 7 });
    equal((await final(port, id, 30000)).result, 7, 'the new node works');
    equal(childOf(one, 'hub'), hub, 'the same hub');
    equal(one.err.split('the node is started again').length, 2, `said once: ${one.err}`);
    equal((await one.end('SIGINT')).code, 0, 'ends in order');
  },
  async 'a stranger under its node’s name, before and after: nothing is lost, the hub stays'() {
    const one = up('stranger', { extra: ['--name', 'mine'] });
    const port = await portOf(one);
    await one.line(/Shoal is up/);
    const { id } = await submit(port, { value: 1, sleep_ms: 4000 });
    await until('leased', 20000 * SLOW, async () => (await get(port, `/v1/tasks/${id}`)).state === 'leased');
    const strangers = [1, 2].map((i) => new Process(['node', '--hub', `http://127.0.0.1:${port}`, '--name', 'mine', ...OFFER, '--data', path.join(TMP, `stranger-${i}`)], { name: `stranger ${i}` }));
    for (const stranger of strangers) await until('it waits', 20000 * SLOW, () => stranger.err.includes('already connected'));
    const task = await final(port, id, 30000);
    equal([task.state, task.attempts], ['succeeded', 1], 'one attempt, whatever the others try');
    check(one.running && childOf(one, 'node') !== null, 'hub and node are there');
    await Promise.all(strangers.map((s) => s.end()));
    // The name is held by somebody else when the node comes: the hub is there, the node follows when it can.
    process.kill(childOf(one, 'node'), 'SIGSTOP');
    const other = await until('a stranger gets the name of a silent one', 20000 * SLOW, () => new FakeNode(port, { name: 'mine', credit: 0 }).connect().catch(() => null));
    process.kill(childOf(one, 'node'), 'SIGCONT');
    await until('the node is told', 20000 * SLOW, () => one.err.includes('the node ended'));
    check((await request({ port, target: '/healthz' })).status === 200 && one.running, 'the hub goes on');
    await other.close();
    const { id: next } = await submit(port, { value: 2 });
    equal((await final(port, next, 60000)).result, 2, 'the node is back');
    equal((await one.end('SIGINT')).code, 0, 'ends in order');
  },
  async 'kill -9 with a task running: the next start serves at once and the task ends'() {
    const first = up('killed');
    const port = await portOf(first);
    await first.line(/Shoal is up/);
    const { id } = await submit(port, { value: 'through', sleep_ms: 6000 });
    await until('leased', 20000 * SLOW, async () => (await get(port, `/v1/tasks/${id}`)).state === 'leased');
    const children = [childOf(first, 'hub'), childOf(first, 'node')];
    first.kill('SIGKILL');
    await first.exited;
    const began = Date.now();
    const second = up('killed', { port });
    await portOf(second);
    equal((await request({ port, target: '/readyz' })).status, 200, 'the hub is ready');
    const hub_ms = Date.now() - began;
    await second.line(/Shoal is up/);
    console.log(`     the hub is back after ${hub_ms} ms, the node after ${Date.now() - began} ms`);
    check(hub_ms < 10000 * SLOW, `the hub is back after ${hub_ms} ms`);
    check(Date.now() - began < 20000 * SLOW, 'the node as well');
    check(!children.some(alive), 'nothing is left of the first');
    const task = await final(port, id, 40000);
    equal([task.state, task.result], ['succeeded', 'through'], 'the task ends');
    equal((await second.end('SIGINT')).code, 0, 'ends in order');
  },
  async 'under nohup: the end of the terminal does not end it, and nothing is left after kill -9'() {
    const one = new Process(['up', '--data', path.join(TMP, 'nohup'), '--listen', '127.0.0.1:0', ...OFFER], { name: 'up nohup', through: ['nohup'] });
    const port = await portOf(one);
    await one.line(/Shoal is up/);
    const children = [childOf(one, 'hub'), childOf(one, 'node')];
    one.kill('SIGHUP');
    await sleep(500);
    const health = await request({ port, target: '/healthz' }).catch((error) => error);
    check(one.running && health.status === 200, `it goes on: ${health.status ?? health}\n${one.out}${one.err}`);
    check(children.every(alive), `hub and node as well: ${one.out}${one.err}`);
    const { id } = await submit(port, { value: 1, sleep_ms: 60000 });
    await until('leased', 20000 * SLOW, async () => (await get(port, `/v1/tasks/${id}`)).state === 'leased');
    one.kill('SIGKILL');
    await one.exited;
    await until('hub and node have ended', 30000 * SLOW, () => !children.some(alive));
  },
  async 'two of them in one directory: the second says so'() {
    const one = up('shared');
    await portOf(one);
    const two = spawnSync(SHOAL, ['up', '--data', path.join(TMP, 'shared'), '--listen', '127.0.0.1:0', ...OFFER], { encoding: 'utf8', timeout: 30000 * SLOW });
    check(two.status === 11 && two.stderr.includes('another shoal up'), `${two.status} ${two.stderr}`);
    await one.line(/Shoal is up/);
    equal((await one.end('SIGINT')).code, 0, 'the first is not disturbed');
  },
  async 'what is wrong on the command line is told before anything starts'() {
    for (const extra of [['--name', 'a b'], ['--offer', 'test.ecko'], ['--labels', 'a\nb']]) {
      const wrong = spawnSync(SHOAL, ['up', '--data', path.join(TMP, 'wrong'), '--listen', '127.0.0.1:0', ...extra], { encoding: 'utf8', timeout: 30000 * SLOW });
      check(wrong.status === 2 && wrong.stdout === '', `${extra}: ${wrong.status} ${wrong.stdout}${wrong.stderr}`);
    }
  },
});
