#!/usr/bin/env python3
"""Writes varve.json, the Grafana dashboard, from the rows and panels below.

    deploy/grafana/dashboard.py            writes varve.json beside this file
    deploy/grafana/dashboard.py --check    says whether varve.json is what would be written, and writes nothing
    deploy/grafana/dashboard.py --rules    prints all expressions as Prometheus rules, for promtool to check them

Rows stand in the order in which somebody on call asks. Each panel says what good looks like, and what to do where it does not.
No expression needs the recording rules: the dashboard works with the metrics alone.
"""

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("varve.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Which series a panel is about. A label that is not there is empty, and `.*` matches that as well.
NODES = 'job=~"$job", cluster=~"$cluster", instance=~"$instance"'
TOPICS = NODES + ', topic=~"$topic"'
WIDTH = 24
# How long a stream was open is no latency.
SINGLE = 'rpc_method!~".*Stream|.*/Watch.*|.*/Collect|.*Info"'

GREEN, ORANGE, RED = "green", "orange", "red"


def steps(*pairs):
    """Thresholds: the colour from each value on; the first value is None, for all below the second."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in pairs]}


ZERO_IS_GOOD = steps((None, GREEN), (1, RED))
ONE_IS_GOOD = steps((None, RED), (1, GREEN))


def query(expr, legend, **more):
    return {"expr": " ".join(expr.split()), "legendFormat": legend, **more}


def panel(kind, title, description, unit, queries, *, width=8, height=8, options=None, custom=None, **defaults):
    """One panel. Where it goes is decided when all are put together."""
    targets = [
        {"datasource": DATASOURCE, "editorMode": "code", "refId": chr(ord("A") + n), "range": True, **target}
        for n, target in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": " ".join(description.split()),
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom or {}, **defaults}, "overrides": []},
        "options": options or {},
        "targets": targets,
    }


def stat(title, description, unit, expr, thresholds, *, legend="", width=4, **defaults):
    options = {
        "colorMode": "background",
        "graphMode": "area",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }
    target = query(expr, legend)
    return panel("stat", title, description, unit, [target], width=width, height=4, options=options, thresholds=thresholds, **defaults)


def lines(title, description, unit, *queries, width=8, stack=False, **defaults):
    custom = {
        "drawStyle": "line",
        "fillOpacity": 20 if stack else 5,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults.setdefault("min", 0)
    return panel("timeseries", title, description, unit, queries, width=width, options=options, custom=custom, **defaults)


def states(title, description, mappings, *queries, width=12):
    """What was so when: one bar for each series, coloured by its value."""
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    values = {str(value): {"text": text, "color": color, "index": n} for n, (value, text, color) in enumerate(mappings)}
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return panel(
        "state-timeline", title, description, "short", queries, width=width, options=options, custom=custom,
        mappings=[{"type": "value", "options": values}],
    )


def quantiles(metric, by, *, where=NODES, legend="", shares=("0.50", "0.99")):
    """Shares of a histogram, by labels."""
    labels = ", ".join([*by, "le"])
    return [
        query(
            f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))",
            f"p{share[2:]} {legend}".strip(),
        )
        for share in shares
    ]


def per_second(metric, by, legend, *, where=NODES):
    return query(f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))", legend)


IS_IT_WELL = [
    stat(
        "Nodes up",
        """Nodes that answer Prometheus, of those that it knows. Good: all. Else look which one is missing in the row Nodes and
        leaders, and start it; its log says why it ended.""",
        "percentunit",
        'sum(up{job=~"$job", cluster=~"$cluster", instance=~"$instance"}) / count(up{job=~"$job", cluster=~"$cluster", instance=~"$instance"})',
        steps((None, RED), (0.5, ORANGE), (1, GREEN)),
    ),
    stat(
        "Controller has a leader",
        """1 while some node knows a leader of the controller. Good: 1. At 0 for more than some seconds a majority of its voters is
        away or does not hear each other: varve cluster members says who they are.""",
        "short",
        f'max(varve_raft_has_leader{{{NODES}, group="controller"}})',
        ONE_IS_GOOD,
    ),
    stat(
        "Partitions without a leader",
        """The most that any node sees. Good: 0. An election takes a second or two; if it lasts, a majority of their replicas is
        away: varve cluster health names them.""",
        "short",
        f"max(varve_partitions_leaderless{{{NODES}}})",
        ZERO_IS_GOOD,
    ),
    stat(
        "Under-replicated partitions",
        """Partitions with fewer replicas alive than they should have, as the node sees it that sees most. Good: 0. Some during a
        restart. Bring the node back that is down, or wait until its replicas are made elsewhere.""",
        "short",
        f"max(varve_partitions_under_replicated{{{NODES}}})",
        steps((None, GREEN), (1, ORANGE)),
    ),
    stat(
        "Health checks that fail",
        """Checks of all nodes that are not in order. Good: 0. The panel below says which.""",
        "short",
        f"count(varve_health{{{NODES}}} == 0) or vector(0)",
        ZERO_IS_GOOD,
    ),
    stat(
        "Damaged replicas",
        """Replicas in whose records damage was found. Good: 0. One that others have whole is made anew by itself; then look at the
        disk that it was on.""",
        "short",
        f"sum(varve_replicas_damaged{{{NODES}}})",
        ZERO_IS_GOOD,
    ),
    states(
        "Health checks by node",
        """What each node says of itself. Good: green all along. A node that starts is not placed until it has heard from the
        controller; one that stays red says why at /readyz.""",
        [(1, "in order", GREEN), (0, "not in order", RED)],
        query(f"min by (instance, check) (varve_health{{{NODES}}})", "{{instance}} {{check}}"),
    ),
    lines(
        "Leaderless and under-replicated partitions by node",
        """What each node sees. Good: 0 on all. A node that alone sees many is itself cut off from the others.""",
        "short",
        query(f"max by (instance) (varve_partitions_leaderless{{{NODES}}})", "leaderless, says {{instance}}"),
        query(f"max by (instance) (varve_partitions_under_replicated{{{NODES}}})", "under-replicated, says {{instance}}"),
        width=12,
    ),
]

NODES_AND_LEADERS = [
    states(
        "Nodes that answer",
        """Which node answered Prometheus when. Good: green all along, but for restarts that you know of.""",
        [(1, "up", GREEN), (0, "down", RED)],
        query('max by (instance) (up{job=~"$job", cluster=~"$cluster", instance=~"$instance"})', "{{instance}}"),
    ),
    states(
        "Leader of the controller",
        """Which node led the controller when. Good: one at any time, seldom another. It changes at each restart of the leader; if
        it changes without one, look at fsync, processors and the network of the nodes.""",
        [(1, "leads", GREEN), (0, "follows", "#80808040")],
        query(f'max by (instance) (varve_raft_is_leader{{{NODES}, group="controller"}})', "{{instance}}"),
    ),
    lines(
        "Partitions led, by node",
        """Good: about the same on all nodes. After a restart leaders come back some seconds later; a node that leads nothing for
        long has a reason: see its health and its lag as a follower.""",
        "short",
        query(f'max by (instance) (varve_raft_is_leader{{{NODES}, group="partitions"}})', "{{instance}}"),
        width=6,
    ),
    lines(
        "Leader changes",
        """Leader changes that a node saw, for each group that it has a replica of. Good: 0, and one or two where a node was stopped
        or killed. Many mean that leaders do not answer in time: look at processors, fsync and the round trips between nodes.""",
        "short",
        query(
            f"max by (group) (increase(varve_raft_leader_changes_seen_total{{{NODES}}}[$__rate_interval]) / (varve_raft_groups{{{NODES}}} > 0))",
            "{{group}}",
        ),
        width=6,
    ),
    lines(
        "Groups without a known leader, by node",
        """Good: 0. All nodes: a majority is away. One node: it is cut off from the others.""",
        "short",
        query(f"sum by (instance) (varve_raft_groups{{{NODES}}} - varve_raft_has_leader{{{NODES}}})", "{{instance}}"),
        width=6,
    ),
    lines(
        "Gossip members",
        """Nodes as gossip sees them, the most that any node says. Good: all alive, none failed. A failed one is down, or the way to
        its gossip port is broken.""",
        "short",
        query(f"max by (state) (varve_gossip_members{{{NODES}}})", "{{state}}"),
        width=6,
    ),
    lines(
        "Uptime",
        """How long each process has run. Good: only rising. A saw is a process that ends again and again: its log says why.""",
        "s",
        query(f"max by (instance) (process_uptime_seconds{{{NODES}}})", "{{instance}}"),
        width=12,
    ),
    lines(
        "Nodes by version",
        """Good: one version, and two while an upgrade is under way.""",
        "short",
        query(f"count by (version, revision) (varve_build_info{{{NODES}}})", "{{version}} {{revision}}"),
        width=6,
    ),
    lines(
        "Topics and partitions",
        """How many there are. Good: as many as you made. What a node costs when idle grows with its partitions. Unlisted topics have
        no series of their own in the panels by topic: raise metrics-topics-max to see them.""",
        "short",
        query(f"max(varve_topics{{{NODES}}})", "topics"),
        query(f"max(varve_partitions{{{NODES}}})", "partitions"),
        query(f"max(varve_topics_unlisted{{{NODES}}})", "topics unlisted"),
        width=6,
    ),
]

TRAFFIC = [
    lines(
        "Records",
        """Records that were produced and acknowledged, and that were given to consumers. Good: what you know of your load. Both at
        0 at once: look at errors and at connections. Produced alone at 0: is there a leader?""",
        "recps",
        query(f"sum(rate(varve_produce_records_total{{{NODES}}}[$__rate_interval]))", "produced"),
        query(f"sum(rate(varve_consume_records_total{{{NODES}}}[$__rate_interval]))", "consumed"),
    ),
    lines(
        "Bytes",
        """The same in bytes, as they are stored. Good: below what disks and network can take; what is produced is written once on each
        replica.""",
        "Bps",
        query(f"sum(rate(varve_produce_bytes_total{{{NODES}}}[$__rate_interval]))", "produced"),
        query(f"sum(rate(varve_consume_bytes_total{{{NODES}}}[$__rate_interval]))", "consumed"),
    ),
    lines(
        "Records in a batch",
        """How many records a batch holds on average. Good: many where much is produced. Near 1 with a high rate: let producers wait
        some milliseconds, so that batches fill.""",
        "short",
        query(
            f"""sum(rate(varve_produce_records_total{{{NODES}}}[$__rate_interval]))
            / sum(rate(varve_produce_batches_total{{{NODES}}}[$__rate_interval]))""",
            "records in a batch",
        ),
    ),
    lines(
        "Produced records by topic",
        """The topics with most. Good: what you know of them. Where one stops, look at its producer.""",
        "recps",
        query(f"topk(10, sum by (topic) (rate(varve_topic_produce_records_total{{{TOPICS}}}[$__rate_interval])))", "{{topic}}"),
    ),
    lines(
        "Produced bytes by topic",
        """The topics with most. Good: what you know of them. One that fills the disk wants a shorter retention or a slower
        producer.""",
        "Bps",
        query(f"topk(10, sum by (topic) (rate(varve_topic_produce_bytes_total{{{TOPICS}}}[$__rate_interval])))", "{{topic}}"),
    ),
    lines(
        "Consumed records by topic",
        """The topics with most; several consumers of a topic count each. Good: at least what is produced to it. Less for long: see the
        row Consumers.""",
        "recps",
        query(f"topk(10, sum by (topic) (rate(varve_topic_consume_records_total{{{TOPICS}}}[$__rate_interval])))", "{{topic}}"),
    ),
    lines(
        "Produced by node",
        """Where records were acknowledged: at the leaders. Good: as leaders are spread. One node with all of it has all the busy
        partitions: give the topic more partitions, or move a leader.""",
        "recps",
        per_second("varve_produce_records_total", "instance", "{{instance}}"),
    ),
    lines(
        "Open streams",
        """Produce and consume streams. Good: as many as there are producers and consumers. A fall is clients that went away.""",
        "short",
        query(f"sum by (kind) (varve_streams_open{{{NODES}}})", "{{kind}}"),
    ),
    lines(
        "Duplicates",
        """Batches that were sent again and not appended again. Good: near 0. Many: producers do not get their answers in time.""",
        "ops",
        query(f"sum(rate(varve_produce_duplicates_total{{{NODES}}}[$__rate_interval]))", "duplicate batches"),
    ),
]

LATENCY = [
    lines(
        "Calls, p50 by method",
        """How long half of the single calls took at most; streams are left out. A Consume that waits for records takes as long as it
        waits. Good: Produce near the p50 of a commit.""",
        "s",
        *quantiles("rpc_server_call_duration_seconds", ["rpc_method"], where=f"{NODES}, {SINGLE}", legend="{{rpc_method}}", shares=("0.50",)),
    ),
    lines(
        "Calls, p99 by method",
        """How long all but one in a hundred took at most. Good: some tens of milliseconds for Produce. Where it is long, the row
        Commit path says which stage takes the time.""",
        "s",
        *quantiles("rpc_server_call_duration_seconds", ["rpc_method"], where=f"{NODES}, {SINGLE}", legend="{{rpc_method}}", shares=("0.99",)),
    ),
    lines(
        "Calls by method",
        """Calls that ended; a stream counts once, when it ends, and a call that is handed on at both nodes. Good: what you know of your load. Much of a method that opens something
        (InitProducer, GetServers, Watch): clients that begin anew again and again.""",
        "reqps",
        per_second("rpc_server_call_duration_seconds_count", "rpc_method", "{{rpc_method}}"),
    ),
    lines(
        "Calls by status",
        """Good: nearly all OK or CANCELLED, which is how a stream ends that its client ends: each command that ends, for one. What the
        others were about is in the row Errors and security.""",
        "reqps",
        per_second("rpc_server_call_duration_seconds_count", "rpc_response_status_code", "{{rpc_response_status_code}}"),
        width=12,
    ),
    lines(
        "Calls under way",
        """Calls and streams that are open. Good: steady. What rises and rises waits for something: a leader, a disk, clients that
        do not read.""",
        "short",
        query(f"sum by (rpc_method) (varve_rpc_active{{{NODES}}})", "{{rpc_method}}"),
        width=12,
    ),
]

COMMIT_PATH = [
    lines(
        "Commits",
        """From a batch's arrival at its leader to its answer. Good: a few milliseconds at p50, and p99 below 100 ms.""",
        "s",
        *quantiles("varve_commit_duration_seconds", []),
    ),
    lines(
        "Stages of a commit, p50",
        """Where the time goes: queue (waiting for the proposer), append (into the leader's log), fsync (on the leader), replicate
        (until a majority has it, from its append on), apply (until it is answered). Good: fsync and replicate are most of it.""",
        "s",
        *quantiles("varve_commit_stage_duration_seconds", ["stage"], legend="{{stage}}", shares=("0.50",)),
    ),
    lines(
        "Stages of a commit, p99",
        """Good: no stage far above its p50. A long queue or apply: too few processors. A long fsync: the leader's disk. A long replicate with a short fsync: the
        followers' disks, or the network.""",
        "s",
        *quantiles("varve_commit_stage_duration_seconds", ["stage"], legend="{{stage}}", shares=("0.99",)),
    ),
    lines(
        "Commits, p99 by node",
        """By the node that led. Good: all alike. One that stands out has the slow disk or the busy processors.""",
        "s",
        *quantiles("varve_commit_duration_seconds", ["instance"], legend="{{instance}}", shares=("0.99",)),
    ),
    lines(
        "Fsync, p99 by node",
        """How long a sync of a file takes. Good: below 10 ms on an SSD. Over 100 ms commits and elections suffer: look who else uses
        the disk, and whether the volume is throttled.""",
        "s",
        *quantiles("varve_storage_fsync_duration_seconds", ["instance"], legend="{{instance}}", shares=("0.99",)),
    ),
    lines(
        "Entries made durable by one sync",
        """How many entries share a sync. Good: more where there is more load; it is how a slow disk still takes much.""",
        "short",
        *quantiles("varve_storage_fsync_entries", []),
        query(
            f"""sum(rate(varve_storage_fsync_entries_sum{{{NODES}}}[$__rate_interval]))
            / sum(rate(varve_storage_fsync_entries_count{{{NODES}}}[$__rate_interval]))""",
            "mean",
        ),
    ),
    lines(
        "Syncs by node",
        """How often files are synced. Good: below what the disk can do; where it has reached that, more load goes into larger
        groups.""",
        "iops",
        per_second("varve_storage_fsync_duration_seconds_count", "instance", "{{instance}}"),
    ),
    lines(
        "Batches that wait for the disk",
        """Good: near 0, or steady. What rises is more than the disk takes.""",
        "short",
        query(f"max by (instance) (varve_storage_queue{{{NODES}}})", "{{instance}}"),
    ),
    lines(
        "Unanswered bytes of their limit",
        """Bytes of batches that are not answered yet, of how many there may be. Good: far below 100 %. At it produce streams wait
        and single produces are refused as OVERLOADED: look what commits wait for.""",
        "percentunit",
        query(
            f"""max by (instance) (varve_produce_in_flight_bytes{{{NODES}}})
            / max by (instance) (varve_produce_in_flight_limit_bytes{{{NODES}}})""",
            "{{instance}}",
        ),
        max=1,
    ),
]

