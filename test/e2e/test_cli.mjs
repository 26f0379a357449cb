#!/usr/bin/env node
// The command line as people meet it: what strangers' text does to a terminal, how a wait ends, the short form for programs.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Hub, FakeNode, run, check, equal, until, SHOAL, TMP, SLOW } from './lib.mjs';

const hub = await new Hub().start();
for (const kind of ['test.job', 'code.run']) await hub.ok('PUT', `/v1/kinds/${kind}`);
const dir = path.join(TMP, 'cli');
mkdirSync(dir, { recursive: true });

// One command; stdin is a pipe with `input`, or closed. With `tty`, everything is a terminal (script of util-linux).
function shoal(args, { input, tty = false, env = {} } = {}) {
  const words = [SHOAL, ...args];
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const child = tty ? spawn('script', ['-qefc', quoted, '/dev/null'], options()) : spawn(words[0], args, options());
  function options() {
    return { cwd: dir, env: { ...process.env, TERM: 'xterm', SHOAL_HUB: hub.url, ...env }, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] };
  }
  const result = { child, out: '', err: '' };
  child.stdout.on('data', (d) => { result.out += d.toString('latin1'); });
  child.stderr.on('data', (d) => { result.err += d.toString('latin1'); });
  if (input !== undefined) child.stdin.end(input);
  result.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(Object.assign(result, { code, signal }))));
  return result;
}
const ran = (args, options) => shoal(args, options).ended;

