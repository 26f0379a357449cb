// bullmq.mjs - the work of bench_peer.c for BullMQ, in its own language and with its own client. Prints the same JSON line.
//
//   bullmq.mjs PORT lifecycle|enqueue CONNECTIONS BATCH SECONDS
//   bullmq.mjs PORT latency SECONDS
//
// A lifecycle is add, process, complete: CONNECTIONS loops add a task (or addBulk a batch) and wait for the acknowledgement, workers
// process with a concurrency that its manual calls usual for work that waits (Concurrency: 100 to 300), and finished jobs
// are removed (Auto-removal of jobs), as Shoal lets them go too. Loops pause while more than BACKLOG tasks wait, so that
// the queue neither grows nor runs dry. With two processors the workers have a process of their own, as its manual advises
// (Parallelism and Concurrency).
import { fork } from 'node:child_process';
import { Queue, Worker } from 'bullmq';

// The compiler of the language wants longer than a C program: until so many tasks are through, or for so long.
const WARMUP_TASKS = 1000;
const WARMUP_MS_MAX = 8000;
const BACKLOG = 2000;
const CONCURRENCY = 200;
const NAME = 'bench';
const REMOVE = { removeOnComplete: true, removeOnFail: true };

const [portText, mode, ...rest] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(portText), maxRetriesPerRequest: null };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

function task(number) {
  const bare = JSON.stringify({ kind: 'bench.noop', input: { n: number, text: '' } }).length;
  const filler = 'a small task as a client may send it, one of very many like it in a row';
  return { kind: 'bench.noop', input: { n: number, text: filler.slice(0, 100 - bare) } };
}

function percentile(values, percent) {
  values.sort((a, b) => a - b);
  return values.length === 0 ? 0 : values[Math.min(values.length - 1, Math.floor((percent / 100) * values.length))];
}

function fail(error) {
  console.error(`bullmq: ${error?.message ?? error}`);
  process.exit(1);
}
process.on('unhandledRejection', fail);

// The worker's own process: tells its parent a hundred times a second how many it has completed, and its processor time.
if (mode === 'worker') {
  let done = 0;
  const worker = new Worker(NAME, async () => ({ ok: true }), { connection, concurrency: CONCURRENCY, ...REMOVE });
  worker.on('completed', () => done++);
  worker.on('failed', (job, error) => fail(error));
  worker.on('error', fail);
  await worker.waitUntilReady();
  const tell = () => process.send({ done, cpu: cpuSeconds() }, () => {});
  setInterval(tell, 10);
  process.on('disconnect', () => process.exit(0));
  await new Promise(() => {});
}

const queue = new Queue(NAME, { connection, defaultJobOptions: REMOVE });
queue.on('error', fail);
await queue.waitUntilReady();

if (mode === 'latency') {
  const seconds = Number(rest[0]);
  let arrived;
  const worker = new Worker(NAME, async () => arrived?.(performance.now()), { connection, concurrency: 1, ...REMOVE });
  worker.on('error', fail);
  await worker.waitUntilReady();
  await sleep(200);
  const samples = [];
  const end = performance.now() + seconds * 1000, began = performance.now(), cpu = cpuSeconds();
  for (let number = 0; performance.now() < end; number++) {
    await sleep(3); // the worker has completed the one before and waits again
    const arrival = new Promise((resolve) => (arrived = resolve));
    const asked = performance.now();
    const [, at] = await Promise.all([queue.add('task', task(number)), arrival]);
    samples.push(at - asked);
  }
  const took = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ count: samples.length, p50_ms: percentile(samples, 50), p99_ms: percentile(samples, 99),
    driver_cpu: (cpuSeconds() - cpu) / took }));
  process.exit(0);
}

if (mode !== 'lifecycle' && mode !== 'enqueue') fail(`no work "${mode}"`);
const [connections, batch, seconds] = rest.map(Number);
const hasWorker = mode === 'lifecycle';
let submitted = 0, acknowledged = 0, completed = 0, workerCpu = 0, isOver = false;
const samples = [];
let paused = []; // loops that wait until less is queued
const isFull = () => hasWorker && acknowledged - completed > BACKLOG;
let worker;
if (hasWorker) {
  worker = fork(process.argv[1], [portText, 'worker']);
  worker.on('exit', () => isOver || fail('the worker ended'));
  await new Promise((resolve) => worker.on('message', (message) => {
    completed = message.done;
    workerCpu = message.cpu;
    if (!isFull()) {
      for (const goOn of paused) goOn();
      paused = [];
    }
    resolve();
  }));
}
async function loop() {
  while (!isOver) {
    if (isFull()) {
      await new Promise((resolve) => paused.push(resolve));
      continue;
    }
    const first = submitted;
    submitted += batch;
    const asked = performance.now();
    if (batch === 1) await queue.add('task', task(first));
    else await queue.addBulk(Array.from({ length: batch }, (_, i) => ({ name: 'task', data: task(first + i) })));
    samples.push(performance.now() - asked);
    acknowledged += batch;
  }
}
for (let i = 0; i < connections; i++) loop().catch(fail);
const counted = () => (hasWorker ? completed : acknowledged);
for (let waited = 0; counted() < WARMUP_TASKS && waited < WARMUP_MS_MAX; waited += 50) await sleep(50);
samples.length = 0;
const began = performance.now(), before = counted(), cpu = cpuSeconds() + workerCpu;
await sleep(seconds * 1000);
const took = (performance.now() - began) / 1000, rate = (counted() - before) / took;
isOver = true;
if (rate <= 0) fail('nothing was finished');
console.log(JSON.stringify({ rate, p50_ms: percentile(samples, 50), p99_ms: percentile(samples, 99),
  driver_cpu: (cpuSeconds() + workerCpu - cpu) / took }));
worker?.kill();
process.exit(0);