REPLICATION = [
    lines(
        "Follower lag in time",
        """For how long a follower has lacked something, the longest of its partitions; nothing of those that lack nothing. Good: below a second. One that was away
        catches up; one that does not has a slow disk or network, or too little processor.""",
        "s",
        query(f"max by (follower) (varve_replica_lag_duration_seconds{{{NODES}}})", "node {{follower}}"),
    ),
    lines(
        "Follower lag in entries",
        """The partitions whose followers lack most. Good: what is on its way. Rising for one follower: as above. For all followers
        of a partition: its leader sends too slowly.""",
        "short",
        query(f"topk(10, max by (topic, partition, follower) (varve_replica_lag{{{TOPICS}}}))", "{{topic}}/{{partition}} on node {{follower}}"),
    ),
    lines(
        "Round trips between nodes, p99",
        """How long messages to other nodes took until they were answered. Good: the network's round trip and a sync. Long to one
        peer from all: that peer is slow. Long from one to all: that node's network or processors.""",
        "s",
        *quantiles("varve_raft_peer_round_trip_duration_seconds", ["instance", "peer"], legend="{{instance}} to node {{peer}}", shares=("0.99",)),
    ),
    lines(
        "Entries committed and applied",
        """By node, as far as it knows. Good: both the same. Applied behind committed: too few processors.""",
        "ops",
        per_second("varve_raft_proposals_committed_total", "instance", "committed, {{instance}}"),
        per_second("varve_raft_proposals_applied_total", "instance", "applied, {{instance}}"),
    ),
    lines(
        "Proposals pending",
        """Batches that were proposed and are not decided. Good: steady under a steady load. Rising: no majority answers, or a disk
        is slow.""",
        "short",
        query(f"max by (instance) (varve_raft_proposals_pending{{{NODES}}})", "{{instance}}"),
    ),
    lines(
        "Proposals failed",
        """Batches that were proposed and came to nothing, or of which nobody knows. Good: 0, and some where a leader was lost.
        Lasting: leaders change again and again.""",
        "ops",
        per_second("varve_raft_proposals_failed_total", "instance", "{{instance}}"),
    ),
]

