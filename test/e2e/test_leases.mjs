#!/usr/bin/env node
// A lease belongs to whom it was given: what everybody can read, guess or copy from elsewhere neither ends nor keeps it.
import { Hub, FakeNode, TMP, SLOW, run, check, equal, until, sleep } from './lib.mjs';
import path from 'node:path';

const hub = await new Hub({ data: path.join(TMP, 'leases') }).start();
const other = await new Hub({ data: path.join(TMP, 'other') }).start();
for (const each of [hub, other]) await each.ok('PUT', '/v1/kinds/test.job');
const poll = (node, extra = {}, at = hub) => at.post('/v1/leases', { node, kinds: ['test.job'], ...extra });
const report = (session, outcomes, extra = {}) => hub.post('/v1/leases:report', { session, outcomes, ...extra });
const complete = (token, result = 'forged') => ({ token, outcome: 'complete', result });
const secrets = []; // seals of tokens and sessions that were given out
const sealOf = (text) => text.split('.').at(-1);
async function leased(name, at = hub, extra = {}) {
  const { id } = await at.submit({ kind: 'test.job', input: name });
  const answer = await poll(name, extra, at);
  equal([answer.status, answer.json.leases?.length], [200, 1], `${name} has a lease: ${answer.text}`);
  secrets.push(sealOf(answer.json.session), sealOf(answer.json.leases[0].token));
  return { id, session: answer.json.session, token: answer.json.leases[0].token };
}
const change = (text) => text.slice(0, -1) + (text.endsWith('0') ? '1' : '0');

