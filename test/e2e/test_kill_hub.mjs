#!/usr/bin/env node
// kill -9 the hub at random moments under load, 50 times, and account for every acknowledged task.
//
// Submitters send single tasks and batches, each task with a number of its own; nodes of our own complete them and say
// which number they worked on. Every submit that was answered must be found succeeded exactly once, with the right result,
// after all the crashes. A submit that was never answered may exist or not, but at most once (its idempotency key is sent
// again until it is answered).
import { Hub, FakeNode, run, check, equal, sleep, until, SLOW } from './lib.mjs';

const KILLS = 50;
const SUBMITTERS = 8;
const NODES = 3;

let seed = Number(process.env.SEED ?? Date.now() % 1e9);
const random = () => { // xorshift32, so that a failure can be run again with SEED=
  seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5; seed >>>= 0;
  return seed / 2 ** 32;
};
console.log(`SEED=${seed}`);

await run({
  async 'fifty crashes lose and double nothing'() {
    const hub = await new Hub({ args: [] }).start();
    await hub.ok('PUT', '/v1/kinds/test.job');
    const acknowledged = new Map(); // number -> task id
    const idOf = new Map();         // task id -> number
    const reportsAccepted = new Map(); // task id -> accepted completes
    let isSubmitting = true, isWorking = true, number = 0;

    const submitter = async (me) => {
      while (isSubmitting) {
        const isBatch = random() < 0.3;
        const count = isBatch ? 1 + Math.floor(random() * 40) : 1;
        const tasks = Array.from({ length: count }, () => ({ kind: 'test.job', input: { n: number++ },
          fairness_key: `s${me}`, retry: { max: 50, base_ms: 10 } }));
        const key = `k${me}-${tasks[0].input.n}`;
        for (;;) { // until answered: the same key and body, so that at most one of each comes to be
          try {
            const answer = isBatch
              ? await hub.post('/v1/tasks:batch', tasks, { headers: { 'idempotency-key': key }, timeout: 10000 * SLOW })
              : await hub.post('/v1/tasks', tasks[0], { headers: { 'idempotency-key': key }, timeout: 10000 * SLOW });
            if (answer.status === 503) { await sleep(50); continue; }
            check(answer.status < 300, `submit is answered: ${answer.status} ${answer.text}`);
            const results = isBatch ? answer.json.results : [answer.json];
            equal(results.length, count, 'a result for each task');
            results.forEach((r, i) => {
              check(typeof r.id === 'string', `an id in ${JSON.stringify(r)}`);
              check(!idOf.has(r.id) || idOf.get(r.id) === tasks[i].input.n, `id ${r.id} names one task`);
              acknowledged.set(tasks[i].input.n, r.id);
              idOf.set(r.id, tasks[i].input.n);
            });
            break;
          } catch (error) {
            if (/does not hold/.test(error.message)) throw error;
            await sleep(20 + random() * 30);
          }
        }
        await sleep(random() * 4);
      }
    };

    const node = async (name) => {
      const instance = Math.floor(random() * 2 ** 48).toString(16).padStart(16, '0');
      let unreported = []; // completes that no `reported` has answered yet
      while (isWorking) {
        const waiting = []; // tokens of each report sent, in order
        const fake = new FakeNode(hub.port, { name, instance, credit: 16, held: unreported.map((o) => o.token),
          work: (lease, self) => {
            const outcome = { token: lease.token, task: lease.task, outcome: 'complete', result: { n: lease.input.n, by: name } };
            unreported.push(outcome);
            setTimeout(() => {
              const { task, ...wire } = outcome;
              waiting.push(outcome);
              self.report([wire], 1);
            }, random() * 10);
          } });
        fake.onReported = null;
        const plain = fake.onMessage.bind(fake);
        fake.onMessage = (message) => {
          plain(message);
          if (message.type === 'reported') {
            const outcome = waiting.shift();
            unreported = unreported.filter((o) => o !== outcome);
            if (message.refused.length === 0) {
              reportsAccepted.set(outcome.task, (reportsAccepted.get(outcome.task) ?? 0) + 1);
            }
          }
        };
        try {
          await fake.connect();
          const lost = new Set(fake.welcome.lost ?? []);
          unreported = unreported.filter((o) => !lost.has(o.token));
          for (const outcome of unreported) {
            if (waiting.includes(outcome)) continue;
            const { task, ...wire } = outcome;
            waiting.push(outcome);
            fake.report([wire]);
          }
          await fake.closed;
        } catch {
          fake.cut?.();
        }
        await sleep(20 + random() * 60);
      }
    };

    const work = [];
    for (let i = 0; i < SUBMITTERS; i++) work.push(submitter(i));
    const nodes = [];
    for (let i = 0; i < NODES; i++) nodes.push(node(`n${i}`));

    let failed;
    Promise.all(work).catch((error) => { failed = error; });
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(30 + random() * 400);
      if (failed) throw failed;
      await hub.crash();
      await hub.start();
    }
    isSubmitting = false; // the nodes go on until everything is done
    await Promise.all(work);
    console.log(`     ${acknowledged.size} acknowledged tasks, ${KILLS} kills`);
    check(acknowledged.size > KILLS * 5, 'there was load');

    await until('no task waits', 120000 * SLOW, async () => {
      const stats = await hub.ok('GET', '/v1/stats');
      const c = stats.tasks?.counts ?? stats.counts;
      return c.ready + c.leased + c.scheduled === 0;
    });
    for (const [n, id] of acknowledged) {
      const task = await hub.ok('GET', `/v1/tasks/${id}`);
      equal(task.state, 'succeeded', `task ${id} (${n})`);
      equal(task.input, { n }, `input of ${id}`);
      equal(task.result.n, n, `result of ${id}`);
      check((reportsAccepted.get(id) ?? 0) <= 1, `${id} was completed once, not ${reportsAccepted.get(id)} times`);
    }
    // Nothing was doubled: as many tasks as numbers that were answered, none beside them.
    const seen = new Map();
    let cursor = '';
    do {
      const page = await hub.ok('GET', `/v1/tasks?limit=1000${cursor ? `&cursor=${cursor}` : ''}`);
      for (const item of page.items) {
        check(!seen.has(item.id), `list shows ${item.id} once`);
        seen.set(item.id, item);
      }
      cursor = page.next_cursor;
    } while (cursor);
    equal(seen.size, acknowledged.size, 'the list holds what was acknowledged and nothing else');
    isWorking = false;
    await hub.stop();
    await Promise.all(nodes);
  },
});
