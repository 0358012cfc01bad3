"""The whole job, from recorded to delivered: resyncd and two programs that do the same, in turns. whole_job.sh starts it:
`measure.py [--quick] AGENT DRIVER NODE_DIR WORK OUT`.

A round records while nothing listens at the upstream's port, then starts nginx there, and ends when the table is empty. It
compares what arrived with what was recorded: each once, in the order of each entity. Writes whole_job.md and whole_job.json."""

import collections
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import time

QUICK = sys.argv[1] == "--quick"
AGENT, DRIVER, NODE, WORK, OUT = map(pathlib.Path, sys.argv[-5:])
HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = 1 if QUICK else 3
# Records of one client, and of eight together; four in a row belong to one entity.
ALONE, TOGETHER = (100, 200) if QUICK else (1000, 4000)
PATIENCE = 600
TICK = os.sysconf("SC_CLK_TCK")
# Cores that other processes may use without spoiling a figure, as in the other groups.
TOLERATED = 0.12
KERNEL_THREAD = 0x0020_0000
PROGRAMS = ["resyncd", "Python", "Node"]
ROWS = [
    ("recorded.1", "recorded a second, 1 client", "/s"),
    ("recorded.8", "recorded a second, 8 clients", "/s"),
    ("delivered", "delivered a second, with the upstream up again", "/s"),
    ("after", "from the upstream's return to the last delivery", "s"),
    ("cpu.recorded", "CPU a record, until it is acknowledged", "µs"),
    ("cpu.delivered", "CPU a record, from then until it is delivered", "µs"),
    ("memory", "memory, peak", "MB"),
]


def stat(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None  # it has ended
    return text.rpartition(")")[2].split()


def cpu(pid):
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def peak(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def used_by_others(ours):
    """Seconds of CPU of all but these processes, this one and its ended children, and the kernel's threads."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:]]
    used = sum(fields[place] for place in (0, 1, 2, 7)) / TICK
    times = os.times()
    used -= times.user + times.system + times.children_user + times.children_system + sum(map(cpu, ours))
    for entry in os.listdir("/proc"):
        fields = stat(entry) if entry.isdigit() else None
        if fields and int(fields[6]) & KERNEL_THREAD:
            used -= (int(fields[11]) + int(fields[12])) / TICK
    return used


def until(condition, what, patience=PATIENCE, every=0.02):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"whole job: {what} did not happen within {patience} s")
        time.sleep(every)


def answers(path, family=socket.AF_UNIX):
    with socket.socket(family) as client:
        return client.connect_ex(path) == 0


class Process:
    """A process that does not outlive the measurement."""

    def __init__(self, command, log, **more):
        with open(log, "ab") as output:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)
        self.log, self.pid = log, self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def until(self, condition, what):
        def or_ended():
            if self.child.poll() is not None:
                sys.exit(f"whole job: it ended before {what}: {self.log.read_text()[-2000:]}")
            return condition()

        until(or_ended, what)


def program(name, dir, app, port):
    """The command of a program, and its database."""
    url = f"http://127.0.0.1:{port}/sync"
    database = dir / "failures.db"
    if name == "Python":
        return [sys.executable, HERE / "script.py", database, app, url], database
    if name == "Node":
        return ["node", NODE / "script.mjs", database, app, url], database
    config = dir / "resyncd.toml"
    config.write_text(f'[upstream.office]\nurl = "{url}"\nconcurrency = 4\nmax_pause = "1s"\n')
    command = [AGENT, "run", "--log", "warn", "--config", config, "--state-dir", dir / "state", "--socket", app]
    return [*command, "--admin-socket", dir / "admin"], dir / "state" / "sync_failures.db"


def nginx(dir, port):
    config = dir / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {dir}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(f"""
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; events {{}}
http {{
    {temporary} log_format arrived '$msec $http_idempotency_key';
    server {{
        listen 127.0.0.1:{port}; keepalive_requests 100000000; default_type application/json;
        location / {{
            if ($request_method = POST) {{ set $posted 1; }}
            access_log {dir}/arrived arrived if=$posted;
            return 200 '{{"ok":true}}';
        }}
    }}
}}
""")
    return Process(["nginx", "-c", config, "-p", dir], dir / "nginx.out")


def recorded(database):
    """Key and entity of every failure, in the order of recording."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(sync_failures)")]
        key = "coalesce(idempotency_key, id)" if "idempotency_key" in columns else "id"
        return db.execute(f"SELECT {key}, entity_id FROM sync_failures ORDER BY seq").fetchall()