CONSUMERS = [
    lines(
        "Stream lag in time",
        """For how long a consume stream has been behind, the longest. Good: below a second for what follows the end; a reader of old
        records is behind as long as it reads. Nothing is shown of those that are not behind. Rising: the consumer is slower than what is
        produced. What the consumer's end of the connection holds counts as given: one that stands still shows once that is full.""",
        "s",
        query(
            f"topk(10, max by (instance, topic, partition, stream) (varve_stream_lag_duration_seconds{{{TOPICS}}}) > 0)",
            "{{topic}}/{{partition}} stream {{stream}} of {{instance}}",
        ),
        width=12,
    ),
    lines(
        "Stream lag in records",
        """The streams that lack most; nothing of those that lack nothing. Good: what is on its way. Rising: as beside. A stream has its number while it is open, and
        another when it is opened again.""",
        "short",
        query(
            f"topk(10, max by (instance, topic, partition, stream) (varve_stream_lag{{{TOPICS}}}) > 0)",
            "{{topic}}/{{partition}} stream {{stream}} of {{instance}}",
        ),
        width=12,
    ),
]

DISK = [
    lines(
        "Disk used",
        """Of the disk that the data directory is on. Good: below 80 %, with room for the replicas of a node that is lost. More:
        shorten what topics keep, trim, or give it a larger disk.""",
        "percentunit",
        query(
            f"1 - max by (instance) (varve_disk_available_bytes{{{NODES}}}) / max by (instance) (varve_disk_size_bytes{{{NODES}}})",
            "{{instance}}",
        ),
        max=1,
    ),
    lines(
        "Disk available, and in a day",
        """What is free, and what would be free in a day if it went on filling as in the last six hours; that is shown of nodes that
        have been watched for an hour. Good: the second is not near 0. At it the disk is full within a day.""",
        "bytes",
        query(f"max by (instance) (varve_disk_available_bytes{{{NODES}}})", "now, {{instance}}"),
        query(f"""clamp_min(max by (instance) (
            predict_linear(varve_disk_available_bytes{{{NODES}}}[6h], 86400) and varve_disk_available_bytes{{{NODES}}} offset 1h
            ), 0)""", "in a day, {{instance}}"),
    ),
    lines(
        "Time until the disk is full",
        """As it filled over the last minutes; nothing is shown while it does not fill. Good: nothing, or days. Hours: make room
        now.""",
        "s",
        query(f"min by (instance) (varve_disk_time_to_full_seconds{{{NODES}}})", "{{instance}}"),
    ),
    states(
        "Disk full",
        """Red while a node refuses records for want of room. Good: green. It goes on by itself when there is room.""",
        [(0, "room", GREEN), (1, "full", RED)],
        query(f"max by (instance) (varve_disk_full{{{NODES}}})", "{{instance}}"),
    ),
    lines(
        "Bytes by topic",
        """What the nodes hold of the largest topics, all replicas together. Good: level, once retention has begun to work. Else set
        retention-bytes or retention-age of the topic.""",
        "bytes",
        query(f"topk(10, sum by (topic) (varve_topic_size_bytes{{{TOPICS}}}))", "{{topic}}"),
        width=12,
    ),
]