await run({
  async 'a token cannot be made from what is public'() {
    const mine = await leased('mine');
    const yours = await leased('yours');
    const node = await hub.ok('GET', '/v1/nodes/mine');
    equal(node.session, undefined, 'no session in what everybody reads');
    const task = await hub.ok('GET', `/v1/tasks/${mine.id}`);
    const [id, attempt, seq] = mine.token.split('.');
    equal([id, attempt], [mine.id, String(task.attempts)], 'these two are public');
    equal([sealOf(mine.token).length, sealOf(mine.session).length], [26, 26], '128 bits each');
    const bare = `${id}.${attempt}.${seq}`;
    const guesses = [bare, `${bare}.${sealOf(yours.token)}`, `${bare}.${sealOf(mine.session)}`, change(mine.token), `${bare}.${'0'.repeat(25)}1`,
      ...Array.from({ length: 20 }, (_, i) => `${id}.${attempt}.${Math.max(0, Number(seq) - 10) + i}`)];
    // With a session of one's own, and even with that of the holder.
    for (const session of [yours.session, mine.session]) {
      for (const token of guesses) {
        for (const outcome of [complete(token), { token, outcome: 'fail', error: { kind: 'x', message: 'x' }, final: true }, { token, outcome: 'release' },
          { token, outcome: 'extend', lease_ms: 3600000 }]) {
          const answer = await report(session, [outcome]);
          equal([answer.status, answer.json.code], [409, 'lease-lost'], `${token} with ${outcome.outcome}`);
        }
      }
      const both = (await report(session, [complete(bare), complete(change(mine.token))])).json;
      equal(both.results.map((r) => [r.token, r.ok]), [[bare, false], [change(mine.token), false]], 'each is told by its name');
    }
    equal((await hub.ok('GET', `/v1/tasks/${mine.id}`)).state, 'leased', 'still the holder’s');
    equal((await report(yours.session, [complete(mine.token)])).json.code, 'lease-lost', 'the right token of another session');
    equal((await report(mine.session, [complete(mine.token, 'mine')])).json.results[0].ok, true, 'the holder ends it');
    equal((await hub.ok('GET', `/v1/tasks/${mine.id}`)).result, 'mine', 'with its own result');
    await report(yours.session, [complete(yours.token)]);
  },
  async 'nor a session'() {
    const mine = await leased('held');
    const number = mine.session.split('.')[0];
    const yours = (await poll('yours-2')).json.session;
    for (const session of [number, `${number}.${sealOf(yours)}`, change(mine.session), `${number}.${sealOf(mine.token)}`]) {
      for (const outcomes of [[complete(mine.token)], []]) {
        const answer = await report(session, outcomes, { max: 1 });
        equal([answer.status, answer.json.code], [409, 'session-lost'], `session ${session}`);
      }
      equal((await poll('held', { session })).json.code, 'session-lost', 'as well when asking for work');
    }
    for (const session of ['', 'x', `${mine.session}0`, `${number}.`, `${number}.x`]) {
      equal((await report(session, [])).status, 422, `no session at all: ${session}`);
    }
    equal((await report(mine.session, [complete(mine.token, 'ok')])).json.results[0].ok, true, 'the true one');
  },
  async 'tokens and sessions of another data directory are none here'() {
    const there = await leased('twin', other), here = await leased('twin');
    equal(there.token.split('.').slice(0, 2).length, 2, 'they look alike');
    const [id, attempt, seq] = here.token.split('.');
    equal((await report(here.session, [complete(`${id}.${attempt}.${seq}.${sealOf(there.token)}`)])).json.code, 'lease-lost', 'the token');
    equal((await report(there.session, [])).json.code, 'session-lost', 'the session');
    equal((await report(here.session, [complete(here.token)])).status, 200, 'ours');
  },
  async 'over WebSocket alike'() {
    const node = await new FakeNode(hub.port, { name: 'ws' }).connect();
    const { id } = await hub.submit({ kind: 'test.job' });
    const lease = await until('a lease', 5000 * SLOW, () => node.leases[0]);
    secrets.push(sealOf(lease.token));
    const bare = lease.token.split('.').slice(0, 3).join('.');
    for (const token of [bare, change(lease.token)]) {
      const before = node.reported.length;
      node.report([complete(token)]);
      const answer = await until('an answer', 5000 * SLOW, () => node.reported[before]);
      equal(answer.refused, [{ token, code: 'lease-lost' }], 'even its own lease needs the seal');
    }
    equal((await hub.ok('GET', `/v1/tasks/${id}`)).state, 'leased', 'it is not ended');
    // A reconnect that does not know the seal has lost the lease; one that does goes on with it.
    node.cut();
    const back = await new FakeNode(hub.port, { name: 'ws', instance: node.instance, credit: 0, held: [lease.token] }).connect();
    equal(back.welcome.lost, [], 'held');
    back.cut();
    const blind = await new FakeNode(hub.port, { name: 'ws', instance: node.instance, credit: 0, held: [bare] }).connect();
    equal(blind.welcome.lost, [bare], 'not held');
    await blind.close();
    await hub.call('POST', `/v1/tasks/${id}:cancel`, {});
  },
  async 'a worker that shows its session keeps others away while it works'() {
    const mine = await leased('keeper');
    equal((await poll('keeper', { session: mine.session })).status, 200, 'its next call shows the session');
    const stranger = await poll('keeper');
    equal([stranger.status, stranger.json.code], [409, 'name-taken'], 'others are refused');
    await sleep(2000 * SLOW); // silent, but it holds a lease
    equal((await poll('keeper')).json.code, 'name-taken', 'also while it is busy');
    const node = await new FakeNode(hub.port, { name: 'keeper' }).connect().then(() => 'welcome', (error) => error.message);
    check(node.includes('name-taken'), `nor does a node end its work: ${node}`);
    equal((await report(mine.session, [complete(mine.token)])).status, 200, 'done');
    const next = await until('silent and free', 10000 * SLOW, async () => { const got = await poll('keeper'); return got.status === 200 ? got.json : null; });
    check(next.session !== mine.session, 'the next one has a session of its own');
    equal((await poll('keeper', { session: mine.session })).json.code, 'session-lost', 'the one before has none any more');
  },
  async 'they outlive the hub’s process, and are shown nowhere'() {
    const mine = await leased('lasting');
    const { id } = await hub.submit({ kind: 'test.job' });
    await hub.crash();
    const before = hub.process;
    await hub.start();
    equal((await report(mine.session, [complete(mine.token)])).json.results?.[0].ok, true, 'after kill -9');
    const texts = [before.err, before.out, hub.process.err];
    for (const target of ['/v1/nodes', '/v1/nodes/lasting', '/v1/tasks', `/v1/tasks/${mine.id}`, `/v1/tasks/${mine.id}/attempts`, `/v1/tasks/${id}`, '/v1/stats', '/metrics',
      '/readyz', '/status', '/v1/queues', '/openapi.json']) texts.push((await hub.get(target)).text);
    check(secrets.length > 8, 'there are secrets to look for');
    for (const text of texts) check(!secrets.some((secret) => text.includes(secret)), `no secret in ${text.slice(0, 60)}`);
    await hub.stop();
    await other.stop();
  },
});
