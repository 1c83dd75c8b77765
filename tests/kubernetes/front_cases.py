"""What is in front of Narrows: a load balancer that speaks PROXY protocol, a Gateway's routes."""

import contextlib
import json
import pathlib
import subprocess

import cluster
import narrows
from case import case
from cluster import Failure, NotRun, until
from load import judge_undisturbed
from narrows import PORT, installed

SECONDS = 900
FORWARDER = pathlib.Path(__file__).with_name("forwarder.py")
# Where clients find the load balancer, on the machine on which they are.
BALANCER = "127.0.0.2"
# Whom it says that they are: an address that is kept for documentation.
CLIENT = "203.0.113.7"
CLOSED = "narrows_connections_closed_total"
# Kinds of the Gateway API, by their plural.
GATEWAY_API = "gateway.networking.k8s.io"
ROUTES = ("tlsroutes", "tcproutes")
NODE_IDS = {"node_ids": "0-2"}


@case(SECONDS)
def proxy_protocol(world):
    """Behind a load balancer that speaks PROXY protocol v2, Narrows logs who its clients are."""
    believed = {"proxy_protocol": {"mode": "required", "trusted": ["0.0.0.0/0"]}}
    values = {"externalHost": BALANCER, "config": {"listeners": {"external": believed}}}
    with installed(world.release(), world.three_values("single"), values) as release:
        with forwarder(world, release.address()):
            with world.load_outside(f"{BALANCER}:{PORT}", "proxy-protocol") as load:
                load.started().goes_on(100)
                journal = load.ended()
            judge_undisturbed(journal)
            send(world, BALANCER, "GET / HTTP/1.1")
            peer = f'"peer":"{CLIENT}:'
            until("the client's address in the log", lambda: peer in release.logs())
        before = refused(release)
        send(world, release.address(), "GET / HTTP/1.1")
        until("a connection without a header is refused", lambda: refused(release) > before)
        return f"{journal}; in the log as {CLIENT}"


@contextlib.contextmanager
def forwarder(world, address):
    """The load balancer, on the machine of the clients, for as long as a block lasts."""
    words = ["python3", "-c", FORWARDER.read_text(), BALANCER, PORT, address, PORT, CLIENT]
    command = world.outside(*words)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout.readline() != b"listening\n":
            raise Failure(f"no load balancer at {BALANCER}:{PORT}")
        yield
        process.stdin.close()


def send(world, host, text):
    """Sends a line, and waits until the connection is closed from the other side."""
    cluster.run(*world.outside("python3", "-c", SEND, host, PORT, text), seconds=120)


SEND = """
import contextlib, socket, sys
host, port, text = sys.argv[1:]
with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 60) as s:
    s.sendall(text.encode() + b'\\r\\n' * 2)
    while s.recv(4096):
        pass
"""


def refused(release):
    """How many connections came without a header, over all pods."""
    return sum(
        value
        for pod in release.ready_pods()
        for labels, value in release.metric(CLOSED, pod).items()
        if '"proxy_header_missing"' in labels
    )


@case(SECONDS)
def gateway_routes(world):
    """The API server takes and keeps the Gateway API's TLSRoute, and a TCPRoute for each port."""
    known = world.place.kubectl("api-resources", f"--api-group={GATEWAY_API}", "-o", "name")
    missing = [kind for kind in ROUTES if kind not in known]
    if missing:
        raise NotRun(f"needs {' and '.join(missing)} of the Gateway API, experimental channel")
    behind = {"service": {"type": "ClusterIP"}}
    parent = {"parentRefs": [{"name": "edge", "namespace": "gateways"}]}
    seen = {}
    for scheme, kind, more in (
        ("sni", "tlsRoute", {"tls": {"secretName": "tls"}, "externalHost": "kafka.example.com"}),
        ("port", "tcpRoute", {"config": {"listeners": {"external": {"address": NODE_IDS}}}}),
    ):
        served = served_version(world, f"{kind.lower()}s")
        gateway = {**parent, kind: {"enabled": True, "apiVersion": served}}
        values = world.three_values(scheme, **behind, **more, gateway=gateway)
        seen[kind] = kept(world, values, kind)
    ports = sorted(route["spec"]["parentRefs"][0]["port"] for route in seen["tcpRoute"])
    if ports != [PORT, PORT + 1, PORT + 2, PORT + 3]:
        raise Failure(f"routes for the ports {ports}")
    [route] = seen["tlsRoute"]
    if route["spec"]["hostnames"] != ["kafka.example.com", "*.kafka.example.com"]:
        raise Failure(f"a route for {route['spec']['hostnames']}")
    return f"one TLSRoute, {len(ports)} TCPRoutes"


def served_version(world, plural):
    """The API version by which the cluster serves a kind of route."""
    crd = world.place.get("crd", f"{plural}.{GATEWAY_API}")
    served = [one["name"] for one in crd["spec"]["versions"] if one["served"]]
    return f"{GATEWAY_API}/{'v1' if 'v1' in served else served[0]}"


def kept(world, values, kind):
    """The routes of a kind as the API server has them, made of a rendered chart and removed."""
    made = world.place.helm(
        "template", "narrows", narrows.CHART, "--kube-version=1.34.0", "--values=-",
        "--show-only=templates/routes.yaml", given=json.dumps(values),
    )
    words = ("apply", "--server-side", "--validate=strict", "-f", "-")
    world.place.kubectl(*words, given=made)
    try:
        return world.place.get(f"{kind.lower()}s.{GATEWAY_API}")
    finally:
        world.place.kubectl("delete", "-f", "-", given=made)
