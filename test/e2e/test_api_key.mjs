#!/usr/bin/env node
// The API key: who reaches a hub beyond loopback must show it, everywhere but for health, and it appears nowhere.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { FakeNode, Hub, Process, SHOAL, SLOW, TMP, Skip, check, equal, nodeReady, run, until } from './lib.mjs';

const file = (name, text, mode = 0o600) => {
  const at = path.join(TMP, name);
  writeFileSync(at, text, { mode });
  chmodSync(at, mode);
  return at;
};
const KEY = 'api-0f9d1c5b7e3a', NODE_KEY = 'node-77aa21c0de';
const keyFile = file('api.key', `${KEY}\n`), nodeKeyFile = file('node.key', `${NODE_KEY}\n`);
const bearer = (key) => ({ headers: { authorization: `Bearer ${key}` } });
const shoal = (args, env = {}) => {
  const { SHOAL_API_KEY_FILE: _, ...rest } = process.env;
  return spawnSync(SHOAL, args, { encoding: 'utf8', env: { ...rest, ...env }, timeout: 120000 * SLOW });
};
const OPEN = ['/healthz', '/readyz', '/health'];

await run({
  async 'a hub that others can reach does not start without a key'() {
    for (const listen of ['0.0.0.0:0', '[::]:0']) {
      const data = path.join(TMP, 'never');
      const result = shoal(['hub', '--data', data, '--listen', listen]);
      check(result.status !== 0 && result.status !== null, `${listen}: ended`);
      check(result.stderr.includes('--api-key-file') && result.stderr.includes('--no-auth'), result.stderr);
      check(!existsSync(path.join(data, 'journal')), 'nothing was made');
    }
    for (const args of [['--no-auth'], ['--set', 'no_auth=1'], ['--api-key-file', keyFile]]) {
      const hub = new Process(['hub', '--data', path.join(TMP, `hub-${args.join('').replace(/\W/g, '')}`), '--listen', '0.0.0.0:0', ...args]);
      await hub.line(/listening on http:\/\/0\.0\.0\.0:(\d+)/);
      equal((await hub.end()).code, 0, args.join(' '));
    }
    const open = shoal(['hub', '--data', path.join(TMP, 'never'), '--listen', '127.0.0.1:0', '--api-key-file', file('open.key', 'abc\n', 0o644)]);
    check(open.status !== 0 && open.stderr.includes('open.key') && open.stderr.includes('chmod'), `a key that all can read: ${open.stderr}`);
  },

  async 'every route asks for it, but health'() {
    const hub = await new Hub({ data: path.join(TMP, 'routes'), args: ['--api-key-file', keyFile, '--node-key-file', nodeKeyFile] }).start();
    const { paths } = await hub.ok('GET', '/openapi.json', undefined, bearer(KEY));
    let tried = 0;
    for (const [target, methods] of Object.entries(paths)) {
      for (const method of Object.keys(methods).filter((m) => ['get', 'put', 'post', 'delete', 'patch'].includes(m))) {
        const at = target.replace(/\{[^}]*\}/g, 'x'), isOpen = OPEN.includes(target) || target === '/v1/work';
        const body = method === 'get' || method === 'delete' ? undefined : {};
        const without = await hub.call(method.toUpperCase(), at, body);
        equal(without.status === 401, !isOpen, `${method} ${target} without the key: ${without.status}`);
        if (without.status === 401) {
          equal([without.json.code, without.headers['www-authenticate']], ['unauthorized', 'Bearer'], 'says what it wants');
        }
        for (const key of ['', 'wrong', `${KEY}x`, KEY.slice(1), KEY.toUpperCase()]) {
          const wrong = await hub.call(method.toUpperCase(), at, body, bearer(key));
          equal(wrong.status === 401, !isOpen, `${method} ${target} with "${key}"`);
        }
        const shown = await hub.call(method.toUpperCase(), at, body, bearer(KEY));
        check(shown.status !== 401, `${method} ${target} with the key: ${shown.status}`);
        tried++;
      }
    }
    check(tried > 30, `${tried} routes were tried`);
    equal((await hub.get('/nowhere')).status, 401, 'what there is not is told to nobody');
    await hub.stop();
  },

  async 'the node key opens what nodes need, and no more; the API key is one too'() {
    const hub = await new Hub({ data: path.join(TMP, 'nodes'), args: ['--api-key-file', keyFile, '--node-key-file', nodeKeyFile] }).start();
    await hub.ok('PUT', '/v1/kinds/test.job', {}, bearer(KEY));
    const poll = (key) => hub.call('POST', '/v1/leases', { node: `w-${key.slice(0, 3)}`, kinds: ['test.job'], max: 1, wait_ms: 0 }, bearer(key));
    equal([(await poll(NODE_KEY)).status, (await poll(KEY)).status, (await poll('wrong')).status], [200, 200, 401], 'to lease');
    const blob = await hub.call('PUT', '/v1/blobs', 'some bytes', bearer(NODE_KEY));
    check(blob.status < 300, `a node puts a blob: ${blob.status}`);
    const digest = blob.json.blob.slice('sha256:'.length);
    equal([(await hub.get(`/v1/blobs/${digest}`, bearer(NODE_KEY))).text, (await hub.get(`/v1/blobs/${digest}`)).status], ['some bytes', 401], 'and gets it');
    equal((await hub.call('DELETE', `/v1/blobs/${digest}`, undefined, bearer(NODE_KEY))).status, 401, 'but deletes none');
    for (const [method, target, body] of [['GET', '/v1/tasks'], ['POST', '/v1/tasks', { kind: 'test.job' }], ['GET', '/metrics'], ['POST', '/v1/nodes/x:drain', {}]]) {
      equal((await hub.call(method, target, body, bearer(NODE_KEY))).status, 401, `${method} ${target} with the node key`);
    }
    for (const [key, isTaken] of [[NODE_KEY, true], [KEY, true], ['wrong', false], [undefined, false]]) {
      const node = new FakeNode(hub.port, { name: `n-${key ?? 'none'}`.slice(0, 5) });
      node.key = key;
      const send = node.send.bind(node);
      node.send = (message) => send(message.type === 'hello' && key !== undefined ? { ...message, key } : message);
      const outcome = await node.connect().then(() => true, () => false);
      equal(outcome, isTaken, `a WebSocket node with the key ${key}`);
      if (isTaken) await node.close(); else node.cut();
    }
    await hub.stop();
  },

  async 'command line and up show it, and it appears nowhere'() {
    const up = new Process(['up', '--data', path.join(TMP, 'up'), '--listen', '127.0.0.1:0', '--api-key-file', keyFile, '--slots', '1']);
    const [, url] = await up.line(/listening on (http:\/\/127\.0\.0\.1:\d+)/);
    const asked = shoal(['ls', '--hub', url]);
    check(asked.status !== 0 && asked.stderr.includes('--api-key-file') && asked.stderr.includes('SHOAL_API_KEY_FILE'), asked.stderr);
    const wrong = shoal(['ls', '--hub', url, '--api-key-file', nodeKeyFile]);
    check(wrong.status !== 0 && wrong.stderr.includes('another key'), wrong.stderr);
    equal(shoal(['ls', '--hub', url, '--api-key-file', keyFile]).status, 0, 'with the option');
    equal(shoal(['queues', '--hub', url], { SHOAL_API_KEY_FILE: keyFile }).status, 0, 'with the environment');
    let skip;
    try {
      await nodeReady(up);
      mkdirSync(path.join(TMP, 'work'), { recursive: true });
      const big = file('work/big.txt', 'x'.repeat(100000)), program = file('work/size.py', 'import os\nprint(os.path.getsize("big.txt"), "y" * 60000)\n');
      const ran = shoal(['run', program, '--file', big, '--hub', url], { SHOAL_API_KEY_FILE: keyFile });
      check(ran.status === 0 && ran.stdout.startsWith('100000 yyy') && ran.stdout.length > 60000, `blobs go both ways: ${ran.stdout.slice(0, 80)} ${ran.stderr}`);
    } catch (error) {
      if (!(error instanceof Skip)) throw error;
      skip = error;
    }
    const own = readFileSync(`/proc/${up.pid}/task/${up.pid}/children`, 'utf8').trim().split(' ');
    for (const pid of [`${up.pid}`, ...own]) {
      check(!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(KEY) && !readFileSync(`/proc/${pid}/environ`, 'utf8').includes(KEY), `process ${pid}`);
    }
    check(!(up.out + up.err + asked.stderr + wrong.stderr).includes(KEY) && !wrong.stderr.includes(NODE_KEY), 'no log and no sentence has it');
    await until('up ends', 60000 * SLOW, async () => (await up.end('SIGTERM', 40000 * SLOW)).code === 0);
    if (skip) throw skip;
  },
});