SATURATION = [
    lines(
        "Memory",
        """Of what the process may have. Good: below 80 %, and level. At 100 % the system ends the process.""",
        "percentunit",
        query(
            f"max by (instance) (process_memory_usage_bytes{{{NODES}}}) / max by (instance) (varve_memory_limit_bytes{{{NODES}}})",
            "{{instance}}",
        ),
        max=1,
        width=6,
    ),
    lines(
        "Memory in bytes",
        """Good: level after the first hour; it does not grow with the log. It grows with partitions, connections and what is in
        flight.""",
        "bytes",
        query(f"max by (instance) (process_memory_usage_bytes{{{NODES}}})", "{{instance}}"),
        width=6,
    ),
    lines(
        "Processors",
        """How many processors the process uses. Good: below what it has. worker-threads serve, and four more write to the disk.""",
        "short",
        per_second("process_cpu_time_seconds_total", "instance", "{{instance}}"),
        width=6,
    ),
    lines(
        "Open files",
        """Files and sockets, of what may be open. Good: below 80 %. Else raise LimitNOFILE, or have fewer partitions or
        connections.""",
        "percentunit",
        query(
            f"max by (instance) (process_unix_file_descriptor_count{{{NODES}}}) / max by (instance) (varve_files_limit{{{NODES}}})",
            "{{instance}}",
        ),
        max=1,
        width=6,
    ),
    lines(
        "Connections",
        """Of all nodes, by what they speak. Good: as many as there are clients, and a few for each pair of nodes.""",
        "short",
        query(f"sum by (protocol) (varve_connections_open{{{NODES}}})", "{{protocol}}"),
    ),
    lines(
        "Connections of their limit",
        """Good: below 80 %. At 100 % clients are turned away. Clients that open a connection for each call are the usual reason.""",
        "percentunit",
        query(
            f"sum by (instance) (varve_connections_open{{{NODES}}}) / max by (instance) (varve_connections_limit{{{NODES}}})",
            "{{instance}}",
        ),
        max=1,
    ),
    lines(
        "Connections refused",
        """By reason. Good: near 0. handshake: a client whose certificate is not good, or that speaks no TLS. limit: too many. silent
        and protocol: something that is no client, such as a scanner or a load balancer's probe.""",
        "cps",
        per_second("varve_connections_refused_total", "reason", "{{reason}}"),
    ),
]

