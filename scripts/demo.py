"""demo.py - what `make demo` runs: see demo.sh. Uses nothing but the shoal program, its HTTP API and the standard library.

The small tasks are submitted with idempotency keys by a client that repeats whatever was not answered, as a careful client
does: what it counts is what the hub acknowledged. At the end every acknowledged task is asked for, with its attempts."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime

SHOAL = os.environ["SHOAL"]
TASKS = int(os.environ.get("DEMO_TASKS", "2000"))
SLOTS = 2
BATCH = 50
BACKLOG = 400  # tasks kept waiting, so that the nodes never idle while tasks are still being submitted
ROUNDS = 200   # of the submit-to-lease measurement

EXAMPLES = [
    ("Python", "the most frequent words of a text, without those on standard input",
     ["--file", "wordcount.py", "--file", "walden.txt", "--stdin", "stopwords.txt", "--arg", "walden.txt", "--arg", "5"],
     ["128 words", "   5  life"]),
    ("JavaScript", "orders in JSON, turnover by customer at a rate from standard input",
     ["--file", "orders.js", "--file", "orders.json", "--stdin", "rate.txt", "--arg", "orders.json"],
     ['"turnover": 137.08']),
    ("C", "primes in ranges from standard input",
     ["--file", "primes.c", "--flag=-O2", "--stdin", "ranges.txt"],
     ["1 to 100: 25 primes", "3001134 primes"]),
    ("C++", "shortest routes through a railway, questions on standard input",
     ["--file", "route.cpp", "--flag=-O2", "--file", "railway.txt", "--stdin", "questions.txt", "--arg", "railway.txt"],
     ["250 min  Berlin"]),
]

SMALL_PROGRAM = r"""/* how many steps 3n+1 takes from n to 1 */
#include <stdio.h>
int main(void)
{
    unsigned long n;
    unsigned steps = 0;
    if (scanf("%lu", &n) != 1)
        return 1;
    for (; n != 1; steps++)
        n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    printf("%u\n", steps);
    return 0;
}
"""


def small_answer(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return f"{steps}\n"


class Wrong(Exception):
    """Something that must not be."""


def color(code, text):
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{code}m{text}\033[0m"


def heading(text):
    print("\n" + color("1", text), flush=True)


def say(text):
    print("  " + text, flush=True)


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


class Api:
    """One keep-alive connection to the hub. `patience` seconds are spent on a hub that is away."""

    def __init__(self, port, patience=0.0):
        self.port, self.patience, self.connection = port, patience, None

    def call(self, method, path, body=None, headers=None, content_type="application/json"):
        deadline = time.monotonic() + self.patience
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
                heads = dict(headers or {})
                if data is not None:
                    heads["Content-Type"] = content_type
                self.connection.request(method, path, data, heads)
                answer = self.connection.getresponse()
                content = answer.read()
                if answer.status == 503 and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                return answer.status, content
            except (OSError, http.client.HTTPException):
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)

    def get(self, path):
        status, content = self.call("GET", path)
        if status != 200:
            raise Wrong(f"GET {path} answered {status}: {content.decode()[:300]}")
        return json.loads(content)


class Demo:
    def __init__(self, scratch):
        self.scratch = scratch
        self.processes = []  # every process that we started, dead or alive
        self.port = 0
        self.hub = None
        self.nodes = {}

    # --- processes ---

    def start(self, name, args):
        log = open(os.path.join(self.scratch, name + ".log"), "ab")
        process = subprocess.Popen([SHOAL] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                   start_new_session=True)
        log.close()
        process.name = name
        self.processes.append(process)
        return process

    def wait_line(self, process, patience=30):
        """The first line that a process prints: it is ready."""
        lines = []
        reader = threading.Thread(target=lambda: lines.append(process.stdout.readline().decode()), daemon=True)
        reader.start()
        reader.join(patience)
        if not lines or not lines[0]:
            with open(os.path.join(self.scratch, process.name + ".log"), errors="replace") as log:
                raise Wrong(f"{process.name} did not become ready:\n{log.read()[-2000:]}")
        return lines[0].strip()

    def start_hub(self):
        self.hub = self.start("hub", ["hub", "--data", os.path.join(self.scratch, "hub"),
                                      "--listen", f"127.0.0.1:{self.port}"])
        line = self.wait_line(self.hub)
        self.port = int(line.rsplit(":", 1)[1])
        return line

    def start_node(self, name):
        node = self.start(name, ["node", "--hub", f"http://127.0.0.1:{self.port}", "--name", name, "--slots", str(SLOTS),
                                 "--data", os.path.join(self.scratch, name)])
        self.nodes[name] = node
        return node

    def stop_all(self):
        """Nodes first, so that they leave properly; what does not end is killed, by its id."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            process.stdout.close()

    # --- the parts of the demonstration ---

    def run_examples(self):
        heading("1. Real programs through code.run")
        for lang, what, args, expected in EXAMPLES:
            begun = time.monotonic()
            words = [SHOAL, "submit", "code.run", "--hub", f"http://127.0.0.1:{self.port}", "--wait"]
            done = subprocess.run(words + args, cwd="examples", capture_output=True, text=True, timeout=60)
            took = (time.monotonic() - begun) * 1000
            say(color("36", f"{lang}: {what}") + f"  ({took:.0f} ms)")
            for line in done.stdout.rstrip("\n").split("\n"):
                say("  " + line)
            missing = [text for text in expected if text not in done.stdout]
            if done.returncode != 0 or missing:
                raise Wrong(f"the {lang} program ended with {done.returncode}, without {missing}:\n{done.stderr}")

    def measure_lease(self):
        """From sending a submit to having its lease in a worker's hands, nothing else to do: both ends on this machine."""
        heading("2. From submit to lease, on an idle worker")
        client, worker = Api(self.port), Api(self.port)
        client.call("PUT", "/v1/kinds/demo.probe", {})
        arrived, ready = [], threading.Semaphore(0)

        def work():
            outcomes, session, error = [], None, None
            try:
                for _ in range(ROUNDS):
                    ready.release()
                    if session is None:
                        body = {"node": "demo-worker", "kinds": ["demo.probe"], "max": 1, "wait_ms": 10000}
                        status, content = worker.call("POST", "/v1/leases", body)
                    else:
                        body = {"session": session, "outcomes": outcomes, "max": 1, "wait_ms": 10000}
                        status, content = worker.call("POST", "/v1/leases:report", body)
                    arrived.append(time.perf_counter())
                    answer = json.loads(content)
                    if status != 200 or not answer["leases"]:
                        raise Wrong(f"no lease came: {status} {content.decode()[:300]}")
                    session = answer.get("session", session)
                    outcomes = [{"token": answer["leases"][0]["token"], "outcome": "complete", "result": None}]
                worker.call("POST", "/v1/leases:report", {"session": session, "outcomes": outcomes})
            except Exception as problem:  # told by the main thread
                error = problem
            arrived.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        times = []
        for i in range(ROUNDS):
            ready.acquire()
            time.sleep(0.005)  # the worker's poll is waiting at the hub by then
            if len(arrived) > i:
                break
            sent = time.perf_counter()
            client.call("POST", "/v1/tasks", {"kind": "demo.probe"})
            while len(arrived) <= i and thread.is_alive():
                time.sleep(0.0002)
            times.append((arrived[i] - sent) * 1000 if isinstance(arrived[i], float) else 0)
        thread.join(15)
        if arrived and isinstance(arrived[-1], Exception):
            raise arrived[-1]
        say(f"{len(times)} rounds over HTTP, each made durable before the lease left: "
            f"p50 {percentile(times, 50):.2f} ms, p99 {percentile(times, 99):.2f} ms")

    def small_task(self, n):
        return {"kind": "code.run", "queue": "small", "lease_ms": 10000, "retry": {"max": 5},
                "input": {"lang": "c", "files": [{"path": "steps.c", "text": SMALL_PROGRAM}], "entry": "steps.c",
                          "stdin": f"{n}\n"}}

    def submit_small(self):
        """Submits in batches until each was acknowledged; what was not answered is sent again under the same key."""
        api = Api(self.port, patience=60)
        try:
            for first in range(1, TASKS + 1, BATCH):
                while first - 1 - self.finished > BACKLOG and not self.stopping:
                    time.sleep(0.02)
                if self.stopping:
                    return
                numbers = range(first, min(first + BATCH, TASKS + 1))
                lines = "".join(json.dumps(self.small_task(n)) + "\n" for n in numbers).encode()
                sent_before = api.connection
                status, content = api.call("POST", "/v1/tasks:batch", lines, {"Idempotency-Key": f"demo-{first}"},
                                           "application/x-ndjson")
                if status != 200:
                    raise Wrong(f"a batch was refused with {status}: {content.decode()[:300]}")
                for n, line in zip(numbers, content.decode().splitlines()):
                    answer = json.loads(line)
                    if "id" not in answer:
                        raise Wrong(f"task {n} was refused: {line}")
                    self.acknowledged[n] = answer["id"]
                    self.repeated += bool(answer.get("duplicate"))
                if sent_before is not None and api.connection is not sent_before:
                    self.resent += 1
        except Exception as problem:
            self.problem = problem

    def count_finished(self, api):
        counts = api.get("/v1/queues/small")
        totals = counts["totals"]
        self.finished = totals["succeeded"] + totals["dead"] + totals["cancelled"] + totals["expired"]
        return self.finished

    def run_small(self):
        heading(f"3. {TASKS:,} small tasks; a node and the hub are killed meanwhile")
        api = Api(self.port, patience=60)
        api.call("PUT", "/v1/queues/small", {})
        self.acknowledged, self.finished, self.repeated, self.resent = {}, 0, 0, 0
        self.stopping, self.problem = False, None
        submitter = threading.Thread(target=self.submit_small, daemon=True)
        begun = time.monotonic()
        submitter.start()
        self.node_killed = self.hub_killed = self.hub_back = None
        self.held_by_dead = []
        deadline = begun + 300
        try:
            while True:
                done = self.count_finished(api)
                if self.problem is not None:
                    raise self.problem
                if time.monotonic() > deadline:
                    raise Wrong(f"only {done} of {TASKS} tasks were finished after five minutes")
                if self.node_killed is None and done >= TASKS // 2:
                    self.kill_node("green")
                elif self.hub_killed is None and self.node_killed is not None and done >= TASKS * 13 // 20:
                    self.kill_hub()
                if done >= TASKS and not submitter.is_alive():
                    break
                time.sleep(0.05)
        finally:
            self.stopping = True
        submitter.join(5)
        took = time.monotonic() - begun
        say(f"{TASKS:,} tasks finished in {took:.1f} s, {TASKS / took:.0f} a second, "
            "each compiled program run in a sandbox of its own")

    def kill_node(self, name):
        node = self.nodes[name]
        node.kill()
        self.node_killed = time.time()
        node.wait()
        say(color("33", f"{self.finished:,} finished: node {name} is killed with kill -9"))

    def kill_hub(self):
        self.hub.kill()
        self.hub_killed = time.time()
        self.hub.wait()
        say(color("33", f"{self.finished:,} finished: the hub is killed with kill -9"))
        time.sleep(0.5)  # the submitter and the node find nobody
        self.start_hub()
        self.hub_back = time.time()
        say(f"the hub is back {(self.hub_back - self.hub_killed) * 1000:.0f} ms later, half a second of which it was down "
            "on purpose")

    # --- accounting ---

    def account(self):
        heading("4. Accounting")
        api = Api(self.port, patience=10)
        if sorted(self.acknowledged) != list(range(1, TASKS + 1)):
            raise Wrong(f"{TASKS - len(self.acknowledged)} submits were never acknowledged")
        ids = list(self.acknowledged.values())
        if len(set(ids)) != TASKS:
            raise Wrong("two submits were given the same task")
        listed = self.list_all(api)
        strangers = set(listed) - set(ids)
        if strangers or len(listed) != TASKS:
            raise Wrong(f"the queue has {len(listed)} tasks instead of {TASKS}; {len(strangers)} nobody knows of")
        faults, waits, releases, lost_attempts, tries = [], [], [], 0, 0
        for n, task_id in self.acknowledged.items():
            task = api.get(f"/v1/tasks/{task_id}")
            attempts = api.get(f"/v1/tasks/{task_id}/attempts")["items"]
            self.check_task(n, task, attempts, faults)
            tries += task["attempts"]
            first = min(attempts, key=lambda a: a["attempt"])
            waits.append((seconds(first["started_at"]) - seconds(task["created_at"])) * 1000)
            for i, attempt in enumerate(attempts):
                if attempt["outcome"] not in ("lost", "expired"):
                    continue
                lost_attempts += 1
                if attempt["node"] == "green" and i + 1 < len(attempts):
                    again = attempts[i + 1]
                    releases.append((task_id, again["node"], (seconds(again["started_at"]) - self.node_killed) * 1000))
        if faults:
            raise Wrong(f"{len(faults)} tasks are wrong:\n  " + "\n  ".join(faults[:20]))
        say(f"all {TASKS:,} acknowledged tasks succeeded exactly once, every output is right")
        say(f"{tries:,} attempts were made; {lost_attempts} were lost with the dead node")
        if not releases:
            raise Wrong("the killed node held no task: this shows nothing")
        for task_id, node, ms in releases:
            say(f"  task {task_id}: lost on green, leased again to {node} {ms:.0f} ms after the kill")
        slowest = max(ms for _, _, ms in releases)
        if slowest > 3000:
            raise Wrong(f"a task of the dead node was leased again only after {slowest:.0f} ms")
        say(f"submits repeated after the hub's death: {self.resent} batches, of which {self.repeated} tasks were known "
            "already and not made twice")
        say(f"wait for a free slot, from submit to lease, with up to {BACKLOG} tasks in line: "
            f"p50 {percentile(waits, 50):.0f} ms, p99 {percentile(waits, 99):.0f} ms")

    def list_all(self, api):
        found, cursor = [], None
        while True:
            page = api.get("/v1/tasks?queue=small&limit=1000" + (f"&cursor={cursor}" if cursor else ""))
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def check_task(self, n, task, attempts, faults):
        result = task.get("result") or {}
        succeeded = [a for a in attempts if a["outcome"] == "succeeded"]
        if task["state"] != "succeeded":
            faults.append(f"{task['id']} (input {n}) is {task['state']}: {task.get('error')}")
        elif result.get("verdict") != "OK" or result.get("stdout") != small_answer(n):
            faults.append(f"{task['id']} (input {n}) gave {result.get('verdict')} {result.get('stdout')!r}")
        elif len(succeeded) != 1:
            faults.append(f"{task['id']} (input {n}) has {len(succeeded)} successful attempts")

    def tell_reunion(self):
        """What the living node said when the hub was back."""
        with open(os.path.join(self.scratch, "blue.log"), errors="replace") as log:
            welcomes = [line for line in log if " node.welcome " in line]
        if len(welcomes) < 2:
            raise Wrong("node blue did not come back to the hub")
        words = dict(word.split("=", 1) for word in welcomes[-1].split() if "=" in word)
        say(f"node blue worked on while the hub was away and came back with {words['held']} leases; {words['lost']} of "
            "them had been lost")

    def verify(self):
        self.tell_reunion()
        self.stop_all()
        for process in (self.hub, self.nodes["blue"]):
            if process.returncode != 0:
                raise Wrong(f"{process.name} ended with exit code {process.returncode}")
        done = subprocess.run([SHOAL, "verify", "--data", os.path.join(self.scratch, "hub")], capture_output=True,
                              text=True, timeout=120)
        if done.returncode != 0:
            raise Wrong(f"shoal verify says: {done.stderr.strip()}")
        say(done.stdout.splitlines()[0])

    def run(self):
        begun = time.monotonic()
        print(f"A hub and two nodes on loopback, in {self.scratch}")
        say(self.start_hub())
        self.start_node("blue")
        self.start_node("green")
        for name in ("blue", "green"):
            say(self.wait_line(self.nodes[name]))
        self.run_examples()
        self.measure_lease()
        self.run_small()
        self.account()
        self.verify()
        heading(color("32", f"Nothing was lost, doubled or wrong. ({time.monotonic() - begun:.0f} s)"))


def main():
    scratch = tempfile.mkdtemp(prefix="shoal-demo-")
    demo = Demo(scratch)

    def interrupted(number, _frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    code = 1
    try:
        demo.run()
        code = 0
    except Wrong as wrong:
        print(color("31", f"\nThe demonstration failed: {wrong}"), flush=True)
    except KeyboardInterrupt:
        print("\nInterrupted.", flush=True)
        code = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        demo.stop_all()
        if code == 1:
            print(f"The logs are in {scratch}.")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
