#!/usr/bin/env node
// Programs that attack the sandbox, through a real hub and a real node: each ends in the right verdict, nothing of it is
// left behind, and the node goes on working.
import { Hub, Process, nodeReady, skipped, run, check, equal, sleep, until, SLOW, TMP } from './lib.mjs';
import { existsSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const SLOTS = 3;
const source = String.raw; // what is written between the quotes is what the program reads
const nodeData = path.join(TMP, 'node');
const hub = await new Hub().start();
let node, facts;

async function startNode() {
  node = new Process(['node', '--hub', hub.url, '--name', 'n1', '--slots', String(SLOTS), '--data', nodeData], { name: 'node' });
  await nodeReady(node);
  facts = (await hub.ok('GET', '/v1/nodes/n1')).info;
  check(facts.sandbox, 'the node offers code.run');
}
await startNode().catch(skipped);

// --- what is left ---
function slotUsers() {
  const range = facts.sandbox.users.match(/^(\d+) to (\d+)/);
  return range ? [Number(range[1]), Number(range[2])] : null; // null: a node that is not root has no users of its own
}
function slotProcesses() {
  const users = slotUsers();
  return !users ? [] : readdirSync('/proc').filter((entry) => /^\d+$/.test(entry)).filter((entry) => {
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      const uid = Number(status.match(/^Uid:\s+(\d+)/m)[1]);
      return uid >= users[0] && uid <= users[1] && !/^State:\s+[ZX]/m.test(status);
    } catch { return false; } // it has ended meanwhile
  });
}
function groups() {
  const dir = facts.sandbox.groups;
  return dir && existsSync(dir) ? readdirSync(dir).filter((entry) => entry.startsWith('run-')) : [];
}
function dataFiles() {
  return readdirSync(nodeData, { recursive: true }).map(String).sort()
    .filter((name) => !/^code\.run\/(cache|blobs)\/[0-9a-f]{64}$/.test(name)); // what the two stores keep
}
const mounts = () => readFileSync(`/proc/${node.pid}/mounts`, 'utf8');
// Without those of memory files: the cache holds what it compiled.
// The stores of programs and blobs keep up to 128 of their files open each; that is no leak, more would be one.
const STORE = /^\/memfd:|\/code\.run\/(cache|blobs)\//;
const open = () => readdirSync(`/proc/${node.pid}/fd`).flatMap((fd) => {
  try { return [readlinkSync(`/proc/${node.pid}/fd/${fd}`)]; } catch { return []; }
});
const descriptors = () => {
  const files = open(), stored = files.filter((file) => STORE.test(file) && !file.startsWith('/memfd:'));
  check(stored.length <= 2 * 128, `${stored.length} files of the stores are open`);
  return files.filter((file) => !STORE.test(file)).length;
};

// --- submitting ---
const entries = { python: 'main.py', javascript: 'main.js', c: 'main.c', cpp: 'main.cpp', java: 'Main.java' };
async function submit(lang, text, limits = {}, more = {}) {
  return (await hub.submit({ kind: 'code.run', retry: { max: 1 }, input: { lang, files: [{ path: entries[lang], text }],
    limits: { cpu_ms: 2000 * SLOW, wall_ms: 5000 * SLOW, mem_mib: 64, ...limits }, ...more } })).id;
}
async function play(lang, text, limits, more) {
  const task = await hub.final(await submit(lang, text, limits, more), 150000); // a compiler may take 90 s
  if (task.state !== 'succeeded') return { verdict: `failed with ${task.error?.kind}: ${task.error?.message}` };
  return task.result;
}
const c = (body) => `#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {\n${body}\n}`;

