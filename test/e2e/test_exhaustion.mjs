#!/usr/bin/env node
// Tables that fill up: one caller cannot fill them for everybody, what exists goes on, and what nobody needs makes room.
import { Hub, check, equal, run, until, SLOW } from './lib.mjs';

const hub = await new Hub({ args: ['--set', 'durability=none'] }).start();
await hub.ok('PUT', '/v1/kinds/test.job');
const kinds = async () => (await hub.ok('GET', '/v1/kinds?limit=1000')).items.map((k) => k.name);

await run({
  async 'a poll that names kinds nobody knows stores nothing'() {
    const before = await kinds();
    const nodes = (await hub.ok('GET', '/v1/nodes')).items.length;
    const polls = Array.from({ length: 300 }, (_, i) => hub.post('/v1/leases', { node: `poller-${i}`, kinds: Array.from({ length: 64 }, (_, k) => `made.up-${i}-${k}`) }));
    for (const answer of await Promise.all(polls)) {
      equal([answer.status, answer.json.code], [422, 'kind-unknown'], 'refused');
      check(answer.json.errors[0].detail.includes('/v1/kinds/made.up-'), 'and told what to do');
    }
    const mixed = await hub.ok('POST', '/v1/leases', { node: 'mixed', kinds: ['made.up', 'test.job'] });
    equal(mixed.leases, [], 'one that is known is enough');
    equal((await hub.ok('GET', '/v1/nodes/mixed')).kinds, ['test.job'], 'and the only one that is kept');
    equal(await kinds(), before, 'no kind became known');
    equal((await hub.ok('GET', '/v1/nodes')).items.length, nodes + 1, 'no node either');
  },
  async 'a kind that becomes known is matched by the next poll'() {
    await hub.ok('PUT', '/v1/kinds/made.up');
    const { id } = await hub.submit({ kind: 'made.up' });
    const { session, leases } = await hub.ok('POST', '/v1/leases', { node: 'mixed', kinds: ['made.up', 'test.job'], wait_ms: 5000 });
    equal(leases.map((l) => l.task), [id], 'leased');
    await hub.ok('POST', '/v1/leases:report', { session, outcomes: [{ token: leases[0].token, outcome: 'complete' }] });
  },
});