ERRORS_AND_SECURITY = [
    lines(
        "Errors by reason",
        """Calls and batches that were answered with an error; docs/errors.md says what each reason means and what to do. Good: what
        your clients are known to cause. NO_LEADER, OVERLOADED, DISK_FULL, DATA_LOSS, STORAGE_STOPPED, DEADLINE and INTERNAL are the
        cluster's.""",
        "ops",
        per_second("varve_errors_total", "reason", "{{reason}}"),
        width=12,
    ),
    lines(
        "Errors by method",
        """The same by what was called. Good: as beside. One method alone: look at the clients that call it.""",
        "ops",
        per_second("varve_errors_total", "rpc_method", "{{rpc_method}}"),
        width=12,
    ),
    lines(
        "Days until certificates end",
        """The first to end of each use, by node; crl is the list of revoked ones. Good: over 30, over 7 for crl. Issue new ones and put
        them where the old ones are: they are taken without a restart.""",
        "d",
        query(f"min by (instance, use) (varve_certificate_not_after_seconds{{{NODES}}} - time()) / 86400", "{{use}}, {{instance}}"),
        thresholds=steps((None, RED), (7, ORANGE), (30, GREEN)),
    ),
    lines(
        "Denials by action",
        """What the policy did not allow. Good: near 0. A rise: a client that lacks a rule, a policy that forgets somebody, or somebody
        who tries. The log names subject, object and rule (target varve::audit).""",
        "ops",
        per_second("varve_authorization_decisions_total", "action", "{{action}}", where=NODES + ', decision="deny"'),
    ),
    lines(
        "Decisions",
        """How often the policy was asked, and what it said. Good: as calls and batches come. No allow at all while there are calls:
        look at the policy.""",
        "ops",
        per_second("varve_authorization_decisions_total", "decision", "{{decision}}"),
    ),
]

