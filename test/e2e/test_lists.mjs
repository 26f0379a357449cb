#!/usr/bin/env node
// Lists of tasks: every filter finds what there is on its first page, however far behind, in memory and in history.
import { Hub, SHOAL, run, check, equal, until } from './lib.mjs';
import { spawnSync } from 'node:child_process';

const hub = await new Hub({ args: ['--set', 'finished_keep_ms=300'] }).start();
const cli = (...args) => {
  const { stdout, stderr, status } = spawnSync(SHOAL, [...args, '--hub', hub.url], { encoding: 'utf8', timeout: 60000 });
  equal(status, 0, `shoal ${args.join(' ')}: ${stderr}`);
  return stdout;
};
const list = (query) => hub.ok('GET', `/v1/tasks?${query}`);
const walk = async (query, limit = 23) => {
  const items = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await list(`limit=${limit}${query}${cursor ? `&cursor=${cursor}` : ''}`);
    check(page.items.length === limit || page.next_cursor === null, `a page of ${query} is full unless it is the last`);
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
};
const batch = async (tasks) => (await hub.ok('POST', '/v1/tasks:batch', tasks)).results.map((r) => r.id);
const drain = async (kind, outcome) => {
  for (;;) {
    const got = await hub.ok('POST', '/v1/leases', { node: 'w', kinds: [kind], max: 200, wait_ms: 300 });
    if (got.leases.length === 0) return;
    await hub.ok('POST', '/v1/leases:report', { session: got.session, outcomes: got.leases.map((l) => ({ token: l.token, ...outcome(l.input) })) });
  }
};
const fail = (kind) => ({ outcome: 'fail', error: { kind, message: 'no' } });
const inMemory = async () => Object.values((await hub.ok('GET', '/v1/stats')).tasks.counts ?? {}).reduce((a, b) => a + b, 0);

for (const kind of ['l.a', 'l.b', 'l.rare', 'l.wait']) await hub.ok('PUT', `/v1/kinds/${kind}`);
for (const queue of ['night', 'empty']) await hub.ok('PUT', `/v1/queues/${queue}`);