// name: [language, source, verdicts that are right, limits, what stdout must hold]
const hasGroups = facts.sandbox.limits !== 'polling';
const attacks = {
  // taking more than was given
  'a fork bomb': ['c', c('for (;;) fork();'), 'TLE', { cpu_ms: 500, mem_mib: 512 }],
  'a fork bomb of daemons': ['python', 'import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass', 'TLE', { cpu_ms: 500, mem_mib: 1024 }],
  'a bomb of threads': ['java', 'public class Main { public static void main(String[] a) { for (;;) new Thread(() -> { for (;;); }).start(); } }', 'TLE|RE|MLE', { cpu_ms: 1000, mem_mib: 256 }],
  'a memory bomb in C': ['c', c('for (;;) memset(malloc(1 << 20), 1, 1 << 20);'), 'MLE'],
  'a memory bomb in C++': ['cpp', '#include <vector>\nint main() { std::vector<int> v; for (;;) v.push_back(1); }', 'MLE'],
  'a memory bomb in Python': ['python', 'a = []\nwhile True: a.append(bytearray(1 << 20))', 'MLE'],
  'a memory bomb in JavaScript': ['javascript', 'const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1));', 'MLE', { mem_mib: 128 }],
  'a memory bomb in Java': ['java', 'import java.util.*; public class Main { public static void main(String[] a) { List<byte[]> l = new ArrayList<>(); for (;;) l.add(new byte[1 << 20]); } }', 'MLE', { mem_mib: 128, cpu_ms: 5000 * SLOW }],
  'memory in twenty processes': ['c', c('for (int i = 0; i < 20; i++) if (fork() == 0) { memset(malloc(8 << 20), 1, 8 << 20); pause(); } pause();'), 'MLE'],
  'memory in files of memory': ['c', c('static char b[1 << 20]; for (int i = 0; i < 20; i++) { int f = memfd_create("f", 0); if (f < 0) return 3; for (int k = 0; k < 8; k++) if (write(f, b, sizeof b) < 0) return 4; } sleep(1); return 5;'), hasGroups ? 'MLE' : 'RE'],
  'memory in shared segments': ['c', c('for (int i = 0; i < 20; i++) { int id = shmget(IPC_PRIVATE, 8 << 20, 0600 | IPC_CREAT); if (id < 0) return 3; char *p = shmat(id, 0, 0); memset(p, 1, 8 << 20); shmdt(p); } sleep(1); return 5;'), hasGroups ? 'MLE' : 'RE'],
  'a full disk': ['c', c('static char b[1 << 20]; int f = open("fill", O_CREAT | O_WRONLY, 0600), n = 0; while (write(f, b, sizeof b) > 0) n++; printf("%d %d", n <= 9, errno == ENOSPC);'), 'OK', { fs_mib: 8 }, /^1 1$/],
  'a sparse file': ['c', c('signal(SIGXFSZ, SIG_IGN); return ftruncate(open("f", O_CREAT | O_RDWR, 0600), 1L << 40) == 0;'), 'OK'],
  'endless output': ['c', c('for (;;) { (void)!write(1, "no line feed ", 13); (void)!write(2, "here ", 5); }'), 'OLE'],
  'endless output after its end': ['c', c('static char b[60000]; memset(b, 120, sizeof b); (void)!write(1, b, sizeof b); return 0;'), 'OLE', { out_kib: 1 }],
  'as much output as there may be': ['python', 'import os\nos.write(1, b"x" * 512)\nos.write(2, b"y" * 512)', 'OK', { out_kib: 1 }],
  'processor time without output': ['c', c('close(0); close(1); close(2); for (volatile int i = 0;; i++);'), 'TLE', { cpu_ms: 300 }],
  'processor time with SIGXCPU ignored': ['c', c('signal(SIGXCPU, SIG_IGN); for (volatile int i = 0;; i++);'), 'TLE', { cpu_ms: 300 }],
  'stopping itself': ['python', 'import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)', 'TLE', { wall_ms: 500 }],
  'raising its limits': ['c', c('struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; int which[] = {RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_CPU}; for (int i = 0; i < 4; i++) if (setrlimit(which[i], &all) == 0) return 1; int n = getpriority(PRIO_PROCESS, 0); return n > -20 && setpriority(PRIO_PROCESS, 0, n - 1) == 0;'), 'OK'],
  'a compiler bomb': ['cpp', 'template <int N, int M> struct T { static const long v = T<N - 1, M * 2>::v + T<N - 1, M * 2 + 1>::v; };\ntemplate <int M> struct T<0, M> { static const long v = 1; };\nint main() { return T<20, 0>::v + T<60, 1>::v; }', 'CE|MLE|TLE|OLE'],
  'an endless include': ['c', '#include "/dev/zero"\nint main(void) { return 0; }', 'MLE|CE'],
  // reaching out
  'the network': ['python', 'import socket\nfor f in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET):\n  try: socket.socket(f, socket.SOCK_STREAM); print("open", f)\n  except OSError as e: print(e.errno)', 'OK', {}, /^(13\n){4}$/],
  'the network from JavaScript': ['javascript', 'for (const h of ["127.0.0.1", "::1"]) require("net").connect(80, h).on("error", (e) => console.log(e.code));', 'OK', { mem_mib: 128 }, /^(EACCES\n){2}$/],
  'sockets of the machine': ['python', 'import socket\nfor n in ("\\0shoal-uids-1900000000", "/run/dbus/system_bus_socket", "/var/run/docker.sock"):\n  try: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(n); print("open", n)\n  except OSError: pass', 'OK', {}, /^$/],
  'tracing': ['c', c('return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0;'), 'SECURITY'],
  'the memory of another process': ['c', c('char b[8]; struct iovec v = {b, 8}; return process_vm_readv(1, &v, 1, &v, 1, 0) > 0;'), 'SECURITY'],
  'a namespace of its own': ['c', c('return syscall(SYS_unshare, 0x10000000) == 0;'), 'SECURITY'],
  'a program for the kernel': ['c', c('return syscall(SYS_bpf, 0, 0, 0) == 0;'), 'SECURITY'],
  'keys of the kernel': ['c', c('return syscall(SYS_keyctl, 0, -3, 0, 0, 0) == 0;'), 'SECURITY'],
  'rings of the kernel': ['c', c('return syscall(SYS_io_uring_setup, 8, 0) >= 0 || errno != ENOSYS;'), 'OK'],
  'becoming root': ['python', 'import os, subprocess\nfor p in ("sudo", "su", "mount", "passwd"):\n  for d in ("/usr/bin", "/bin"):\n    if os.path.exists(f"{d}/{p}"): subprocess.run([f"{d}/{p}", "--version"], capture_output=True, timeout=2)\ntry: os.setuid(0); print("root")\nexcept OSError: print(os.getuid() == os.geteuid() == 1000)', 'OK', {}, /^True\n$/],
  'files of the machine': ['python', 'import os\nfor p in ("/etc/shadow", "/etc/machine-id", "/root", "/home", "/var", "/run", "/sys", "/dev/mem", "/dev/kmsg", "/proc/1/root/etc", "/proc/self/root/etc/shadow", "@DATA", "@TMP"):\n  if os.path.exists(p): print(p)\nfor p in ("/proc/1/environ", "/proc/1/mem", "/proc/1/fd", "/proc/kcore"):\n  try: open(p, "rb").read(1) if p != "/proc/1/fd" else os.listdir(p); print(p)\n  except OSError: pass', 'OK', {}, /^$/],
  'files of the machine by the compiler': ['c', '#include "/etc/shadow"\nint main(void) { return 0; }', 'CE'],
  'writing outside of its directory': ['python', 'import os\nfor p in ("/x", "/usr/x", "/etc/x", "/dev/x", "/shoal/x", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/1/oom_score_adj"):\n  try: open(p, "w").write("x"); print(p)\n  except OSError: pass\ntry: os.link("/etc/passwd", "/tmp/passwd"); print("linked")\nexcept OSError: pass', 'OK', {}, /^$/],
  'links out of its directory': ['python', 'import os\nfor i, t in enumerate(("/etc/shadow", "/proc/1/root", "../../../../etc/shadow", "/proc/self/fd/3")):\n  os.symlink(t, f"link{i}")\n  try: open(f"link{i}").read(); print(t)\n  except OSError: pass', 'OK', {}, /^$/],
  // outliving it
  'signals to everybody': ['python', 'import os, signal\ntry: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass\ntry: os.kill(1, signal.SIGKILL)\nexcept OSError: pass\nprint("still here")', 'OK', {}, /^still here\n$/],
  'ending process 1 by its limits': ['c', c('struct rlimit none = {0, 0}; for (int i = 0; i < 16; i++) if (prlimit(1, i, &none, NULL) == 0) return 1; for (int i = 0; i < 2000; i++) { if (fork() == 0) { if (fork() == 0) _exit(0); _exit(0); } wait(NULL); } return 0;'), 'OK', { wall_ms: 20000 * SLOW, cpu_ms: 20000 * SLOW }],
  'starving process 1': ['c', c('struct sched_param p = {0}; sched_setscheduler(1, SCHED_IDLE, &p); setpriority(PRIO_PROCESS, 1, 19); setpriority(PRIO_USER, 0, 19); for (int i = 0; i < 40; i++) if (fork() == 0) { setsid(); for (;;); } usleep(100000); return 0;'), 'OK', { cpu_ms: 5000 * SLOW, mem_mib: 256 }],
  'a survivor': ['python', 'import os, signal, time\nif os.fork() == 0:\n  os.setsid()\n  for s in (signal.SIGHUP, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n  if os.fork() == 0:\n    for fd in range(3): os.close(fd)\n    time.sleep(600)\n  os._exit(0)\nprint("left")', 'OK', {}, /^left\n$/],
  'a crash with a core': ['c', c('struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; setrlimit(RLIMIT_CORE, &all); abort();'), 'RE'],
};

