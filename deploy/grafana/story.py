#!/usr/bin/env python3
"""Draws the dashboard's panels from a real cluster in which a leader is killed: the pictures of docs/dashboard.md.

    deploy/grafana/story.py run VARVE DIR   runs `VARVE dev` with a load in DIR, kills, starts again and stops what TIMES says, watched
                                            by a Prometheus with the project's rules, and writes DIR/story.json (nine minutes)
    deploy/grafana/story.py draw DIR        draws docs/images/leader-killed-*.png from DIR/story.json
    deploy/grafana/story.py table DIR       prints of every expression of the dashboard how many series it gave, and from where to where

`run` needs prometheus (Debian: prometheus) and curl, `draw` needs matplotlib. DIR must be empty. What is drawn is what dashboard.py asks:
the expressions are taken from there by the titles of their panels.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import dashboard

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RULES = ROOT / "deploy/prometheus/varve.rules.yaml"
IMAGES = ROOT / "docs/images"

PORT = 38400
PROMETHEUS = "127.0.0.1:38490"
SCRAPE_SECONDS = 1
# What Grafana makes of $__rate_interval where the data source's interval is a second is 4 s; with 10 s lines are calm enough to be read.
RATE_INTERVAL = "10s"

# Seconds from the beginning of the load, and what happens then.
TIMES = {"killed": 90, "started again": 300, "consumer stopped": 370, "consumer goes on": 430, "end": 500}
TOPICS = {"clicks": 6, "orders": 3, "default": 1}
CLICKS_A_SECOND = 1000
ORDERS_A_SECOND = 20


class Cluster:
    """`varve dev` and everything beside it. What was started is ended with it."""

    def __init__(self, varve, home):
        self.varve, self.home = varve, home
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(home / "config")}
        self.children = []

    def start(self, name, command, **more):
        output = open(self.home / f"{name}.log", "ab")
        child = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output, env=self.env, start_new_session=True, **more)
        self.children.append(child)
        return child

    def varve_does(self, *words):
        return subprocess.run([self.varve, *words], env=self.env, check=True, capture_output=True, text=True).stdout

    def end(self):
        """As Ctrl-C does: each with all that it has started."""
        for child in reversed(self.children):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGCONT)
                os.killpg(child.pid, signal.SIGINT)
        for child in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)

    def said(self, pattern):
        """What `dev` said, once it has said it."""
        for _ in range(300):
            found = re.findall(pattern, (self.home / "dev.log").read_text(), re.MULTILINE)
            if found:
                return found
            time.sleep(0.1)
        sys.exit(f"dev did not say {pattern} within half a minute: see {self.home}/dev.log")


def prometheus_config(home):
    targets = [f"127.0.0.1:{PORT + 10 * n + 2}" for n in range(3)]
    jobs = [{"job_name": "varve", "static_configs": [{"targets": targets, "labels": {"cluster": "demo"}}]}]
    config = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "5s"},
        "rule_files": [str(RULES)],
        "scrape_configs": jobs,
    }
    file = home / "prometheus.yaml"
    file.write_text(json.dumps(config))
    return file


def ask(path, **parameters):
    url = f"http://{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def load(cluster):
    """Producers with batches, with single records and with single calls; consumers; and somebody who may do nothing."""
    certs = cluster.home / "dev/certs"
    for topic, partitions in TOPICS.items():
        cluster.varve_does("topic", "create", topic, "--partitions", str(partitions))
    clicks = f"""