def is_empty(database):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60) as db:
        return db.execute("SELECT NOT EXISTS (SELECT 1 FROM sync_failures)").fetchone()[0]


def check(name, wanted, arrived):
    """Each arrived once, and those of an entity in their order."""
    entity = dict(wanted)
    orders = []
    for keys in ([key for key, _ in wanted], arrived):
        order = collections.defaultdict(list)
        for key in keys:
            order[entity.get(key)].append(key)
        orders.append(order)
    if orders[0] != orders[1]:
        sys.exit(f"whole job: {name}: {len(wanted)} recorded, {len(arrived)} arrived, not each once and in order")


def drive(app, records, clients):
    command = [DRIVER, "drive", app, str(records), "1", "now", f"clients={clients}", "each=4"]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(name, port):
    dir = WORK / name
    shutil.rmtree(dir, ignore_errors=True)
    dir.mkdir()
    app = dir / "app"
    command, database = program(name, dir, app, port)
    with Process(command, dir / "log") as it:
        it.until(lambda: answers(str(app)), f"{name} answered")
        begun, others, started = time.monotonic(), used_by_others([it.pid]), cpu(it.pid)
        found = {"recorded.1": drive(app, ALONE, 1), "recorded.8": drive(app, TOGETHER, 8)}
        acknowledged = cpu(it.pid)
        wanted = recorded(database)
        log = dir / "arrived"
        back = time.time()
        with nginx(dir, port) as upstream:
            # A line is a time and a UUID. Its lines are only counted when the file is long enough to hold all.
            least = 50 * len(wanted)
            it.until(lambda: log.exists() and log.stat().st_size >= least and len(log.read_text().split("\n")) > len(wanted),
                     f"{name} delivered everything")
            it.until(lambda: is_empty(database), f"the table of {name} was empty")
            others = (used_by_others([it.pid, upstream.pid]) - others) / (time.monotonic() - begun)
        lines = [line.split(" ") for line in log.read_text().splitlines()]
        check(name, wanted, [key.strip('"') for _, key in lines])
        times = [float(at) for at, _ in lines]
        count = len(wanted)
        if count != ALONE + TOGETHER:
            sys.exit(f"whole job: {name}: {count} recorded of {ALONE + TOGETHER}")
        found["delivered"] = (count - 1) / max(times[-1] - times[0], 0.001)
        found["after"] = times[-1] - back
        found["cpu.recorded"] = (acknowledged - started) * 1e6 / count
        found["cpu.delivered"] = (cpu(it.pid) - acknowledged) * 1e6 / count
        found["memory"] = peak(it.pid) / 1e6
    return found, others


def plain(number):
    if number >= 10_000:
        return f"{number / 1000:.1f} k"
    return f"{number:.0f}" if number >= 99.95 else f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rounds, disturbed = [], 0.0
    for number in range(ROUNDS):
        found = {}
        for place in range(len(PROGRAMS)):
            name = PROGRAMS[(number + place) % len(PROGRAMS)]
            found[name], others = measure(name, port)
            disturbed = max(disturbed, others)
            print(f"· the whole job, {name}: " + ", ".join(f"{key} {plain(value)}" for key, value in found[name].items()),
                  file=sys.stderr)
        rounds.append(found)
    median = lambda of: statistics.median(of(found) for found in rounds)
    lines = ["| the whole job | resyncd | Python, sqlite3 and requests | Node, Prisma on SQLite | × Python | × Node |",
             "|---|---|---|---|---|---|"]
    figures = {"others": round(disturbed, 2), "quick": QUICK, "rounds": rounds, "medians": {}, "ratios": {}}
    for key, title, unit in ROWS:
        each = [median(lambda found: found[name][key]) for name in PROGRAMS]
        ratios = [median(lambda found: found["resyncd"][key] / found[name][key]) for name in PROGRAMS[1:]]
        figures["medians"][key] = dict(zip(PROGRAMS, each))
        figures["ratios"][key] = dict(zip(PROGRAMS[1:], ratios))
        cells = [f"{plain(figure)} {unit}" for figure in each] + [f"{ratio:.2f}" for ratio in ratios]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    why = "a quick run" if QUICK else f"others used {disturbed:.2f} cores" if disturbed > TOLERATED else None
    if why:
        lines.append(f"\nNot to be quoted: {why}.")
    table = "\n".join(lines) + "\n"
    print(table, end="")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "whole_job.md").write_text(table)
    (OUT / "whole_job.json").write_text(json.dumps(figures, indent=2) + "\n")


main()