async function nothingIsLeft(before) {
  await until('the slots are idle', 5000 * SLOW, async () => (await hub.ok('GET', '/v1/nodes/n1')).running === 0 ||
    groups().length === 0);
  equal(slotProcesses(), [], 'no process is left');
  equal(groups(), [], 'no control group is left');
  equal(dataFiles(), before.files, 'no file is left');
  equal(mounts(), before.mounts, 'no mount is left');
  await until(`the node has ${before.descriptors} descriptors again`, 5000 * SLOW, () => descriptors() <= before.descriptors);
  const result = await play('python', 'print(input()[::-1])', {}, { stdin: 'gniog no\n' });
  equal([result.verdict, result.stdout], ['OK', 'on going\n'], 'the node works');
}
const state = () => ({ files: dataFiles(), mounts: mounts(), descriptors: descriptors() });

await run({
  async 'attempts to get out, to take more and to stay'() {
    equal((await play('python', 'print(1)')).verdict, 'OK', 'a first program'); // opens the connections that stay
    const before = state();
    const names = Object.keys(attacks);
    const wrong = [];
    await Promise.all(Array.from({ length: SLOTS }, async () => {
      for (let name; (name = names.shift()) !== undefined;) {
        const [lang, text, verdicts, limits, stdout] = attacks[name];
        const result = await play(lang, text.replace('@DATA', nodeData).replace('@TMP', TMP), limits);
        if (!verdicts.split('|').includes(result.verdict) || (stdout && !stdout.test(result.stdout)) ||
          (/TLE|MLE|OLE/.test(result.verdict) && (result.exit !== null || result.signal !== null))) {
          wrong.push(`${name}: ${JSON.stringify(result).slice(0, 600)}`);
        }
      }
    }));
    equal(wrong, [], 'every verdict is right');
    await nothingIsLeft(before);
  },
  async 'two programs at a time see nothing of each other'() {
    const secret = `secret-${process.pid}`;
    const holder = await submit('python', source`
import socket, time
open("/tmp/work/${secret}", "w").write("x"); open("/dev/shm/${secret}", "w").write("x")
s = socket.socket(socket.AF_UNIX); s.bind("\0${secret}"); s.listen()
time.sleep(3)`);
    await until('it runs', 5000 * SLOW, async () => (await hub.ok('GET', `/v1/tasks/${holder}`)).state === 'leased');
    await sleep(700 * SLOW);
    const result = await play('python', source`
import os, socket
for p in ("/tmp/work", "/tmp", "/dev/shm", "/work"):
  if "${secret}" in os.listdir(p): print(p)
for p in os.listdir("/proc"):
  if p.isdigit():
    for q in ("root/tmp/work/${secret}", "cwd/${secret}"):
      if os.path.exists(f"/proc/{p}/{q}"): print(p)
try: socket.socket(socket.AF_UNIX).connect("\0${secret}"); print("connected")
except OSError: pass
print("looked", len([p for p in os.listdir("/proc") if p.isdigit()]))`);
    equal([result.verdict, result.stdout], ['OK', 'looked 2\n'], 'only its own process and process 1');
    equal((await hub.ok('GET', `/v1/tasks/${holder}`)).state, 'leased', 'the other one was there all the time');
    equal((await hub.final(holder)).result.verdict, 'OK', 'the other one');
  },
  async 'the same files in another order are another program'() {
    const file = (name) => ({ path: `${name}.cpp`, text: `#include <cstdio>\nstatic struct S { S() { std::putchar('${name}'); } } s;\n` });
    const main = { path: 'main.cpp', text: 'int main() { }' };
    const first = await play('cpp', '', {}, { files: [main, file('a'), file('b')] });
    const second = await play('cpp', '', {}, { files: [main, file('b'), file('a')] });
    equal([first.stdout.length, second.stdout], [2, [...first.stdout].reverse().join('')], 'constructors run in the order of linking');
    equal((await play('cpp', '', {}, { files: [main, file('a'), file('b')] })).compile.cached, true, 'the same order comes from the cache');
  },
  async 'long output comes whole to the command line'() {
    const file = path.join(TMP, 'long.py');
    writeFileSync(file, 'import sys\nfor i in range(20000): print(i)\nfor i in range(8000): print(i, file=sys.stderr)\n');
    const lines = (count) => Array.from({ length: count }, (_, i) => `${i}\n`).join('');
    const submit = new Process(['submit', 'code.run', '--hub', hub.url, '--file', file, '--wait'], { name: 'submit' });
    equal((await submit.exited).code, 0, 'it ends well');
    await until('all output', 2000 * SLOW, () => submit.out.length >= lines(20000).length);
    check(submit.out === lines(20000), 'all of stdout');
    check(submit.err === lines(8000), 'all of stderr and nothing else');
  },
  async 'a node that is killed takes its sandboxes along, and the next one clears up'() {
    const text = 'import os, time\nfor i in range(5):\n  if os.fork() == 0: os.setsid(); time.sleep(600)\ntime.sleep(600)';
    const ids = await Promise.all([1, 2].map(() => submit('python', text, { wall_ms: 600000 })));
    if (slotUsers()) await until('they run', 10000 * SLOW, () => slotProcesses().length >= 14);
    const left = facts.sandbox.groups;
    node.kill('SIGKILL');
    await node.exited;
    await until('no process of a sandbox is left within a second', 1000 * SLOW, () => slotProcesses().length === 0);
    await Promise.all(ids.map((id) => hub.ok('POST', `/v1/tasks/${id}:cancel`)));
    await startNode();
    check(left === undefined || !existsSync(left), 'the groups of the dead node are gone');
    equal((await play('python', 'print(7)')).stdout, '7\n', 'the next node works');
  },
  async 'a damaged cache costs a compilation'() {
    const text = c('puts("from the source");');
    equal((await play('c', text)).stdout, 'from the source\n', 'compiled');
    await node.end();
    const cache = path.join(nodeData, 'code.run/cache');
    for (const name of readdirSync(cache)) {
      const file = path.join(cache, name), bytes = readFileSync(file);
      bytes[bytes.length >> 1] ^= 1;
      writeFileSync(file, bytes);
    }
    await startNode();
    const result = await play('c', text);
    equal([result.verdict, result.stdout, result.compile.cached], ['OK', 'from the source\n', false], 'compiled again');
  },
  async 'the end leaves nothing'() {
    const left = facts.sandbox.groups;
    equal((await node.end()).code, 0, 'the node drains');
    equal(slotProcesses(), [], 'no process is left');
    check(left === undefined || !existsSync(left), 'no control group is left');
    await hub.stop();
  },
});
