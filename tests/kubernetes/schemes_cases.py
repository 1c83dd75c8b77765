"""A client outside of the cluster that has only the load balancer's address, by each scheme."""

import re

import cluster
import narrows
from case import case
from cluster import Failure
from load import judge_undisturbed
from narrows import PORT, installed, self_signed

SECONDS = 900
HOST = "kafka.example.com"


@case(SECONDS)
def pods_are_out_of_reach(world):
    """Clients outside can't reach a broker but through Narrows: else they'd prove nothing."""
    address = cluster.address_of(world.kafka.pod(0))
    dial = f"import socket; socket.create_connection(('{address}', {PORT}), 3)"
    try:
        cluster.run(*world.outside("python3", "-c", dial), seconds=30)
    except Failure:
        return f"{address} does not answer outside"
    raise Failure(f"{address}:{PORT} answers outside: say by --client how to run a client that is")


@case(SECONDS)
def port_scheme(world):
    """Three values, and kcat and a Java client outside produce and consume; one port a broker."""
    with installed(world.release(), world.three_values("port")) as release:
        bootstrap = f"{release.address()}:{PORT}"
        listed = cluster.until("metadata", lambda: metadata(world, bootstrap))
        wanted = {f"{release.address()}:{PORT + 1 + node}" for node in range(3)}
        if listed != wanted:
            raise Failure(f"kcat was told of {listed}, not of {wanted}")
        text = kcat_round(world, bootstrap)
        with world.load_outside(bootstrap, "port-scheme") as load:
            load.started().goes_on(100)
            journal = load.ended()
        judge_undisturbed(journal)
        return f"{len(journal.acked)} records by Java; kcat: {text}"


def metadata(world, bootstrap, *more):
    """The brokers' addresses that kcat is told."""
    told = cluster.run(*world.outside("kcat", "-b", bootstrap, "-L", "-m", "5", *more), seconds=30)
    return set(re.findall(r"broker \d+ at (\S+)", told))


def kcat_round(world, bootstrap):
    """Writes three records by kcat and reads them back."""
    sent = "one\ntwo\nthree\n"
    topic = world.topic("kcat-round")
    out = world.outside("kcat", "-b", bootstrap, "-t", topic, "-X", "topic.acks=all")
    cluster.run(*out, "-P", given=sent, seconds=60)
    read = cluster.run(*out, "-C", "-o", "beginning", "-e", "-q", seconds=60)
    if sorted(read.split()) != sorted(sent.split()):
        raise Failure(f"kcat read {read.split()}")
    return f"{len(read.split())} records"


@case(SECONDS)
def sni_scheme(world):
    """One TLS port, a name for each broker: a Java client outside produces and consumes."""
    ca, certificate, key = self_signed(world.work / "tls", HOST, f"*.{HOST}")
    give_secret(world, certificate, key)
    values = {"externalHost": HOST, "tls": {"secretName": "tls"}}
    with installed(world.release(), world.three_values("sni", **values)) as release:
        hosts = hosts_file(world, release.address())
        with world.load_outside(f"{HOST}:{PORT}", "sni-scheme", 50, tls(ca), hosts) as load:
            load.started().goes_on(100)
            journal = load.ended()
        judge_undisturbed(journal)
        return f"{len(journal.acked)} records over TLS"


@case(SECONDS)
def single_scheme(world):
    """One port for all brokers, without TLS: a Java client outside produces and consumes."""
    with installed(world.release(), world.three_values("single")) as release:
        ports = release.place.get("service", release.name)["spec"]["ports"]
        if len(ports) != 1:
            raise Failure(f"the Service has {len(ports)} ports")
        bootstrap = f"{release.address()}:{PORT}"
        if (listed := metadata(world, bootstrap)) != {bootstrap}:
            raise Failure(f"kcat was told of {listed}, not of {bootstrap} alone")
        with world.load_outside(bootstrap, "single-scheme") as load:
            load.started().goes_on(200)
            journal = load.ended()
        judge_undisturbed(journal)
        return f"one port; {journal}"


def tls(ca):
    """A Java client's settings for TLS."""
    return ["security.protocol=SSL", "ssl.truststore.type=PEM", f"ssl.truststore.location={ca}"]


def give_secret(world, certificate, key, name="tls"):
    """Makes the TLS Secret, or rotates it."""
    world.place.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": world.place.namespace},
            "stringData": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()},
        }
    )


def hosts_file(world, address):
    """What the DNS would say of the names of scheme sni."""
    names = [HOST, *(f"broker-{node}.{HOST}" for node in range(10))]
    path = world.work / "hosts"
    path.write_text("".join(f"{address} {name}\n" for name in names))
    return path


@case(SECONDS)
def recipes_are_accepted(world):
    """The API server takes what every recipe and preset makes, each field known and valid."""
    absent = []
    files = sorted((narrows.CHART / "recipes").glob("*.yaml"))
    presets = sorted((narrows.CHART / "presets").glob("*.yaml"))
    three = ["--set", "bootstrapServers=kafka:9092,externalHost=kafka.example.com"]
    for path in [*files, *presets]:
        words = three if path in presets else []
        rendered = world.place.helm(
            "template", "narrows", narrows.CHART, "--no-hooks", "--kube-version=1.34.0",
            "--values", path, *words,
        )
        try:
            world.place.kubectl(
                "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                given=rendered,
            )
        except Failure as failure:
            # Kinds of cert-manager and others, which not every cluster has.
            if "no matches for kind" not in str(failure):
                raise Failure(f"{path.name}: {failure}") from failure
            absent.append(path.stem)
    tried = f"{len(files)} recipes, {len(presets)} presets"
    return f"{tried}; without custom resources: {', '.join(absent) or 'none'}"
