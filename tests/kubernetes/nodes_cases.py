"""What nodes do to Narrows: they are drained, bound memory and pipes, and there are several."""

import contextlib
import subprocess
import threading

import cluster
import kafka
from case import case
from cluster import Failure, until
from load import judge_undisturbed
from narrows import PORT, installed
from world import NODE_LABEL

SECONDS = 900
# Connections at most that are opened to use up the memory of two pods.
CROWD_MOST = 12000
CROWD_STEP = 500


@case(SECONDS)
def node_drained(world):
    """A drain of the node takes one pod at a time, and leaves one that serves: the budget holds."""
    with installed(world.release(), world.three_values()) as release:
        node = release.pods()[0]["spec"]["nodeName"]
        alone = len(release.place.get("nodes")) == 1
        drain = release.place.kubectl_words(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=40s",
            f"--pod-selector={release.selector}",
        )
        with world.load_through(release, "node-drained") as load:
            load.started()
            try:
                done = subprocess.run(
                    drain, capture_output=True, text=True, check=False, timeout=90
                )
                if alone and done.returncode == 0:
                    raise Failure("the only node was drained to the last pod, against the budget")
                if not release.ready_pods():
                    raise Failure("no pod serves any more")
                load.goes_on(50)
            finally:
                release.place.kubectl("uncordon", node)
            until("two pods again", lambda: len(release.ready_pods()) == 2)
            load.goes_on(50)
            journal = load.ended()
        judge_undisturbed(journal)
        refusal = "disruption budget" in done.stdout + done.stderr
        return f"{journal}; the budget was met: {'yes' if refusal else 'no'}"


@case(SECONDS)
def memory_limit(world):
    """64 MiB are enough under load with 900 connections: no pod is killed for its memory."""
    limit = {"resources": {"limits": {"memory": "64Mi"}}}
    with installed(world.release(), world.three_values(), limit) as release:
        with world.load_through(release, "memory-limit", 200) as load:
            load.started()
            with crowd(world, release, 900):
                perf(world, release)
                load.goes_on(100)
            journal = load.ended()
        judge_undisturbed(journal)
        if release.restarts():
            raise Failure(f"{release.restarts()} containers were started again")
        used = [megabytes(release, pod) for pod in release.pods()]
        return f"{journal}; memory of the pods: {used} MiB"


@case(SECONDS)
def killed_for_memory(world):
    """A pod is killed for its memory under load, and starts again: clients get no error."""
    # Enough to start and to serve some; 900 connections take 9 MiB.
    limit = {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "24Mi"}}}
    with installed(world.release(), world.three_values(), limit) as release:
        with world.load_through(release, "killed-for-memory") as load:
            load.started()
            with contextlib.ExitStack() as crowds:
                opened = 0
                while not killed(release):
                    if opened >= CROWD_MOST:
                        raise Failure(f"{opened} connections, and no pod was killed")
                    with contextlib.suppress(Failure):
                        crowds.enter_context(crowd(world, release, CROWD_STEP))
                    opened += CROWD_STEP
            until("all pods serve again", lambda: len(release.ready_pods()) == 2)
            load.goes_on(100)
            journal = load.ended()
        judge_undisturbed(journal)
        return f"killed after {opened} connections; {journal}"


def killed(release):
    """Whether a container was killed for its memory."""
    ends = [
        one["lastState"].get("terminated") or one["state"].get("terminated") or {}
        for pod in release.pods()
        for one in pod["status"].get("containerStatuses", [])
    ]
    return any(end.get("reason") == "OOMKilled" for end in ends)


@contextlib.contextmanager
def crowd(world, release, count):
    """So many connections that ask for ApiVersions and stay, for as long as a block lasts."""
    command = world.outside("python3", "-c", CROWD, release.address(), PORT, count)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout.readline() != b"answered\n":
            raise Failure(f"not all of {count} connections were answered")
        yield
        process.stdin.close()


CROWD = """
import socket, struct, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ask = struct.pack('>hhih', 18, 0, 7, -1)
open = []
for _ in range(count):
    s = socket.create_connection((host, port), 10)
    s.sendall(struct.pack('>i', len(ask)) + ask)
    open.append(s)
for s in open:
    assert len(s.recv(4)) == 4, 'no answer'
print('answered', flush=True)
sys.stdin.read()
"""