import time, itertools
for n in itertools.count():
    began = time.monotonic()
    print("".join(f"click {{n}} {{m}} of a visitor who reads on and on and on\\n" for m in range({CLICKS_A_SECOND // 20})), end="", flush=True)
    time.sleep(max(0, 0.05 - time.monotonic() + began))
"""
    orders = f"""
import time, itertools
for n in itertools.count():
    print(f"customer-{{n % 50}}:order {{n}}", flush=True)
    time.sleep({1 / ORDERS_A_SECOND})
"""
    for topic, source, flags in [("clicks", clicks, []), ("orders", orders, ["-K", ":"])]:
        cluster.start(f"{topic}-lines", ["sh", "-c", 'python3 -c "$0" | "$@"', source, cluster.varve, "produce", topic, *flags])
    followers = [cluster.start(f"{topic}-read", [cluster.varve, "consume", topic, "--follow", "-o", "raw"]) for topic in ("clicks", "orders", "clicks")]
    # A gRPC message: not compressed, 9 bytes, log.v1.ProduceRequest with a record with a value.
    (cluster.home / "call").write_bytes(b"\0\0\0\0\x09\x0a\x07\x0a\x05hello")
    calls = """
n=0
while sleep 0.2; do
    n=$((n + 1))
    # Every third call to another node: two of three are handed on.
    curl --silent --output /dev/null --http2 --max-time 10 --cacert "$0/ca.pem" --cert "$0/root.pem" --key "$0/root-key.pem" \
        --header 'content-type: application/grpc' --header 'te: trailers' --data-binary "@$2" "https://127.0.0.1:$(($1 + n % 3 * 10))/log.v1.Log/Produce"
done
"""
    cluster.start("calls", ["sh", "-c", calls, certs, PORT, cluster.home / "call"])
    denied = """
while sleep 0.3; do
    "$0" consume orders --tls-cert-file "$1/nobody.pem" --tls-key-file "$1/nobody-key.pem"
done
"""
    cluster.start("nobody", ["sh", "-c", denied, cluster.varve, certs])
    return followers[-1]


def run(varve, home):
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()):
        sys.exit(f"{home} is not empty")
    cluster = Cluster(varve, home)
    try:
        cluster.start("dev", [varve, "dev", "--port", str(PORT), "--data-dir", home / "dev"])
        pids = {name: int(pid) for name, pid in cluster.said(r"^ *\d+ +(node-\d)\s.* (\d+) +/")}
        cluster.start("prometheus", [
            "prometheus", f"--config.file={prometheus_config(home)}", f"--storage.tsdb.path={home / 'prometheus'}",
            f"--web.listen-address={PROMETHEUS}", "--log.level=warn",
        ])
        time.sleep(5)
        slow = load(cluster)
        began = time.time()
        marks = {"load": began}

        def until(name):
            time.sleep(max(0, began + TIMES[name] - time.time()))
            marks[name] = time.time()
            print(name, flush=True)

        until("killed")
        leads = ask("query", query='varve_raft_is_leader{group="controller"} == 1')["result"]
        leader = (int(leads[0]["metric"]["instance"].rsplit(":", 1)[1]) - PORT) // 10 + 1
        os.kill(pids[f"node-{leader}"], signal.SIGKILL)
        print("node", leader, flush=True)
        again = cluster.said(r"^it comes back with:\n\s*(.*)$")[0]
        until("started again")
        cluster.start("again", ["sh", "-c", "exec " + again])
        until("consumer stopped")
        os.kill(slow.pid, signal.SIGSTOP)
        until("consumer goes on")
        os.kill(slow.pid, signal.SIGCONT)
        until("end")
        for n in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT + 10 * n + 2}/metrics") as answer:
                (home / f"node-{n + 1}.metrics").write_bytes(answer.read())
        (home / "health.txt").write_text(cluster.varve_does("cluster", "health"))
        (home / "story.json").write_text(json.dumps(collected(marks, leader)))
    finally:
        cluster.end()


def substituted(expr):
    for name in ("job", "cluster", "instance", "topic"):
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", RATE_INTERVAL)


def collected(marks, leader):
    """Every expression of the dashboard over the time of the run, and what fired."""
    over = {"start": marks["load"] - 5, "end": marks["end"], "step": SCRAPE_SECONDS}
    panels = {}
    for panel in dashboard.placed(dashboard.ROWS):
        if panel["type"] == "row":
            continue
        panels[panel["title"]] = [
            {
                "legend": target["legendFormat"],
                "expr": target["expr"],
                "series": [
                    {"labels": each["metric"], "values": [[at, float(value)] for at, value in each["values"]]}
                    for each in ask("query_range", query=substituted(target["expr"]), **over)["result"]
                ],
            }
            for target in panel["targets"]
        ]
    return {"marks": marks, "leader": leader, "panels": panels, "alerts": ask("query_range", query="ALERTS", **over)["result"]}


def table(home):
    story = json.loads((home / "story.json").read_text())
    for title, targets in story["panels"].items():
        for target in targets:
            print(f"{title}: {target['expr']}")
            for each in target["series"] or [None]:
                if each is None:
                    print("    NOTHING")
                    continue
                values = [value for _, value in each["values"]]
                numbers = sorted(value for value in values if value == value)
                if numbers:
                    told = f"least {numbers[0]:.6g} half {numbers[len(numbers) // 2]:.6g} most {numbers[-1]:.6g} last {values[-1]:.6g}"
                else:
                    told = "NaN alone"
                print(f"    {legend(target['legend'], each['labels'])!r}: {len(values)} points, {len(values) - len(numbers)} NaN; {told}")
    for each in story["alerts"]:
        labels = {name: value for name, value in each["metric"].items() if name not in ("__name__", "job", "cluster")}
        times = [at - story["marks"]["load"] for at, _ in each["values"]]
        print(labels, f"{times[0]:.0f} s to {times[-1]:.0f} s")


# What is drawn: the panel's title, and from which value on its axis is logarithmic, where it is.
PICTURES = [
    [
        ("Nodes that answer", None), ("Leader of the controller", None),
        ("Partitions led, by node", None), ("Leader changes", None),
        ("Groups without a known leader, by node", None), ("Leaderless and under-replicated partitions by node", None),
        ("Records", None), ("Commits", 1e-3),
    ],
    [
        ("Stages of a commit, p99", 1e-4), ("Fsync, p99 by node", 1e-3),
        ("Proposals pending", None), ("Proposals failed", None),
        ("Follower lag in time", None), ("Entries made durable by one sync", 0.8),
        ("Open streams", None), ("Stream lag in records", None),
        ("Connections", None), ("Disk available, and in a day", None),
        ("Errors by reason", None), ("Denials by action", None),
    ],
]
COLORS = ["#3274d9", "#e0752d", "#56a64b", "#a352cc", "#e02f44", "#8a6d3b", "#1f9e9e", "#888888", "#c4a000", "#f06292"]


def named(text):
    """Nodes by their names: Prometheus knows their addresses."""
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"node-{(int(found[1]) - PORT) // 10 + 1}", text)


def told_in(unit):
    """How a value of a unit is written at an axis."""
    def seconds(value, _):
        if value == 0:
            return "0"
        return f"{value:g} s" if value >= 1 else f"{value * 1e3:g} ms" if value >= 1e-3 else f"{value * 1e6:g} µs"

    return {
        "s": seconds,
        "bytes": lambda value, _: f"{value / 2**30:.1f} GiB",
        "recps": lambda value, _: f"{value:g}/s",
        "ops": lambda value, _: f"{value:g}/s",
    }.get(unit, lambda value, _: f"{value:g}")


def draw_states(axis, panel, targets, began):
    """Bars as the panel's mappings colour them."""
    options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    names = []
    for row, each in enumerate(targets[0]["series"]):
        names.append(named(legend(targets[0]["legend"], each["labels"])))
        for value, option in options.items():
            color = {"green": "#56a64b", "red": "#e02f44", "orange": "#e0752d"}.get(option["color"], "#dddddd")
            spans = [(at - began, SCRAPE_SECONDS * 1.05) for at, each_value in each["values"] if each_value == float(value)]
            axis.broken_barh(spans, (row - 0.38, 0.76), color=color, linewidth=0)
    texts = ", ".join(f"{option['color'] if option['color'][0] != '#' else 'grey'}: {option['text']}" for option in options.values())
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel(texts, fontsize=7, loc="left", color="#444444")


def draw_lines(axis, panel, targets, began, log_from):
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    drawn = [(named(legend(target["legend"], each["labels"])), each["values"]) for target in targets for each in target["series"]]
    # Which is none at any time tells nothing in a small picture.
    most = lambda values: max((value for _, value in values if value == value), default=0)
    told = sorted((each for each in drawn if most(each[1]) > 0), key=lambda each: each[0])
    left_out = max(0, len(told) - len(COLORS))
    told = sorted(sorted(told, key=lambda each: -most(each[1]))[: len(COLORS)], key=lambda each: each[0])
    for color, (name, values) in zip(COLORS, told):
        # A gap where there is no value, and not a line across it.
        x, y, before = [], [], None
        for at, value in values:
            if before is not None and at - before > SCRAPE_SECONDS * 1.5:
                x.append(at - began), y.append(float("nan"))
            x.append(at - began), y.append(value)
            before = at
        axis.plot(x, y, color=color, linewidth=1, label=name, marker=".", markersize=1.5)
    if log_from:
        axis.set_yscale("log")
        axis.set_ylim(bottom=log_from)
    else:
        axis.set_ylim(0, max((most(values) for _, values in told), default=0) * 1.12 or 1)
        axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_formatter(FuncFormatter(told_in(panel["fieldConfig"]["defaults"]["unit"])))
    if told:
        axis.legend(fontsize=6.5, ncols=2 if len(told) > 5 else 1, framealpha=0.7, loc="best", handlelength=1.2, borderpad=0.3, labelspacing=0.25)
    if left_out:
        axis.set_xlabel(f"and {left_out} that reach less", fontsize=7, loc="left", color="#444444")


def draw(home):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    story = json.loads((home / "story.json").read_text())
    marks = story["marks"]
    began = marks["load"]
    panels = {panel["title"]: panel for panel in dashboard.placed(dashboard.ROWS)}
    pyplot.rcParams.update({"font.size": 7.5, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.edgecolor": "#999999"})
    for number, titles in enumerate(PICTURES, 1):
        rows = (len(titles) + 1) // 2
        figure, axes = pyplot.subplots(rows, 2, figsize=(12, 2.35 * rows), sharex=True, layout="constrained")
        for axis, (title, log_from) in zip(axes.flat, titles):
            panel, targets = panels[title], story["panels"][title]
            axis.set_title(title, loc="left")
            if panel["type"] == "state-timeline":
                draw_states(axis, panel, targets, began)
            else:
                draw_lines(axis, panel, targets, began, log_from)
            axis.grid(axis="y", color="#eeeeee")
            axis.set_axisbelow(True)
            for name, color in [("killed", "#e02f44"), ("started again", "#56a64b")]:
                axis.axvline(marks[name] - began, color=color, linewidth=1, linestyle="--")
            axis.axvspan(marks["consumer stopped"] - began, marks["consumer goes on"] - began, color="#f5f0e0", zorder=0)
            axis.set_xlim(-5, marks["end"] - began)
            axis.xaxis.set_major_locator(matplotlib.ticker.MultipleLocator(60))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value / 60:.0f} min")
            axis.tick_params(labelbottom=True)
        figure.suptitle(
            f"red line: node-{story['leader']} is killed; green line: it is started again; shaded: a consumer stands still",
            fontsize=9, color="#444444", x=0.01, ha="left",
        )
        IMAGES.mkdir(parents=True, exist_ok=True)
        file = IMAGES / f"leader-killed-{number}.png"
        figure.savefig(file, dpi=78, metadata={"Software": None}, pil_kwargs={"optimize": True})
        print(file.relative_to(ROOT), file.stat().st_size)


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", varve, home]:
            run(varve, Path(home))
        case ["draw", home]:
            draw(Path(home))
        case ["table", home]:
            table(Path(home))
        case _:
            sys.exit(__doc__)