// The sequences that our own colours and progress line are made of; whatever else a terminal would obey is somebody else's.
const ours = /\x1b\[(?:0|2|31|32|33|34|36)m|\r\x1b\[K|\r\n/g;
function isPlain(text, what) {
  const rest = text.replace(ours, '\n');
  const found = rest.match(/[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/);
  check(!found, `${what} shows no control character: ${JSON.stringify(found?.[0])} in ${JSON.stringify(rest.slice(0, 600))}`);
}

const nasty = 'bad\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\rover\nstate      succeeded';

await run({
  async "a worker's words reach no terminal"() {
    const node = await new FakeNode(hub.port, { name: 'evil', credit: 1 }).connect();
    const failed = await hub.submit({ kind: 'test.job', retry: { max: 1 } });
    const lease = await until('a lease', 10000 * SLOW, () => node.leases[0]);
    node.report([{ token: lease.token, outcome: 'fail', error: { kind: 'code', message: nasty, detail: { why: nasty } }, final: true }], 1);
    await hub.final(failed.id);
    const running = await hub.submit({ kind: 'test.job' });
    const second = await until('a second lease', 10000 * SLOW, () => node.leases[1]);
    node.report([{ token: second.token, outcome: 'progress', permille: 500, note: nasty }]);
    await until('the progress is there', 10000 * SLOW, async () => (await hub.ok('GET', `/v1/tasks/${running.id}`)).progress);
    for (const tty of [false, true]) {
      const all = [['ls'], ['get', failed.id], ['get', failed.id, '--attempts'], ['get', failed.id, '--result'], ['get', running.id],
        ['tail', failed.id], ['nodes'], ['nodes', 'evil'], ['get', failed.id, '--json'], ['submit', 'test.job', '--wait-for', '1s', '--queue', nasty]];
      for (const args of all) {
        const { out, err } = await ran(args, { tty });
        isPlain(out + err, `shoal ${args.join(' ')}${tty ? ' in a terminal' : ''}`);
        if (args[0] === 'get' && !args.includes('--json')) {
          check(!/^state {6}succeeded/m.test(out), 'a message does not make a line that looks like ours');
        }
      }
    }
    const text = (await ran(['get', failed.id])).out;
    check(text.includes('\\u001b[2J') && text.includes('\\u009b31m') && text.includes('\\u202e'), 'what was there is shown escaped');
    const json = JSON.parse(Buffer.from((await ran(['get', failed.id, '--json'])).out, 'latin1').toString());
    equal(json.error.message, nasty, 'as JSON nothing is lost');
    await node.close();
  },

  async '--wait-for ends in time, whether the hub is there, frozen or gone'() {
    const { id } = await hub.submit({ kind: 'test.job', requires: { labels: ['nowhere'] } });
    const timed = async (what) => {
      const begun = Date.now();
      const result = await ran(['get', id, '--wait-for', '700ms']);
      const took = Date.now() - begun;
      check(took >= 690 && took < 6000 * SLOW, `${what}: ended after ${took} ms`);
      check(result.code !== 0 && result.err.includes(`shoal get ${id} --wait`), `${what}: says how to go on: ${result.err}`);
    };
    await timed('there');
    hub.process.child.kill('SIGSTOP');
    try {
      await timed('frozen');
    } finally {
      hub.process.child.kill('SIGCONT');
    }
    const port = hub.port;
    await hub.crash();
    await timed('gone');
    hub.port = port;
    await hub.start();
  },

  async 'Ctrl-C while waiting says which task goes on and how to follow or end it'() {
    for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15]]) {
      const { id } = await hub.submit({ kind: 'test.job', requires: { labels: ['nowhere'] } });
      const waiting = shoal(['get', id, '--wait']);
      await until('it waits: the signal is caught', 20000 * SLOW, () => {
        const caught = readFileSync(`/proc/${waiting.child.pid}/status`, 'utf8').match(/SigCgt:\s*([0-9a-f]+)/);
        return (BigInt(`0x${caught[1]}`) >> BigInt(number - 1)) & 1n;
      });
      waiting.child.kill(signal);
      await waiting.ended;
      equal(waiting.signal, signal, 'ends as the signal ends a program');
      check(waiting.err.includes(`the task ${id} goes on; "shoal get ${id} --wait --result" follows it, "shoal cancel ${id}" ends it`), waiting.err);
    }
  },

  async 'a file is enough: run and submit know a program from a kind'() {
    writeFileSync(path.join(dir, 'hello.py'), 'print(1)\n');
    writeFileSync(path.join(dir, 'extra.txt'), 'x');
    const inputs = [];
    let result = { phase: 'run', verdict: 'OK', exit: 0, signal: null, stdout: 'printed\n', stderr: '', truncated: false };
    const node = await new FakeNode(hub.port, { name: 'runner', kinds: ['code.run'], credit: 1,
      work: (lease, self) => { inputs.push(lease.input); self.complete(lease.token, result); } }).connect();
    const one = await ran(['run', 'hello.py', 'a', '--file', 'extra.txt', 'b', '--', '--fast']);
    equal([one.code, one.out], [0, 'printed\n'], 'shoal run prints what the program prints');
    equal([inputs[0].lang, inputs[0].args, inputs[0].files.map((f) => f.path)], ['python', ['a', 'b', '--fast'], ['hello.py', 'extra.txt']], 'what it sent');
    equal(inputs[0].stdin, undefined, 'no standard input');
    await ran(['run', './hello.py'], { input: '3 4\n' });
    equal(inputs[1].stdin, '3 4\n', 'a pipe is handed on');
    const two = await ran(['submit', 'hello.py', 'x']);
    check(two.code === 0 && /^[0-9a-z]{13}\n$/.test(two.out), 'shoal submit FILE prints the id');
    await hub.final(two.out.trim());
    equal(inputs[2].args, ['x'], 'with its arguments');
    const missing = await ran(['run', 'nothing.py']);
    check(missing.code !== 0 && missing.err.includes('cannot read nothing.py'), missing.err);
    const option = await ran(['run', 'hello.py', '--fast']);
    check(option.code === 2 && option.err.includes('" -- "'), option.err);
    const words = await ran(['submit', 'test.job', 'x']);
    check(words.code === 2 && words.err.includes('one word too many'), words.err);

    result = { ...result, verdict: 'RE', exit: 3, stdout: 'half a line', stderr: 'no end' };
    const apart = await ran(['run', 'hello.py']);
    equal([apart.code, apart.out, apart.err.split('\n')[0]], [1, 'half a line', 'no end'], "the program's last line is its own");
    check(apart.err.split('\n')[1].startsWith('RE'), `ours stands below: ${apart.err}`);
    const seen = await ran(['run', 'hello.py'], { tty: true });
    check(/half a line.*no end\r?\n.*RE/s.test(seen.out), `in a terminal too: ${JSON.stringify(seen.out)}`);
    for (const [verdict, words] of [['TLE', "its own time"], ['MLE', 'its own memory'], ['OLE', 'printed more']]) {
      result = { phase: 'compile', verdict, exit: null, signal: null, stdout: '', stderr: '', truncated: false };
      const cut = await ran(['run', 'hello.py']);
      check(cut.err.includes(`${verdict} in compile (the compiler`) && cut.err.includes(words), cut.err);
    }
    await node.close();
  },

  async 'what no node can run says so at once and later'() {
    const node = await new FakeNode(hub.port, { name: 'small', kinds: ['test.job'], labels: ['here'], credit: 0 }).connect();
    const fine = await ran(['submit', 'test.job', '--label', 'here', '--cpu', '2']);
    equal(fine.err, '', 'a node that is here could run it, though it is busy');
    const hopeless = await ran(['submit', 'test.job', '--label', 'here', '--label', 'room=9', '--cpu', '64']);
    check(hopeless.code === 0 && hopeless.err.includes('no node that is here now can run it; it needs the kind test.job, the label here, the label room=9, cpu 64'), hopeless.err);
    const text = (await ran(['get', hopeless.out.trim()])).out;
    check(/^hint {7}no node that is here/m.test(text), text);
    await node.close();
    await until('it is gone', 10000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/small')).state === 'gone');
    const alone = await ran(['submit', 'test.job', '--delay', '1h']);
    check(alone.err.includes('no node that is here'), 'nobody is here at all');
  },

  async 'durations have units, compound ones are understood'() {
    const bare = await ran(['submit', 'test.job', '--delay', '90']);
    check(bare.code === 2 && bare.err.includes('with its unit'), bare.err);
    const both = JSON.parse((await ran(['submit', 'test.job', '--delay', '1h30m', '--timeout', '1.5h', '--json'])).out);
    const task = await hub.ok('GET', `/v1/tasks/${both.id}`);
    const delay = Date.parse(task.run_at) - Date.parse(task.created_at);
    equal([task.state, Math.round(delay / 1000), task.timeout_ms], ['scheduled', 5400, 5400000], 'an hour and a half');
  },
});
