#!/usr/bin/env python3
"""table.py HEAD RESULTS [JSON] - the table of bench/peers.sh from its measurements, one JSON object a line.

A ratio is always how many times better Shoal is: rate by rate, or for latencies the peer's time by Shoal's. It is taken
within a round, and the median of the rounds is shown with the smallest and the largest. "cpu" is the share of one core that
the load generator and the server used (2.00: both cores): where the generator is near 1 and its server far below, the
generator was what the peer waited for, and the row says so.
"""

import json
import statistics
import sys

# peer: name, whether what it acknowledges survives a power cut, settings, where its documentation recommends them
PEERS = {
    "shoal": ("Shoal", "yes", "durability: batch (default); plain HTTP", "docs/hub.md, Configuration"),
    "shoal-node": ("Shoal, node session", "yes", "durability: batch (default); WebSocket", "docs/hub.md, Configuration"),
    "nginx": ("nginx, static answer", "-", "one worker, keep-alive, no access log", "ngx_core_module worker_processes"),
    "postgresql": ("PostgreSQL, SKIP LOCKED", "yes", "fsync, synchronous_commit on (default); shared_buffers 1GB, max_wal_size 4GB",
                   "manual 20.4 Resource Consumption, 20.5 Write Ahead Log, SELECT: SKIP LOCKED"),
    "redis-list-always": ("Redis lists", "yes", "appendonly yes, appendfsync always", "Redis persistence: AOF; LMOVE: reliable queue"),
    "redis-list-everysec": ("Redis lists", "1 s", "appendonly yes, appendfsync everysec", "Redis persistence: AOF (suggested default)"),
    "redis-stream-always": ("Redis streams", "yes", "appendonly yes, appendfsync always", "Redis persistence; Streams: consumer groups"),
    "redis-stream-everysec": ("Redis streams", "1 s", "appendonly yes, appendfsync everysec", "Redis persistence; Streams: consumer groups"),
    "bullmq-always": ("BullMQ", "yes", "as below, appendfsync always", "Redis persistence: AOF"),
    "bullmq-everysec": ("BullMQ", "1 s", "appendfsync everysec, noeviction, concurrency 200, addBulk, removeOnComplete",
                        "BullMQ: Going to production, Concurrency, Adding jobs in bulk, Auto-removal"),
    "nats-always": ("NATS JetStream", "yes", "file storage, work queue, explicit double ack, sync_interval: always",
                    "NATS: JetStream, Syncing data to disk; Work-queue streams; Acknowledgement"),
    "nats-default": ("NATS JetStream", "2 min", "the same with the default sync_interval: 2m", "NATS: JetStream configuration"),
    "beanstalkd-f0": ("beanstalkd", "yes", "-b DIR -f 0", "beanstalkd(1)"),
    "beanstalkd-default": ("beanstalkd", "50 ms", "-b DIR (default -f 50)", "beanstalkd(1)"),
}
WORKS = {
    "get": "GET, 64 connections",
    "post": "POST of a task (nginx: static answer), 256 connections",
    "lifecycle-1": "lifecycles one by one, 64 connections",
    "lifecycle-100": "lifecycles in batches of 100, 16 connections",
    "enqueue-64": "submits one by one, 64 connections",
    "enqueue-256": "submits one by one, 256 connections",
    "latency": "submit to receipt on an idle consumer",
    "tpcb": "pgbench TPC-B, scale 20, 16 clients (for orientation)",
}


def number(value):
    """Three digits, thousands apart, no exponent."""
    if value >= 100:
        digits = max(0, len(str(int(value))) - 3)
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.3g}"