await run({
  async 'one dead task behind 20,000 newer ones is on the first page'() {
    const [dead] = await batch([{ kind: 'l.rare', retry: { max: 1 } }]);
    await drain('l.rare', () => fail('boom'));
    equal((await hub.final(dead)).state, 'dead', 'it is dead');
    for (let i = 0; i < 20; i++) await batch(Array.from({ length: 1000 }, () => ({ kind: 'l.wait' })));
    for (const place of ['in memory', 'in history']) {
      for (const query of ['state=dead', 'kind=l.rare', 'error_kind=boom', 'state=dead&kind=l.rare', 'state=dead&error_kind=boom&queue=default']) {
        for (const order of ['newest', 'oldest']) {
          const page = await list(`${query}&order=${order}`);
          equal([page.items.map((t) => t.id), page.next_cursor], [[dead], null], `${query}, ${order} first, ${place}`);
        }
      }
      for (const query of ['state=dead&kind=l.wait', 'state=cancelled', 'queue=empty', 'kind=l.wait&error_kind=boom', 'queue=none']) {
        const page = await list(query);
        equal([page.items, page.next_cursor], [[], null], `${query} has none and says so at once, ${place}`);
      }
      check(cli('ls', '--state', 'dead').includes(dead), `shoal ls finds it ${place}`);
      check(cli('ls', '--error', 'boom', '--oldest', '--since', '1h').includes(dead), `shoal ls --error finds it ${place}`);
      if (place === 'in memory') await until('it has left memory', 30000, async () => await inMemory() === 20000);
    }
    check(/no such tasks/.test(cli('ls', '--state', 'expired')), 'none is said of none');
    equal(JSON.parse(cli('ls', '--kind', 'l.wait', '--limit', '2500', '--json')).items.length, 2500, 'ls goes on until it has what was asked for');
  },
  async 'every filter and pair equals a recount, in both orders, while tasks move to history'() {
    const tasks = [];
    for (let i = 0; i < 600; i++) {
      tasks.push({ kind: i % 2 ? 'l.a' : 'l.b', queue: i % 3 ? 'default' : 'night', retry: { max: 1 }, input: i });
    }
    const from = new Date().toISOString();
    const ids = await batch(tasks);
    await batch(tasks.slice(0, 20).map((t) => ({ ...t, kind: 'l.wait' })));
    const outcome = (i) => (i % 5 === 0 ? fail(i % 10 ? 'boom' : 'late') : { outcome: 'complete', result: i });
    await Promise.all([drain('l.a', outcome), drain('l.b', outcome)]);
    for (const id of ids.slice(0, 50)) await hub.call('POST', `/v1/tasks/${id}:retry`);
    const mine = (items) => items.filter((t) => ids.includes(t.id));
    const expected = [...ids].reverse();
    const everything = () => walk(`&created_after=${from}`, 500).then(mine);
    for (let round = 0; round < 2; round++) {
      const all = await everything();
      equal(all.map((t) => t.id), expected, 'all are there, newest first');
      equal((await walk(`&created_after=${from}&order=oldest`, 500).then(mine)).map((t) => t.id), ids, 'and oldest first');
      const values = { state: ['succeeded', 'dead', 'ready'], queue: ['default', 'night'], kind: ['l.a', 'l.b'], error_kind: ['boom', 'late'] };
      const has = (task, name, value) => (name === 'error_kind' ? task.error?.kind : task[name]) === value;
      const names = Object.keys(values);
      for (const first of names) {
        for (const second of names) {
          for (const a of values[first]) {
            for (const b of first === second ? [a] : values[second]) {
              const want = all.filter((t) => has(t, first, a) && has(t, second, b)).map((t) => t.id);
              const query = `&created_after=${from}&${first}=${a}${first === second ? '' : `&${second}=${b}`}`;
              equal(mine(await walk(query, 101)).map((t) => t.id), want, `${query}, round ${round}`);
              if (first <= second) {
                equal(mine(await walk(`${query}&order=oldest`, 101)).map((t) => t.id), want.reverse(), `${query}, oldest first`);
              }
            }
          }
        }
      }
      if (round === 0) {
        await until('the finished ones have left memory', 30000, async () => {
          const c = (await hub.ok('GET', '/v1/stats')).tasks.counts;
          return c.succeeded + c.dead === 0;
        });
      }
    }
  },
  async 'the command line shows all queues, kinds and nodes, however many pages they are'() {
    const names = Array.from({ length: 1010 }, (_, i) => `page-${i}`);
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map(async (name) => {
        await hub.ok('PUT', `/v1/queues/${name}`);
        await hub.ok('PUT', `/v1/kinds/${name}`);
        await hub.ok('POST', '/v1/leases', { node: name, kinds: ['l.rare'], max: 1, wait_ms: 0 });
      }));
    }
    for (const things of ['queues', 'kinds', 'nodes']) {
      const lines = cli(things).split('\n').map((line) => line.split(/\s/)[0]);
      const json = JSON.parse(cli(things, '--json'));
      equal(json.next_cursor, null, `${things} --json is the whole list`);
      for (const shown of [lines, json.items.map((item) => item.name)]) {
        equal(names.filter((name) => !shown.includes(name)), [], `none of ${things} is left out`);
        equal(new Set(shown.filter((name) => name !== '')).size, shown.filter((name) => name !== '').length, `none of ${things} is shown twice`);
      }
    }
  },
  async 'a finished task is deleted for good'() {
    const [open, gone] = await batch([{ kind: 'l.wait' }, { kind: 'l.rare' }]);
    await drain('l.rare', () => ({ outcome: 'complete', result: 1 }));
    equal((await hub.call('DELETE', `/v1/tasks/${open}`)).status, 409, 'one that is not finished');
    equal((await hub.call('DELETE', '/v1/tasks/0000000000001')).status, 404, 'one that never was');
    await until('it can be deleted', 30000, async () => {
      const answer = await hub.call('DELETE', `/v1/tasks/${gone}`);
      check(answer.status === 200 || (answer.status === 409 && answer.json.retryable), `DELETE: ${answer.status} ${answer.text}`);
      return answer.status === 200;
    });
    const absent = async (when) => {
      equal((await hub.get(`/v1/tasks/${gone}`)).status, 404, `it is gone ${when}`);
      equal((await hub.call('DELETE', `/v1/tasks/${gone}`)).status, 404, `and cannot be deleted again ${when}`);
      check(!(await walk('&kind=l.rare')).some((t) => t.id === gone), `no list shows it ${when}`);
    };
    await absent('at once');
    await hub.crash();
    await hub.start();
    await absent('after a crash');
    const [other] = await batch([{ kind: 'l.rare' }]);
    await drain('l.rare', () => ({ outcome: 'complete', result: 1 }));
    await until('shoal rm deletes another', 30000, () => /deleted/.test(spawnSync(SHOAL, ['rm', other, '--hub', hub.url], { encoding: 'utf8' }).stdout));
  },
  async 'ranges of time and cursors'() {
    const [a] = await batch([{ kind: 'l.wait', queue: 'empty' }]);
    await until('time goes on', 5000, async () => Date.now() > Date.parse((await hub.ok('GET', `/v1/tasks/${a}`)).created_at) + 20);
    const between = new Date(Date.now() - 5).toISOString();
    const [b] = await batch([{ kind: 'l.wait', queue: 'empty' }]);
    equal((await list(`queue=empty&created_after=${between}`)).items.map((t) => t.id), [b], 'after');
    equal((await list(`queue=empty&created_before=${between}`)).items.map((t) => t.id), [a], 'before');
    equal((await list(`queue=empty&created_before=${between}&created_after=${between}`)).items, [], 'an empty range');
    const page = await list('queue=empty&limit=1&order=oldest');
    equal(page.items[0].id, a, 'the oldest');
    await batch([{ kind: 'l.wait', queue: 'empty' }]); // moves nothing on the next page
    equal((await list(`queue=empty&limit=1&order=oldest&cursor=${page.next_cursor}`)).items.map((t) => t.id), [b], 'the next page');
    for (const bad of ['order=up', 'created_after=yesterday', 'cursor=!', 'state=lost', 'error_kind=a%20b', 'limit=0']) {
      equal((await hub.get(`/v1/tasks?${bad}`)).status, 400, bad);
    }
  },
});
await hub.stop();