def perf(world, release):
    """Writes and reads 100 MB in large batches, by Kafka's own tools."""
    java = world.outside("java", "-Xmx256m", *kafka.JVM, "-cp", f"{jars(world)}/*")
    bootstrap = f"{release.address()}:{PORT}"
    tools = "org.apache.kafka.tools"
    cluster.run(
        *java, f"{tools}.ProducerPerformance", "--topic", "memory-limit-large",
        "--num-records", "1000", "--record-size", "100000", "--throughput", "200",
        "--producer-props", f"bootstrap.servers={bootstrap}", "batch.size=1000000", "linger.ms=20",
        seconds=180,
    )
    cluster.run(
        *java, f"{tools}.ConsumerPerformance", "--topic", "memory-limit-large",
        "--bootstrap-server", bootstrap, "--messages", "1000", "--timeout", "60000", seconds=180,
    )


def jars(world):
    return kafka.jars(world.options.kafka)


def megabytes(release, pod):
    """The resident memory of a pod, by its own metric, in MiB."""
    [value] = release.metric("process_resident_memory_bytes", pod).values()
    return round(value / 2**20, 1)


@case(SECONDS)
def pipe_quota(world):
    """Another pod of the user has used up the node's pipes: Narrows copies, and splices later."""
    with installed(world.release(), world.three_values()) as release:
        node = release.pods()[0]["spec"]["nodeName"]
        world.place.apply(pipe_holder(world, node))
        try:
            until("the pipes", lambda: "held" in world.place.kubectl("logs", "pod/pipes"))
            perf(world, release)
            without = bulk(release)
        finally:
            world.place.kubectl("delete", "pod/pipes", "--now")
        if not without["small_pipe"] + without["no_pipe"]:
            raise Failure(f"nothing was copied for want of pipes: {without}")
        perf(world, release)
        after = bulk(release)
        if after["spliced"] <= without["spliced"]:
            raise Failure(f"no splicing once there are pipes again: {without}, then {after}")
        return f"{without}, then {after}"


def pipe_holder(world, node):
    """A pod with more pipes than a user gets at full size (fs.pipe-user-pages-soft: 1024)."""
    limits = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pipes", "namespace": world.place.namespace},
        "spec": {
            "nodeName": node,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "pipes",
                    "image": world.kafka_image,
                    "args": ["-Xmx32m", *kafka.JVM, "-cp", "/classes", "Pipes", "1100"],
                    "securityContext": limits,
                }
            ],
        },
    }


def bulk(release):
    """Runs of large transfers over all pods, by `spliced` or why they were copied."""
    counted = {"spliced": 0, "small_pipe": 0, "no_pipe": 0}
    for pod in release.pods():
        for labels, value in release.metric("narrows_bulk_transfers_total", pod).items():
            for kind in counted:
                if f'"{kind}"' in labels:
                    counted[kind] += int(value)
    return counted


@case(SECONDS)
def spread_over_nodes(world):
    """Three pods lie on three nodes; when a node is drained, two stay ready and one moves."""
    with world.more_nodes(3) as nodes:
        three = {"replicas": 3, "nodeSelector": {NODE_LABEL: world.run}}
        with installed(world.release(), world.three_values(), three) as release:
            until("three pods", lambda: len(release.ready_pods()) == 3)
            before = places(release)
            if sorted(before) != sorted(nodes):
                raise Failure(f"the pods are on {before}, of {nodes}")
            drain = threading.Thread(target=drained, args=(release, nodes[0]))
            drain.start()
            least = 3
            while drain.is_alive():
                least = min(least, len(release.ready_pods()))
            until("three pods again", lambda: len(release.ready_pods()) == 3)
            if nodes[0] in places(release) or least < 2:
                raise Failure(f"then the pods were on {places(release)}, {least} ready at least")
            return f"on {', '.join(sorted(before))}; drained with {least} ready at least"


def places(release):
    return [pod["spec"]["nodeName"] for pod in release.pods()]


def drained(release, node):
    selector = f"--pod-selector={release.selector}"
    release.place.kubectl("drain", node, "--ignore-daemonsets", selector, "--timeout=120s")