def summarise(rows):
    """One summary for each work and peer, in the order of the tables above."""
    summaries = []
    for work in WORKS:
        of_work = [row for row in rows if row["work"] == work]
        base_name = "shoal-node" if work == "latency" else "shoal"
        base = {row["round"]: row for row in of_work if row["peer"] == base_name and "error" not in row}
        for peer in PEERS:
            runs = [row for row in of_work if row["peer"] == peer]
            if not runs:
                continue
            good = [row for row in runs if "error" not in row]
            summary = {"work": work, "peer": peer, "rounds": len(good)}
            errors = sorted({row["error"] for row in runs if "error" in row})
            if errors:
                summary["errors"] = errors
            for row in good:
                if row.get("rate", 0) > 0:
                    row["server_us"] = row["server_cpu"] / row["rate"] * 1e6
            for key in ("rate", "server_us", "p50_ms", "p99_ms", "driver_cpu", "server_cpu"):
                values = [row[key] for row in good if key in row]
                if values:
                    summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
            if peer != base_name:
                pairs = [(base[row["round"]], row) for row in good if row["round"] in base]
                measures = {"ratio": lambda ours, theirs: ours["rate"] / theirs["rate"]} if work != "latency" else {
                    "ratio": lambda ours, theirs: theirs["p50_ms"] / ours["p50_ms"],
                    "ratio_p99": lambda ours, theirs: theirs["p99_ms"] / ours["p99_ms"]}
                for key, ratio in measures.items():
                    values = [ratio(ours, theirs) for ours, theirs in pairs]
                    if values:
                        summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
            summaries.append(summary)
    return summaries


def of(summary, key, form=number):
    value = summary.get(key)
    return "" if value is None else f"{form(value['median'])} ({form(value['min'])} to {form(value['max'])})"


def print_table(title, header, lines):
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    print(f"\n{title}")
    for line in [header, *lines]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def show(summaries):
    for work, title in WORKS.items():
        lines = []
        for summary in (s for s in summaries if s["work"] == work):
            name, durable = PEERS[summary["peer"]][:2]
            remarks = [f"not measured: {error}" for error in summary.get("errors", [])]
            cpu = ""
            if "driver_cpu" in summary and "server_cpu" in summary:
                driver, server = (summary[key]["median"] for key in ("driver_cpu", "server_cpu"))
                cpu = f"{driver:.2f} + {server:.2f}"
                if driver > 0.85 and server < 0.7 * driver and work != "latency":
                    remarks.append("the generator was the bottleneck")
            elif "server_cpu" in summary:
                cpu = f"{summary['server_cpu']['median']:.2f}"
            ratio = lambda value: f"{value:.2f}" if value < 10 else f"{value:.0f}"
            if work == "latency":
                lines.append([name, durable, of(summary, "p50_ms"), of(summary, "p99_ms"), of(summary, "ratio", ratio),
                              of(summary, "ratio_p99", ratio), cpu, "; ".join(remarks)])
            else:
                lines.append([name, durable, of(summary, "rate"), of(summary, "ratio", ratio), cpu, of(summary, "server_us"),
                              "; ".join(remarks)])
        if lines and work == "latency":
            print_table(title, ["who", "durable", "p50 ms", "p99 ms", "Shoal is faster by, p50", "p99", "cpu", ""], lines)
        elif lines:
            print_table(title, ["who", "durable", "a second", "Shoal does times as many", "cpu", "server's us each", ""], lines)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        head = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    summaries = summarise(rows)
    show(summaries)
    seen = {summary["peer"] for summary in summaries}
    print_table("Settings", ["who", "durable", "settings", "recommended by"],
                [list(PEERS[peer]) for peer in PEERS if peer in seen])
    print(f"\n{head['machine']}; Shoal {head['shoal']} ({head['commit']}), {head['rounds']} rounds of {head['seconds']} s")
    print("Versions: " + ", ".join(f"{name} {version}" for name, version in head["versions"].items() if version))
    print("durable: whether what is acknowledged survives a power cut, or how much time's worth of it may be lost;"
          "\ncpu: cores used by the load generator + by the server; us each: what a task costs the server of it. Medians of the rounds, with the smallest and the largest.")
    if len(sys.argv) > 3:
        peers = {peer: dict(zip(("name", "durable", "settings", "recommended_by"), PEERS[peer])) for peer in PEERS if peer in seen}
        with open(sys.argv[3], "w", encoding="utf-8") as file:
            json.dump({**head, "peers": peers, "works": WORKS, "summaries": summaries, "measurements": rows}, file, indent=1)
            file.write("\n")


main()
