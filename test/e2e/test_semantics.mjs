#!/usr/bin/env node
// What a task is promised besides being run: its bytes, its key, the error of its last attempt, one new life per retry.
import { spawnSync } from 'node:child_process';
import { FakeNode, Hub, SHOAL, SLOW, run, check, equal, until } from './lib.mjs';

const hub = await new Hub({ args: ['--set', 'finished_keep_ms=1'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');
const JSON_TYPE = { headers: { 'content-type': 'application/json' } };
const NUMBERS = '[123456789012345678901234567890,1e400,-0,1.0,1,-9223372036854775809,0.10]';
const lease = async (node = 'w', extra = {}) =>
  (await hub.ok('POST', '/v1/leases', { node, kinds: ['test.job'], max: 1, wait_ms: 20000, ...extra }));
const report = (session, outcomes) => hub.ok('POST', '/v1/leases:report', { session, outcomes });

await run({
  async 'numbers are kept digit for digit: input, lease, result, also in a batch'() {
    const one = await hub.call('POST', '/v1/tasks', `{"kind":"test.job","input":${NUMBERS}}`, JSON_TYPE);
    equal(one.status, 201, one.text);
    const id = one.json.id;
    check((await hub.get(`/v1/tasks/${id}`)).text.includes(`"input":${NUMBERS}`), 'the input as it was sent');
    const polled = await hub.call('POST', '/v1/leases', { node: 'w', kinds: ['test.job'], max: 1, wait_ms: 20000 });
    check(polled.text.includes(`"input":${NUMBERS}`), 'the worker is given it as it was sent');
    const { session, leases: [{ token }] } = polled.json;
    const done = await hub.call('POST', '/v1/leases:report',
      `{"session":"${session}","outcomes":[{"token":"${token}","outcome":"complete","result":{"n": ${NUMBERS} }}]}`, JSON_TYPE);
    equal(done.status, 200, done.text);
    equal((await hub.get(`/v1/tasks/${id}/result`)).text, `{"n":${NUMBERS}}`, 'the result as it was reported');
    const batch = await hub.call('POST', '/v1/tasks:batch',
      `[{"kind":"test.job","input":1e999},{"kind":"test.job","priority":1e999},{"kind":"test.job","priority":18446744073709551616}]`, JSON_TYPE);
    equal([batch.json.accepted, batch.json.refused], [1, 2], batch.text);
    equal(batch.json.results.slice(1).map((r) => r.error.errors[0].pointer), ['/priority', '/priority'], 'named by their place');
    check((await hub.get(`/v1/tasks/${batch.json.results[0].id}`)).text.includes('"input":1e999'), 'the good one is there');
    await hub.ok('POST', `/v1/tasks/${batch.json.results[0].id}:cancel`);
  },
  async 'a bad outcome of a report is refused alone'() {
    const ids = (await hub.ok('POST', '/v1/tasks:batch', [1, 2, 3].map((input) => ({ kind: 'test.job', input })))).results.map((r) => r.id);
    const held = [];
    let session;
    while (held.length < 3) {
      const got = await lease('w', { max: 3 });
      session = got.session;
      held.push(...got.leases);
    }
    const { results } = await report(session, [
      { token: held[0].token, outcome: 'complete', result: 'first' },
      { token: held[1].token, outcome: 'complete', reslt: 'misspelt' },
      { outcome: 'complete' },
      { token: held[2].token, outcome: 'complete', result: 'last' }]);
    equal(results.map((r) => r.ok), [true, false, false, true], 'one by one');
    equal(results[1].error.errors[0].pointer, '/outcomes/1/reslt', 'the place');
    equal(results[1].token, held[1].token, 'whose it is');
    equal(results[2].error.errors[0].pointer, '/outcomes/2/token', 'the place of one without a token');
    equal((await hub.final(ids[0])).result, 'first', 'before it');
    equal((await hub.final(ids[2])).result, 'last', 'behind it');
    equal((await hub.ok('GET', `/v1/tasks/${ids[1]}`)).state, 'leased', 'nothing became of the bad one');
    await report(session, [{ token: held[1].token, outcome: 'complete' }]);
  },
  async 'an expired task keeps what its last attempt said, and says no more when it will run'() {
    const { id } = await hub.submit({ kind: 'test.job', ttl_ms: 4000, retry: { max: 9, base_ms: 3600000, cap_ms: 3600000, jitter: 0 } });
    const { session, leases: [{ token }] } = await lease();
    await report(session, [{ token, outcome: 'fail', error: { kind: 'code', message: 'it broke', detail: { line: 7 } } }]);
    check((await hub.ok('GET', `/v1/tasks/${id}`)).run_at !== undefined, 'while it waits it says when it runs');
    const task = await hub.final(id);
    equal([task.state, task.error.kind, task.run_at], ['expired', 'expired', undefined], 'expired');
    equal(task.last_error, { kind: 'code', message: 'it broke', detail: { line: 7 } }, 'the last error');
  },
  async 'however often attempts fail, one task waits with a queued key'() {
    const body = { kind: 'test.job', unique: { key: 'once', mode: 'queued' }, retry: { max: 9, base_ms: 0 } };
    let { id } = await hub.submit(body);
    for (let i = 0; i < 5; i++) {
      const { session, leases: [{ token }] } = await lease();
      const next = await hub.submit(body);
      check(next.duplicate === undefined, 'a new one while the first runs');
      await report(session, [{ token, outcome: 'fail', error: { kind: 'code' } }]);
      const old = await hub.ok('GET', `/v1/tasks/${id}`);
      equal([old.state, old.error.kind], ['cancelled', 'superseded'], 'the later one takes its place');
      check(old.error.message.includes(next.id), 'which it names');
      id = next.id;
    }
    equal((await hub.ok('GET', '/v1/queues/default')).counts.ready, 1, 'one waits');
    equal(await hub.submit(body).then((r) => [r.id, r.duplicate]), [id, true], 'and is the answer to the next');
    const cli = spawnSync(SHOAL, ['submit', 'test.job', '--hub', hub.url, '--unique', 'once'], { encoding: 'utf8' });
    equal([cli.status, cli.stdout.trim()], [0, id], 'the command line prints the task that is there');
    check(cli.stderr.includes(`the task ${id} exists already`), `and says so: ${cli.stderr}`);
    await hub.ok('PUT', '/v1/kinds/test.other', {});
    const other = await hub.submit({ ...body, kind: 'test.other' });
    check(other.duplicate === undefined && other.kind === 'test.other', 'another kind has a key of its own');
    await hub.ok('POST', `/v1/tasks/${other.id}:cancel`);
    const waiting = hub.call('POST', '/v1/tasks?wait_ms=20000', body);
    await hub.ok('POST', `/v1/tasks/${id}:cancel`);
    const whole = (await waiting).json;
    check(whole.id === id && (whole.duplicate === true || whole.state === 'ready'), `a wait says so too: ${JSON.stringify(whole).slice(0, 200)}`);
  },
  async 'a task under which two nodes die is held; tried again, it is alone'() {
    await hub.ok('PUT', '/v1/kinds/test.bomb', {});
    const { id } = await hub.submit({ kind: 'test.bomb' });
    for (let i = 0; i < 2; i++) {
      const node = await new FakeNode(hub.port, { name: `victim-${i}`, kinds: ['test.bomb'], credit: 3 }).connect();
      await until('it is leased', 20000 * SLOW, () => node.leases[0]);
      node.cut();
    }
    const dead = await hub.final(id);
    equal([dead.state, dead.error.kind, dead.attempts_lost], ['dead', 'poison', 2], 'held');
    check(/^2 nodes died while it ran, the last one was victim-1/.test(dead.error.message), dead.error.message);
    const node = await new FakeNode(hub.port, { name: 'third', kinds: ['test.bomb'], credit: 3 }).connect();
    const beside = await hub.submit({ kind: 'test.bomb' });
    await until('another runs', 20000 * SLOW, () => node.leases[0]);
    const { state, id: again } = await hub.ok('POST', `/v1/tasks/${id}:retry`, {});
    equal(state, 'ready', 'it waits: the node has work');
    const third = await hub.submit({ kind: 'test.bomb' });
    await until('a plain one goes on', 20000 * SLOW, () => node.leases[1]);
    equal(node.leases.map((l) => l.task), [beside.id, third.id], 'but not the held one');
    equal((await hub.ok('GET', `/v1/tasks/${again}`)).requires.alone, true, 'it says what it needs');
    node.complete(node.leases[0].token, 1, 1);
    node.complete(node.leases[1].token, 1, 1);
    await until('now it runs', 20000 * SLOW, () => node.leases[2]);
    equal(node.leases[2].task, again, 'alone');
    const fourth = await hub.submit({ kind: 'test.bomb' });
    await hub.ok('GET', `/v1/tasks/${fourth.id}?wait_ms=300`);
    equal(node.leases.length, 3, 'nothing joins it, though there is room');
    node.complete(node.leases[2].token, 1, 1);
    await until('afterwards others do', 20000 * SLOW, () => node.leases[3]);
    node.complete(node.leases[3].token, 1, 1);
    equal((await hub.final(again)).state, 'succeeded', 'it was no poison after all');
    await node.close();
  },
  async 'a task of history is retried once, with all it had, and says as what'() {
    const { id } = await hub.submit({ kind: 'test.job', input: [1.50], ttl_ms: 600000, priority: 7, unique: { key: 'again' }, retry: { max: 1 } });
    const { session, leases: [{ token }] } = await lease();
    await report(session, [{ token, outcome: 'fail', error: { kind: 'code' } }]);
    equal((await hub.final(id)).state, 'dead', 'it is dead');
    await until('all that is final has left memory', 60000, async () => {
      await hub.ok('PUT', '/v1/kinds/test.job'); // an entry: with it goes what is due
      const { live, counts } = (await hub.ok('GET', '/v1/stats')).tasks;
      return live === counts.ready + counts.leased + counts.scheduled;
    });
    const first = await hub.post(`/v1/tasks/${id}:retry`);
    equal(first.status, 201, first.text);
    equal([first.json.retry_of, first.json.state], [id, 'ready'], 'a new task');
    for (let i = 0; i < 3; i++) {
      const again = await hub.post(`/v1/tasks/${id}:retry`);
      equal([again.status, again.json.id, again.json.retry_of], [200, first.json.id, id], 'the same one');
    }
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).retried_as, first.json.id, 'the old one says so');
    const task = await hub.ok('GET', `/v1/tasks/${first.json.id}`);
    equal([task.priority, task.unique.key, task.input, task.retry.max], [7, 'again', [1.5], 1], 'all it had');
    equal(Date.parse(task.expires_at) - Date.parse(task.created_at), 600000, 'its ttl anew');
    equal((await hub.submit({ kind: 'test.job', unique: { key: 'again' } })).id, first.json.id, 'its key');
    equal((await hub.ok('GET', '/v1/queues/default')).counts.ready, 1, 'one waits');
    await hub.ok('POST', `/v1/tasks/${first.json.id}:cancel`);
    const left = () => until('it has left memory', 60000, async () => {
      await hub.ok('PUT', '/v1/kinds/test.job');
      const { live, counts } = (await hub.ok('GET', '/v1/stats')).tasks;
      return live === counts.ready + counts.leased + counts.scheduled;
    });
    await left();
    await hub.crash(); // history alone knows now what became of the first one, and still does after a restart
    await hub.start();
    const late = await hub.post(`/v1/tasks/${id}:retry`);
    equal([late.status, late.json.id, late.json.state], [200, first.json.id, 'cancelled'], 'the same one, now that it is over');
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).retried_as, first.json.id, 'and the old one still says so');
  },
  async 'a retry in memory is asked for twice and done once; a refused one says why'() {
    const { id } = await hub.submit({ kind: 'test.job', unique: { key: 'mine', mode: 'queued' }, retry: { max: 1 } });
    const early = await hub.post(`/v1/tasks/${id}:retry`);
    check(early.status === 409 && early.json.detail.includes('ready; only dead, cancelled and expired tasks can be retried'), early.text);
    await hub.ok('POST', `/v1/tasks/${id}:cancel`);
    const other = await hub.submit({ kind: 'test.job', unique: { key: 'mine', mode: 'queued' } });
    const taken = await hub.post(`/v1/tasks/${id}:retry`);
    check(taken.status === 409 && taken.json.detail.includes(other.id), `names who has the key: ${taken.text}`);
    await hub.ok('POST', `/v1/tasks/${other.id}:cancel`);
    const list = [id, id, id];
    const answers = [];
    for (const one of list) answers.push(await hub.post(`/v1/tasks/${one}:retry`));
    check([200, 201].includes(answers[0].status), answers[0].text); // 201: it had left memory by then
    equal(answers.slice(1).map((a) => a.status), [200, 200], 'a list redriven thrice');
    equal(new Set(answers.map((a) => a.json.id)).size, 1, 'is one task');
    await hub.ok('POST', `/v1/tasks/${answers[0].json.id}:cancel`);
  },
});
await hub.stop();
