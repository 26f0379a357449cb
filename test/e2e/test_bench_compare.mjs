#!/usr/bin/env node
// shoal bench compare, history and capacity with real runs; and the simulator with a scenario as its workload.
import { run, check, equal, TMP, SHOAL, SLOW } from './lib.mjs';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync, mkdirSync, existsSync } from 'node:fs';
import path from 'node:path';

const shoal = (...args) => {
  const r = spawnSync(SHOAL, args, { encoding: 'utf8', timeout: 240000 * SLOW, cwd: TMP, env: { ...process.env, TMPDIR: TMP }, maxBuffer: 1 << 28 });
  return { code: r.status, out: r.stdout, err: r.stderr };
};
const file = path.join(TMP, 'small.scenario');
writeFileSync(file, `let pause 0ms
start hub
kind k work 0..1ms
nodes 4 slots 8
flow f
  submit
  think $pause
phase warm-up users 2 for 300ms discard
phase load users 2 for 1500ms
`);

await run({
  async 'a pause makes it slower, and nothing makes it slower than itself'() {
    const slower = shoal('bench', 'compare', file, file, '--rounds', '4', '--b-set', 'pause=100ms', '--json', '--metric', 'goodput');
    equal(slower.code, 0, slower.err);
    const metric = JSON.parse(slower.out).metrics[0];
    equal(metric.verdict, 'slower', slower.out);
    equal(metric.a.length, 4);
    check(metric.ratio_high < 0.5 && metric.ratio_low <= metric.ratio && metric.ratio <= metric.ratio_high, slower.out);
    const program = shoal('bench', 'compare', SHOAL, SHOAL, '--scenario', file, '--rounds', '3', '--json', '--metric', 'success');
    equal(program.code, 0, program.err);
    equal(JSON.parse(program.out).verdict, 'same', program.out);
  },
  async 'reports are compared by their seconds, and found by history'() {
    mkdirSync(path.join(TMP, 'runs'), { recursive: true });
    for (const name of ['a', 'b']) {
      const r = shoal('bench', 'run', file, '--no-live', '--out', `runs/${name}`);
      check(r.code === 0 || r.code === 4, r.err);
    }
    const compared = shoal('bench', 'compare', 'runs/a', 'runs/b');
    check([0, 4].includes(compared.code), compared.err);
    const history = shoal('bench', 'history', 'runs', '--json');
    equal(history.code, 0, history.err);
    const all = JSON.parse(history.out);
    equal(all.scenarios.length, 1);
    equal(all.scenarios[0].runs.length, 2);
    equal(shoal('bench', 'history', 'nowhere').code, 2);
  },
  async 'capacity finds a rate, or says that the generator was the limit'() {
    const r = shoal('bench', 'capacity', file, '--from', '200', '--users', '4', '--quick', '--out', 'cap', '--json');
    check([0, 3, 4].includes(r.code), r.err);
    const found = JSON.parse(r.out);
    equal(found.schema, 'shoal-bench-capacity/1');
    check(found.points.length > 0 && found.points[0].asked === 200, r.out);
    check(found.sustained === 0 || found.points.some((p) => p.sustained && p.asked === found.sustained), r.out);
    check(r.code !== 0 || (found.overloads.length === 3 && found.users.length === 3), r.out);
    check(existsSync(path.join(TMP, 'cap', 'capacity.md')), 'capacity.md');
    equal(JSON.parse(readFileSync(path.join(TMP, 'cap', 'capacity.json'))).sustained, found.sustained);
  },
  async 'mistakes have a place and the exit code 2'() {
    const bad = path.join(TMP, 'bad.scenario');
    writeFileSync(bad, 'start hub\nflow f\n  gte /\nphase p users 1 for 1s\n');
    for (const args of [['compare', bad, file], ['capacity', bad], ['check', bad]]) {
      const r = shoal('bench', ...args);
      equal(r.code, 2, r.err);
      check(r.err.includes('line 3, column 3'), r.err);
    }
    equal(shoal('bench', 'compare', SHOAL, file).code, 2); // a program, and nothing that it could run
    equal(shoal('bench', 'compare', file, file, '--metric', 'godput').code, 2);
  },
  async 'the simulator takes a scenario'() {
    const r = shoal('sim', '--seeds', '1', '--steps', '2000', '--workload', file);
    equal(r.code, 0, r.err);
    writeFileSync(path.join(TMP, 'many.scenario'), 'kind k\nnodes 5000\n');
    const many = shoal('sim', '--seeds', '1', '--workload', path.join(TMP, 'many.scenario'));
    equal(many.code, 2, many.err);
    check(many.err.includes('at most 32 nodes'), many.err);
  },
});