ROWS = [
    ("Is it well", IS_IT_WELL),
    ("Nodes and leaders", NODES_AND_LEADERS),
    ("Produce and consume", TRAFFIC),
    ("Latency", LATENCY),
    ("Commit path", COMMIT_PATH),
    ("Replication", REPLICATION),
    ("Consumers", CONSUMERS),
    ("Disk", DISK),
    ("Memory, processors, files, connections", SATURATION),
    ("Errors and security", ERRORS_AND_SECURITY),
]


def variable(name, label, definition, *, chosen="All"):
    """A choice of a label's values. All is `.*`, which takes series without the label as well."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": definition, "refId": "StandardVariableQuery", "qryType": 1},
        "definition": definition,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": [chosen], "value": ["$__all"]},
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
    }


VARIABLES = [
    {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "options": [],
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    },
    variable("job", "Job", "label_values(varve_build_info, job)"),
    variable("cluster", "Cluster", 'label_values(varve_build_info{job=~"$job"}, cluster)'),
    variable("instance", "Node", 'label_values(varve_build_info{job=~"$job", cluster=~"$cluster"}, instance)'),
    variable("topic", "Topic", f"label_values(varve_topic_size_bytes{{{NODES}}}, topic)"),
]


def placed(rows):
    """All panels in order, with numbers and places: from left to right, a new line where one is full."""
    panels, y = [], 0
    for title, members in rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y, x, line = y + 1, 0, 0
        for member in members:
            place = member["gridPos"]
            if x + place["w"] > WIDTH:
                y, x, line = y + line, 0, 0
            place["x"], place["y"] = x, y
            x, line = x + place["w"], max(line, place["h"])
            panels.append(member)
        y += line
    for number, each in enumerate(panels, 1):
        each["id"] = number
    return panels


def dashboard():
    return {
        "id": None,
        "uid": "varve",
        "title": "Varve",
        "description": "A Varve cluster, in the order in which somebody on call asks. docs/operations.md says what to do.",
        "tags": ["varve"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "",
        "weekStart": "",
        "refresh": "30s",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "preload": False,
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": VARIABLES},
        "panels": placed(ROWS),
    }


def rules(board):
    """Each expression as a recording rule. JSON is YAML as well."""
    targets = [target for each in board["panels"] for target in each.get("targets", [])]
    exprs = [target["expr"].replace("$__rate_interval", "5m") for target in targets]
    named = [{"record": f"dashboard:expression:{n}", "expr": expr} for n, expr in enumerate(exprs)]
    return json.dumps({"groups": [{"name": "dashboard", "rules": named}]}, indent=1)


def main(arguments):
    board = dashboard()
    text = json.dumps(board, indent=2) + "\n"
    if arguments == ["--rules"]:
        print(rules(board))
    elif arguments == ["--check"]:
        if FILE.read_text() != text:
            sys.exit(f"{FILE} is not what {Path(__file__).name} writes: run it without --check")
    elif not arguments:
        FILE.write_text(text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
