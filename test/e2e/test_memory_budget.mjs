#!/usr/bin/env node
// The hub's memory under clients that want all of it: pipelines of bodies of 8 MiB, stalled ones, answers that nobody reads.
// The resident memory stays below the budget and what an idle hub takes, and other clients' small requests are answered.
import net from 'node:net';
import { readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { Hub, SLOW, check, equal, request, run, sleep, until } from './lib.mjs';

const MIB = 1 << 20;
const BODY = 8 * MIB;
const BUDGET = 64;
// The parser of JSON keeps what the largest body needed (about 13 bytes for each of its own), and malloc keeps some.
const BASE = 160 * SLOW;

const rss = (hub) => Number(readFileSync(`/proc/${hub.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) / 1024;
const peak = (hub) => Number(readFileSync(`/proc/${hub.process.pid}/status`, 'utf8').match(/VmHWM:\s+(\d+)/)[1]) / 1024;
const metric = async (hub, name) => Number((await hub.get('/metrics')).text.match(new RegExp(`^shoal_${name} (\\d+)`, 'm'))[1]);

// A task that is small in meaning, whatever white space makes of its size.
const task = JSON.stringify({ kind: 'test.job', input: { n: 1 } });
const padded = Buffer.alloc(BODY, ' ');
padded.write(task.slice(0, -1));
padded.write('}', BODY - 1);
// The answer waits for the task, which nobody runs: a pipeline of these is open all at once.
const head = (wait = 4000) => `POST /v1/tasks?wait_ms=${wait} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${BODY}\r\n\r\n`;

function connect(hub) {
  const socket = net.connect(hub.port, '127.0.0.1');
  socket.on('error', () => {});
  return socket;
}

// Pipelined: all are written, however slowly the hub reads. Resolves with the status codes in order.
function pipeline(hub, count, wait) {
  return new Promise((resolve, reject) => {
    const socket = connect(hub);
    const codes = [];
    let text = '';
    socket.on('data', (d) => {
      text += d.toString('latin1');
      const found = [...text.matchAll(/HTTP\/1\.1 (\d\d\d) /g)];
      while (codes.length < found.length) codes.push(Number(found[codes.length][1]));
      if (codes.length === count) socket.destroy();
    });
    socket.on('close', () => resolve(codes));
    socket.setTimeout(60000 * SLOW, () => { socket.destroy(); reject(new Error(`stuck after ${codes.length} answers`)); });
    let sent = 0;
    const more = () => {
      while (sent < count && !socket.destroyed) {
        sent++;
        socket.write(head(wait));
        if (!socket.write(padded)) { socket.once('drain', more); return; }
      }
    };
    more();
  });
}

// Small requests, one after the other, until `done`. All must be answered.
async function small(hub, state) {
  while (!state.done) {
    const at = Date.now();
    const answer = await request({ port: hub.port, method: 'POST', target: '/v1/tasks',
      body: { kind: 'test.job', input: { n: state.count } } });
    check(answer.status === 201 || answer.status === 503, `a small request is answered: ${answer.status}`);
    state.good += answer.status === 201;
    state.count++;
    state.slowest = Math.max(state.slowest, Date.now() - at);
    await sleep(10);
  }
}

async function withHub(options, body) {
  const hub = await new Hub(options).start();
  try {
    await hub.ok('PUT', '/v1/kinds/test.job', {});
    await body(hub);
  } finally {
    await hub.stop();
  }
}

await run({
  'pipelines of large bodies stay within the budget, and others are served': () =>
    withHub({ args: ['--set', `memory_budget_mib=${BUDGET}`] }, async (hub) => {
      equal(await metric(hub, 'http_memory_budget_bytes'), BUDGET * MIB, 'the budget is told');
      const state = { done: false, count: 0, good: 0, slowest: 0 };
      const smalls = small(hub, state);
      const answers = await Promise.all([pipeline(hub, 120), pipeline(hub, 120), pipeline(hub, 120)]);
      state.done = true;
      await smalls;
      console.log(`     peak ${peak(hub).toFixed(0)} MiB, now ${rss(hub).toFixed(0)} MiB, ${state.count} small requests, slowest ${state.slowest} ms`);
      check(peak(hub) < BUDGET + BASE, `the peak of ${peak(hub)} MiB is within budget and base`);
      for (const codes of answers) {
        equal(codes.length, 120, 'every request is answered');
        check(codes.every((code) => code === 201), `a small task in much white space is a small task: ${codes.join(' ')}`);
      }
      check(state.good === state.count && state.count > 5, `${state.good} of ${state.count} small requests were served`);
      check(await metric(hub, 'http_buffered_bytes_max') <= BUDGET * MIB, 'and the budget says so too');
      await until('all is given back', 5000 * SLOW, async () => await metric(hub, 'http_buffered_bytes') < MIB);
    }),

  'stalled bodies keep nobody out: small requests at once, large ones in their turn': () =>
    withHub({ args: ['--set', `memory_budget_mib=${BUDGET}`] }, async (hub) => {
      const stalled = [];
      for (let i = 0; i < 40; i++) {
        const socket = connect(hub);
        socket.write(head());
        socket.write(padded.subarray(0, 100000));
        stalled.push(socket);
      }
      await until('the line is long', 10000 * SLOW, async () => await metric(hub, 'http_bodies_waiting') > 20);
      const state = { done: false, count: 0, good: 0, slowest: 0 };
      const smalls = small(hub, state);
      await sleep(500);
      const gone = stalled.splice(20).map((socket) => socket.destroy());
      equal(gone.length, 20, 'half of them hang up');
      // One that means it waits for its turn, is refused for now, or is served: at last it is served.
      let served = 0;
      await until('a large body is served', 60000 * SLOW, async () => {
        const [code] = await pipeline(hub, 1, 0);
        check(code === 201 || code === 503, `it is served or told to come again: ${code}`);
        served += code === 201;
        return served > 0;
      });
      state.done = true;
      await smalls;
      equal(state.good, state.count, 'small requests were served all the while');
      check(peak(hub) < BUDGET + BASE, `the peak of ${peak(hub)} MiB is within budget and base`);
      stalled.forEach((socket) => socket.destroy());
    }),

  'answers that nobody reads count, and their connections go when others need the room': () =>
    withHub({ args: ['--set', `memory_budget_mib=${BUDGET}`] }, async (hub) => {
      const big = 'x'.repeat(60000);
      for (let i = 0; i < 3; i++) {
        const tasks = Array.from({ length: 100 }, () => ({ kind: 'test.job', input: { big } }));
        const answer = await hub.post('/v1/tasks:batch', { tasks });
        check(answer.status < 300, `tasks are accepted: ${answer.status} ${answer.text.slice(0, 200)}`);
      }
      const readers = [];
      for (let i = 0; i < 60; i++) {
        const socket = connect(hub);
        socket.pause();
        socket.write('GET /v1/tasks?limit=300&state=ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(20));
        readers.push(socket);
      }
      let served = 0;
      await until('others are served', 60000 * SLOW, async () => {
        const answer = await hub.get('/v1/stats');
        check(answer.status === 200 || answer.status === 503, `served or told to come again: ${answer.status}`);
        served += answer.status === 200;
        return served > 20;
      });
      check(peak(hub) < BUDGET + BASE + 64, `the peak of ${peak(hub)} MiB is within budget, base and one answer`);
      readers.forEach((socket) => socket.destroy());
    }),

  'a hub with little memory takes a small budget by itself, and lives': async () => {
    if (process.env.SANITIZE || spawnSync('prlimit', ['--version']).status !== 0) return;
    await withHub({ through: ['prlimit', `--as=${1024 * MIB}`] }, async (hub) => {
      equal(await metric(hub, 'http_memory_budget_bytes'), 128 * MIB, 'an eighth of what it may have');
      const answers = await Promise.all([pipeline(hub, 40), pipeline(hub, 40), pipeline(hub, 40), pipeline(hub, 40)]);
      for (const codes of answers) equal(codes.length, 40, 'every request is answered');
      check(answers.flat().every((code) => code === 201 || code === 503), 'served, or told to come again');
      check(answers.flat().filter((code) => code === 201).length > 20, 'most are served');
      equal((await hub.get('/readyz')).status, 200, 'and the hub is well');
    });
  },
});
