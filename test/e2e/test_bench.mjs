#!/usr/bin/env node
// shoal bench from the outside: a run with a hub, nodes, a proxy, faults and gates; its files; its exit codes; what remains when it
// is interrupted or killed; and what it makes of nonsense.
import { run, check, equal, until, sleep, TMP, SHOAL, SLOW } from './lib.mjs';
import { spawn, spawnSync, execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { createServer as createHttp } from 'node:http';
import { readFileSync, writeFileSync, mkdirSync, readdirSync, existsSync } from 'node:fs';
import path from 'node:path';

const scratch = path.join(TMP, 'scratch'); // where runs keep their hubs' data: nothing may stay in there
mkdirSync(scratch, { recursive: true });
const env = { ...process.env, TMPDIR: scratch };
const bench = (...args) => {
  const r = spawnSync(SHOAL, ['bench', ...args], { encoding: 'utf8', timeout: 180000 * SLOW, cwd: TMP, env, maxBuffer: 1 << 28 });
  return { code: r.status, out: r.stdout, err: r.stderr };
};
const scenario = (name, text) => {
  const file = path.join(TMP, `${name}.scenario`);
  writeFileSync(file, text);
  return file;
};
// Processes that were started for a folder below `scratch`: their command lines name it.
const processes = () => readdirSync('/proc').filter((pid) => {
  if (!/^\d+$/.test(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(scratch) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
});
const withServer = async (handler, body) => {
  const server = createHttp(handler);
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  try {
    return await body(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
};
// spawnSync would stop this process's own servers: they live on its event loop.
const benchAsync = (...args) => new Promise((resolve) => {
  const child = spawn(SHOAL, ['bench', ...args], { cwd: TMP, env });
  let out = '', err = '';
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => { err += data; });
  child.on('close', (code) => resolve({ code, out, err }));
});

await run({
  async 'a hub, nodes, a line, faults and gates: everything is in the report'() {
    const file = scenario('whole', `
title "Hub, nodes and faults"
seed 11
let rate 100
start hub
start proxy line to hub
start node worker kinds test.echo slots 2
target line timeout 5s
kind echo work 1..3ms
nodes 5 slots 4
flow main
  submit as submit
  get /status as status
phase warm-up constant 20/s for 1s discard
phase steady constant $rate/s for 8s
fault kill hub at 3s in steady for 300ms
fault delay line 5..10ms at 6s in steady for 1s
gate scheduled@steady > 100
gate recover.kill_hub < 20s
gate cpu.hub < 400%
gate lost_tasks == 0
`);
    const out = path.join(TMP, 'whole-report');
    const r = bench('run', file, '--set', 'rate=60', '--out', out);
    // on a machine with no time to spare the generator is late, and the run says so; its report is the same
    check(r.code === 0 || (r.code === 4 && /was late/.test(r.out)), `exit ${r.code}: ${r.out}${r.err}`);
    const report = JSON.parse(readFileSync(path.join(out, 'run.json'), 'utf8'));
    equal(report.schema, 'shoal-bench-run/1', 'schema');
    equal(report.defines[0], 'rate=60', 'defines');
    check(report.source.includes('fault kill hub'), 'the scenario is in the report');
    const run_ = report.series.find((s) => s.phase === '' && s.step === '');
    const c = run_.counts;
    equal(c.scheduled, c.ok + c.failed + c.timed_out + c.shed + c.in_flight, 'conservation');
    check(c.scheduled >= 450 && c.scheduled <= 1000, `of 8 s at 60 a second, two requests each: ${c.scheduled}`);
    for (const name of ['hub', 'worker', 'generator', 'machine']) check(report.processes.some((p) => p.name === name), `sampled: ${name}`);
    const kill = report.events.find((e) => e.fault === 'kill_hub');
    check(kill && kill.recovered_ns > 200e6, `recovery takes at least as long as the hub is down: ${JSON.stringify(kill)}`);
    equal(report.gates.length, 4, 'gates');
    for (const gate of report.gates) check(gate.is_met, `${gate.text}: ${gate.measured}`);
    const lines = readFileSync(path.join(out, 'series.ndjson'), 'utf8').trim().split('\n').map((l) => JSON.parse(l));
    check(lines.length >= 8, 'a line for each second');
    const samples = readFileSync(path.join(out, 'samples.ndjson'), 'utf8').trim().split('\n').map((l) => JSON.parse(l));
    check(samples.some((s) => s.scrape?.startsWith('shoal_')), 'lines of /metrics');
    check(samples.some((s) => s.process === 'hub' && s.memory_bytes > 1e6), "the hub's memory");
    for (const name of ['histograms.json', 'report.md', 'report.html', 'junit.xml', 'metrics.prom']) check(existsSync(path.join(out, name)), name);
    const show = bench('show', out, '--json');
    equal(show.code, 0, show.err);
    equal(JSON.stringify(JSON.parse(show.out).series), JSON.stringify(report.series), 'read back');
    equal(processes().length, 0, 'nothing runs on');
    equal(readdirSync(scratch).length, 0, 'no scratch files stay');
  },
  async 'exit codes: 0, 2, 3'() {
    await withServer((request, response) => response.end('fine'), async (url) => {
      const text = (gate) => `target ${url}\nflow main\n  get /\nphase load users 2 think 1..2ms for 1s\ngate ${gate}\n`;
      let r = await benchAsync('run', scenario('good', text('success > 99%')), '--out', path.join(TMP, 'good'));
      equal(r.code, 0, `met: ${r.out}${r.err}`);
      r = await benchAsync('run', scenario('missed', text('rate > 1000000')), '--out', path.join(TMP, 'missed'));
      equal(r.code, 3, `missed: ${r.out}${r.err}`);
      check(r.out.includes('MISSED'), 'says which');
      equal(JSON.parse(readFileSync(path.join(TMP, 'missed', 'run.json'), 'utf8')).verdict, 'gate-missed', 'verdict');
      check(/failures="1"/.test(readFileSync(path.join(TMP, 'missed', 'junit.xml'), 'utf8')), 'JUnit');
      r = await benchAsync('run', scenario('wrong', text('speed > 5')), '--no-report');
      equal(r.code, 2, `unknown metric: ${r.err}`);
      check(/line 5, column \d+/.test(r.err), `names line and column: ${r.err}`);
      // without --out the report has a folder of its own
      r = await benchAsync('run', scenario('good', text('success > 99%')));
      equal(r.code, 0, r.err);
      check(readdirSync(path.join(TMP, 'bench-runs')).some((n) => n.endsWith('-good')), 'bench-runs');
    });
    for (const args of [['run'], ['run', scenario('scaled', 'target http://127.0.0.1:9\nflow main\n  get /\nphase p users 1 for 1s\n'), '--time-scale', 'fast'], ['run', '/nonexistent.scenario'], ['rnu', 'x'], ['run', scenario('empty', '')], ['http', 'ftp://x/'], ['show', '/nonexistent'],
      ['run', scenario('set', 'let a 1\nflow main\n  get /\nphase p users 1 for 1s\ntarget http://127.0.0.1:9\n'), '--set', 'nobody=1']]) {
      const r = bench(...args);
      equal(r.code, 2, `${args.join(' ')}: ${r.out}${r.err}`);
      check(r.err.startsWith('shoal'), `one sentence: ${r.err}`);
    }
  },
  async 'exit code 4: a generator that had no time'() {
    await withServer((request, response) => response.end('fine'), async (url) => {
      const out = path.join(TMP, 'invalid');
      const file = scenario('invalid', `target ${url} timeout 5s\nflow main\n  get /\nphase load constant 100/s for 4s\ngate success > 0\n`);
      const child = spawn(SHOAL, ['bench', 'run', file, '--out', out], { cwd: TMP, env });
      let told = '';
      child.stderr.on('data', (data) => { told += data; });
      const ended = new Promise((resolve) => child.on('close', resolve));
      await until('it runs', 20000 * SLOW, () => told.includes('s load:'));
      child.kill('SIGSTOP'); // what came meanwhile is begun late, and that is not the target's doing
      await sleep(1200);
      child.kill('SIGCONT');
      equal(await ended, 4, `exit code: ${told}`);
      const report = JSON.parse(readFileSync(path.join(out, 'run.json'), 'utf8'));
      equal(report.verdict, 'invalid', 'verdict');
      check(/was late/.test(report.invalid_why), `and why: ${report.invalid_why}`);
      check(/errors="1"/.test(readFileSync(path.join(out, 'junit.xml'), 'utf8')), 'JUnit');
    });
  },
  async 'exit code 130: interrupted, with a partial report'() {
    const out = path.join(TMP, 'interrupted');
    const file = scenario('long', 'start hub\nflow main\n  get /status\nphase load users 2 think 5..10ms for 100s\ngate p99 < 10s\n');
    const child = spawn(SHOAL, ['bench', 'run', file, '--out', out], { cwd: TMP, env, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('close', resolve));
    await until('the hub runs', 20000 * SLOW, () => processes().length > 0);
    await sleep(2500 * SLOW);
    child.kill('SIGINT');
    equal(await ended, 130, 'exit code');
    const report = JSON.parse(readFileSync(path.join(out, 'run.json'), 'utf8'));
    equal(report.verdict, 'interrupted', 'verdict');
    check(report.duration_ns < 60e9 && report.series[0].counts.ok > 10, 'holds what there was');
    equal(processes().length, 0, 'nothing runs on');
  },
  async 'interrupted while it starts: exit code 130, nothing is left'() {
    const file = scenario('early', 'start hub\nflow main\n  get /status\nphase load users 2 for 100s\n');
    for (const [delay, signal] of [[0, 'SIGINT'], [20, 'SIGTERM'], [60, 'SIGHUP'], [150, 'SIGINT']]) {
      const child = spawn(SHOAL, ['bench', 'run', file, '--no-report'], { cwd: TMP, env, stdio: 'ignore' });
      const ended = new Promise((resolve) => child.on('close', resolve));
      await until('the hub is there', 20000 * SLOW, () => processes().length > 0);
      await sleep(delay);
      child.kill(signal);
      equal(await ended, 130, `exit code with ${signal} after ${delay} ms`);
      equal(processes().length, 0, 'nothing runs on');
    }
  },
  async 'a folder that cannot be written, and absurd scales, are told before the run'() {
    const file = scenario('soon', 'start hub\nflow main\n  get /status\nphase load users 2 for 100s\n');
    for (const args of [['--out', file], ['--out', '/proc/none'], ['--time-scale', 'inf'], ['--time-scale', '1e-300']]) {
      const r = bench('run', file, ...args);
      check(r.code === 2 || r.code === 13, `${args}: exit ${r.code}: ${r.err}`);
    }
  },
  async 'kill -9 of the run leaves nothing behind'() {
    const file = scenario('killed', `start hub
start node worker kinds test.echo
start exec files "python3 -m http.server --bind 127.0.0.1 --directory ${scratch} \${port}"
flow main\n  get /status\nphase load users 2 think 5..10ms for 100s\n`);
    const child = spawn(SHOAL, ['bench', 'run', file, '--no-report'], { cwd: TMP, env, stdio: 'ignore' });
    await until('hub, node and server run', 30000 * SLOW, () => processes().length >= 3);
    await sleep(300);
    child.kill('SIGKILL');
    await until('all of them are gone', 10000 * SLOW, () => processes().length === 0);
  },
  async 'targets that refuse, reset, stall or talk nonsense are counted, not a crash'() {
    const behaviours = {
      reset: (socket) => socket.once('data', () => socket.resetAndDestroy()),
      nonsense: (socket) => socket.once('data', () => socket.end('\x00\x01\x02 not at all HTTP\r\n\r\n')),
      timed_out: () => {},
    };
    for (const [name, behave] of Object.entries(behaviours)) {
      const server = createServer((socket) => { socket.on('error', () => {}); behave(socket); });
      await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
      const r = await benchAsync('http', `http://127.0.0.1:${server.address().port}/`, '--rate', '50', '--connections', '60', '--for', '1s', '--timeout', '300ms', '--json');
      server.close();
      const report = JSON.parse(r.out);
      const c = report.series[0].counts;
      equal(c.scheduled, c.ok + c.failed + c.timed_out + c.shed + c.in_flight, `${name}: conservation`);
      equal(c.ok, 0, `${name}: nothing is right`);
      check(c.errors[name] > 0, `${name}: ${JSON.stringify(c)}`);
    }
    const gone = await benchAsync('http', 'http://127.0.0.1:9/', '--rate', '20', '--for', '1s', '--json');
    check(gone.code !== null && gone.code !== 134, `ended by itself: ${gone.code}`);
    const counts = JSON.parse(gone.out).series[0].counts;
    check(counts.errors.refused > 0, `refused: ${JSON.stringify(counts)}`);
  },
  async 'the one-liner, its options, and its help'() {
    const seen = [];
    await withServer((request, response) => {
      let body = '';
      request.on('data', (data) => { body += data; });
      request.on('end', () => { seen.push([request.method, request.url, request.headers['x-mark'], body]); response.end('fine'); });
    }, async (url) => {
      const r = await benchAsync('http', `${url}/a/b?c=d`, '--connections', '3', '--for', '500ms', '--header', 'X-Mark: yes', '--body', '{"n":1}', '--json');
      equal(r.code, 0, r.err);
      check(JSON.parse(r.out).series[0].counts.ok > 5, 'answers');
    });
    equal(JSON.stringify(seen[0]), JSON.stringify(['POST', '/a/b?c=d', 'yes', '{"n":1}']), 'what was asked');
    check(!existsSync(path.join(TMP, 'bench-runs')) || !readdirSync(path.join(TMP, 'bench-runs')).some((n) => n.endsWith('-http')), 'it writes no report unless --out asks for one');
    const help = execFileSync(SHOAL, ['help', 'bench'], { encoding: 'utf8' });
    for (const word of ['run', 'http', 'check', 'list', 'show', 'metrics', '--time-scale', '--out']) check(help.includes(word), `help tells of ${word}`);
  },
});
