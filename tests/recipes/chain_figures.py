"""What part chain of engines.sh measured, as tests/chain/figures.rs counts it, and a plot beside the simulation.

    chain_figures.py ACCESS_LOG BACK RATE [TRACE [SVG]]

TRACE is the simulation's table (`a_trace_of_the_chain`); SVG is written.
"""
import collections
import csv
import sys

BIN = 10  # seconds


def measured(log, back):
    """For each second after the return: offered, accepted, first and last deliveries of terminals."""
    offered, accepted, first, last = (collections.Counter() for _ in range(4))
    deliveries = collections.defaultdict(list)
    for line in open(log):
        status, method, *_, moment, terminal = line.split()
        at = float(moment) - back
        if at < 0:
            continue
        offered[int(at)] += 1
        if method == "POST" and status.startswith("2"):
            accepted[int(at)] += 1
            deliveries[terminal].append(at)
    for times in deliveries.values():
        first[int(min(times))] += 1
        last[int(max(times))] += 1
    seconds = max(offered) + 1
    return {"offered": offered, "accepted": accepted, "first": first, "done": last}, seconds


def simulated(path):
    columns = collections.defaultdict(collections.Counter)
    seconds = 0
    for row in csv.DictReader(open(path)):
        for name, value in row.items():
            columns[name][int(row["second"])] = int(value)
        seconds = int(row["second"]) + 1
    return columns, seconds


def figures(of, seconds, rate):
    def total(name, begin, end):
        return sum(of[name][second] for second in range(begin, end))

    all_of_them, terminals = total("accepted", 0, seconds), total("first", 0, seconds)
    running, till = 0, seconds
    for second in range(seconds):
        running += of["accepted"][second]
        if running >= 0.9 * all_of_them:
            till = second + 1
            break
    till = max(till, 11)
    tens = [total("offered", begin, begin + 10) / (10 * rate) for begin in range(10, till, 10)]

    def when(name, share):
        running = 0
        for second in range(seconds):
            running += of[name][second]
            if running >= share * terminals:
                return second + 1
        return seconds

    return {
        "offered, first 10 s": total("offered", 0, 10) / (10 * rate),
        "offered, mean": total("offered", 10, till) / ((till - 10) * rate),
        "offered, worst 10 s": max(tens),
        "goodput": total("accepted", 10, till) / ((till - 10) * rate),
        "first delivery, 99 % (s)": when("first", 0.99),
        "first delivery, last (s)": when("first", 1),
        "all delivered (s)": when("done", 1),
        "at the least (s)": all_of_them / rate,
    }


def binned(of, name, seconds, divisor):
    bins = (seconds + BIN - 1) // BIN
    return [sum(of[name][second] for second in range(b * BIN, (b + 1) * BIN)) / divisor for b in range(bins)]


def running(values):
    total, sums = 0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def svg(real, simulation, rate):
    (of, seconds), (sim_of, sim_seconds) = real, simulation
    longest = max(seconds, sim_seconds)
    terminals = sum(of["first"].values())
    panels = [
        ("Offered load: requests in each 10 s, as a multiple of the capacity", "×", "offered", BIN * rate, False, 1),
        ("Goodput: accepted each second", "/s", "accepted", BIN, False, rate),
        ("Terminals that have delivered their first failure", " %", "first", terminals / 100, True, None),
        ("Terminals that have delivered their whole backlog", " %", "done", terminals / 100, True, None),
    ]
    width, left, tall, step, top = 960, 70, 150, 215, 100
    out = ["<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' font-size='14'>" % (width, top + step * len(panels)),
           "<rect width='100%' height='100%' fill='#ffffff'/>",
           "<text x='20' y='32' font-size='19' font-weight='bold'>A chain of %d terminals after an outage: real processes and the simulation</text>" % terminals,
           "<text x='20' y='58'>%d failures, %g requests a second served; seconds after the return</text>" % (sum(of["accepted"].values()), rate)]
    looks = [("real agents (solid)", "stroke='#1d4f91' stroke-width='2.5'"), ("simulation (dashed)", "stroke='#b5440b' stroke-width='2' stroke-dasharray='7 5'")]
    for n, (name, look) in enumerate(looks):
        out.append("<path d='M%d 76h40' %s/><text x='%d' y='81'>%s</text>" % (20 + 220 * n, look, 66 + 220 * n, name))
    for n, (title, unit, name, divisor, sums, capacity) in enumerate(panels):
        y0 = top + n * step + 34
        lines = [binned(of, name, longest, divisor), binned(sim_of, name, longest, divisor)]
        if sums:
            lines = [running(line) for line in lines]
        most = max(max(line) for line in lines) * 1.05 or 1
        x = lambda second: left + (width - left - 24) * second / longest
        y = lambda value: y0 + tall * (1 - value / most)
        out.append("<text x='%d' y='%d' font-weight='bold'>%s</text>" % (left, y0 - 10, title))
        out.append("<path d='M%d %dV%dH%d' fill='none' stroke='#444'/>" % (left, y0, y0 + tall, width - 24))
        for value in (0, most / 1.05):
            out.append("<text x='%d' y='%.1f' text-anchor='end'>%s%s</text>" % (left - 6, y(value) + 5, format(value, ".3g"), unit))
        for part in range(5):
            out.append("<text x='%.1f' y='%d' text-anchor='middle'>%d s</text>" % (x(longest * part / 4), y0 + tall + 17, longest * part / 4))
        if capacity:
            out.append("<path d='M%d %.1fH%d' stroke='#777' stroke-dasharray='2 4'/>" % (left, y(capacity), width - 24))
        for line, (_, look) in zip(lines, looks):
            points = " ".join("%.1f,%.1f" % (x((b + 0.5) * BIN if not sums else (b + 1) * BIN), y(value)) for b, value in enumerate(line))
            out.append("<polyline points='%s' fill='none' %s/>" % (points, look))
    return "\n".join(out + ["</svg>", ""])


def main(log, back, rate, trace=None, picture=None):
    rate = float(rate)
    runs = {"real": measured(log, float(open(back).read()))}
    if trace:
        runs["simulated"] = simulated(trace)
    rows = {name: figures(of, seconds, rate) for name, (of, seconds) in runs.items()}
    for figure in rows["real"]:
        print("%-28s%s" % (figure, "".join("%12.2f (%s)" % (rows[name][figure], name) for name in rows)))
    if rows["real"]["offered, mean"] <= 2:
        print("within twice the capacity on average")
    if picture:
        open(picture, "w").write(svg(runs["real"], runs["simulated"], rate))


main(*sys.argv[1:])
