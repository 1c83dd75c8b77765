"""Narrows' own pods: rolled, upgraded, taken back, reloaded, scaled; and as a sidecar."""

import json
import pathlib
import subprocess
import tarfile
import tempfile

import cluster
import kafka
import narrows
from case import case
from cluster import Failure, NotRun, until
from load import judge_undisturbed
from narrows import PORT, installed, self_signed
from schemes_cases import HOST, give_secret, hosts_file, tls

SECONDS = 900
# The chart that users upgrade from: of this commit until there is a release.
PREVIOUS = "75095d7"


@case(SECONDS)
def narrows_rolled(world):
    """A rolling restart of Narrows under load, connections open: the client gets no error."""
    with installed(world.release(), world.three_values()) as release:
        with world.load_through(release, "narrows-rolled") as load:
            load.started()
            before = names(release)
            release.restart()
            load.goes_on(50)
            if before & names(release):
                raise Failure("a pod is still there, so nothing was tried")
            until("the old pods' end", lambda: len(all_pods(release)) == 2)
            load.goes_on(50)
            journal = load.ended()
        judge_undisturbed(journal)
        return str(journal)


def names(release):
    return {cluster.name_of(pod) for pod in release.pods()}


def all_pods(release):
    """With those that are on their way out."""
    return release.place.get("pods", "-l", release.selector)


@case(SECONDS)
def upgraded_and_rolled_back(world):
    """From the previous chart to this one, and back by `helm rollback`, under load: no error."""
    with tempfile.TemporaryDirectory() as folder:
        release = world.release(chart=previous_chart(folder))
        values = world.three_values()
        with installed(release, values):
            with world.load_through(release, "upgraded") as load:
                load.started()
                release.chart = narrows.CHART
                # Also new pods: an upgrade may leave them as they are.
                release.upgrade(values, {"podAnnotations": {"test": "upgraded"}})
                load.goes_on(50)
                release.place.helm("rollback", release.name, "1", "--timeout=120s")
                release.give_address()
                release.await_rollout()
                load.goes_on(50)
                journal = load.ended()
        judge_undisturbed(journal)
        return str(journal)


def previous_chart(folder):
    """The chart of the previous release, unpacked."""
    archive = subprocess.run(
        ["git", "-C", narrows.ROOT, "archive", PREVIOUS, "charts/narrows"],
        capture_output=True, check=False,
    )
    if archive.returncode != 0:
        raise NotRun(f"needs commit {PREVIOUS} in the clone: git fetch --unshallow")
    path = f"{folder}/previous.tar"
    with open(path, "wb") as out:
        out.write(archive.stdout)
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter="data")
    return f"{folder}/charts/narrows"


@case(SECONDS)
def certificate_rotated(world):
    """A rotated TLS Secret reaches clients without a restart, and nobody is cut off."""
    folder = world.work / "tls"
    ca, certificate, key = self_signed(folder, HOST, f"*.{HOST}")
    give_secret(world, certificate, key)
    values = {"externalHost": HOST, "tls": {"secretName": "tls"}}
    with installed(world.release(), world.three_values("sni", **values)) as release:
        address = release.address()
        hosts = hosts_file(world, address)
        properties = tls(ca)
        with world.load_outside(f"{HOST}:{PORT}", "rotated", 50, properties, hosts) as load:
            load.started()
            before = shown(world, address)
            give_secret(world, *self_signed(folder, HOST, f"*.{HOST}")[1:])
            until("the new certificate", lambda: shown(world, address) != before, 180, pause=2)
            load.goes_on(50)
            journal = load.ended()
        judge_undisturbed(journal)
        if release.restarts():
            raise Failure("a pod was started again")
        return str(journal)


def shown(world, address):
    """The certificate that a client outside is shown."""
    return cluster.run(*world.outside("python3", "-c", LOOK, address, PORT, HOST), seconds=30)


# Prints the certificate of the server at a host and port, asked for by a name.
LOOK = """
import socket, ssl, sys
host, port, name = sys.argv[1:]
any = ssl.create_default_context()
any.check_hostname, any.verify_mode = False, ssl.CERT_NONE
plain = socket.create_connection((host, int(port)), 10)
with any.wrap_socket(plain, server_hostname=name) as shown:
    print(shown.getpeercert(True).hex())
"""


@case(SECONDS)
def configuration_rotated(world):
    """A `helm upgrade` of the configuration is taken in by pods that run; nobody is cut off."""
    with installed(world.release(), world.three_values("port")) as release:
        with world.load_through(release, "reconfigured") as load:
            load.started()
            before = names(release)
            node_ids = {"config": {"listeners": {"external": {"address": {"node_ids": "0-29"}}}}}
            release.upgrade(world.three_values("port"), node_ids)
            until("port 29 outside", lambda: answers(world, release, PORT + 1 + 29), 180, pause=3)
            load.goes_on(50)
            journal = load.ended()
        judge_undisturbed(journal)
        if before != names(release):
            raise Failure("the pods were replaced")
        return f"{journal}; ten more ports"


def answers(world, release, port):
    dial = f"import socket; socket.create_connection(('{release.address()}', {port}), 3)"
    try:
        cluster.run(*world.outside("python3", "-c", dial), seconds=30)
    except Failure:
        return False
    return True


@case(SECONDS)
def scaled_by_load(world):
    """An autoscaler adds pods, which get load as connections grow old, and takes them away."""
    cpu = pathlib.Path(world.needs("cpu_file", "what the metrics API says of a pod's CPU"))
    values = {
        "autoscaling": {
            "enabled": True, "minReplicas": 2, "maxReplicas": 4,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
        "config": {"limits": {"connection_age_max": "10s"}},
    }
    cpu.write_text("10m")
    with installed(world.release(), world.three_values(), values) as release:
        with world.load_through(release, "scaled") as load:
            load.started()
            old = names(release)
            cpu.write_text("900m")
            until("four pods", lambda: len(release.ready_pods()) == 4, 120)
            until("load on the new pods", lambda: all(moved(release, names(release) - old)), 120)
            cpu.write_text("1m")
            until("two pods", lambda: len(all_pods(release)) == 2, 180)
            load.goes_on(50)
            journal = load.ended()
        judge_undisturbed(journal)
        return str(journal)


def moved(release, pods):
    """Connections that each of the pods has had, by name."""
    by_name = {cluster.name_of(pod): pod for pod in release.ready_pods()}
    accepted = "narrows_connections_accepted_total"
    return [sum(release.metric(accepted, by_name[name]).values()) for name in pods]


@case(SECONDS)
def helm_test(world):
    """`helm test` goes the way of clients: it passes, and says why not if a name leads nowhere."""
    with installed(world.release(), world.three_values()) as release:
        told = release.place.helm("test", release.name, "--timeout=240s", seconds=260)
        if "Succeeded" not in told:
            raise Failure(told)
        pod = f"pod/{release.name}-check"
        release.upgrade(world.three_values(externalHost="nowhere.invalid"))
        try:
            release.place.helm("test", release.name, "--timeout=240s", seconds=260)
        except Failure:
            said = release.place.kubectl("logs", pod, "-c", "doctor-external")
        else:
            raise Failure("the test passes, though no client finds nowhere.invalid")
        finally:
            release.place.kubectl("delete", pod, "--ignore-not-found")
        if "nowhere.invalid" not in said or "FAIL" not in said:
            raise Failure(f"doctor says: {said}")
        return said.strip().splitlines()[-1].strip()[:120]


@case(SECONDS)
def sidecar_in_a_job(world):
    """The application of a Job dials 127.0.0.1; when it ends, so does Narrows: the Job is done."""
    job = sidecar_job(world)
    world.place.apply(job)
    name = cluster.name_of(job)
    try:
        world.place.kubectl(
            "wait", f"job/{name}", "--for=condition=Complete", "--timeout=180s", seconds=200
        )
        said = world.place.kubectl("logs", f"job/{name}", "-c", "application")
        acked = said.count('"producer_send_success"')
        if acked != 100:
            raise Failure(f"{acked} of 100 records: {said[-800:]}")
    except Failure as failure:
        seen = world.place.kubectl("describe", "pods", "-l", f"job-name={name}")[-2500:]
        raise Failure(f"{failure}\n{seen}") from failure
    finally:
        world.place.kubectl("delete", "job", name, "--wait=true")
    return f"{acked} records, and the Job is complete"


def sidecar_job(world):
    """The plain manifest of the sidecar, with an application in it."""
    manifest = narrows.ROOT / "charts/narrows-sidecar/examples/job.yaml"
    words = ("create", "--dry-run=client", "-o", "json", "-f", manifest)
    job = json.loads(world.place.kubectl(*words))
    job["metadata"]["namespace"] = world.place.namespace
    job["spec"]["backoffLimit"] = 0
    pod = job["spec"]["template"]["spec"]
    [sidecar] = pod["initContainers"]
    sidecar["image"] = world.image
    sidecar["args"] = [
        f"--bootstrap-servers={world.kafka.bootstrap}" if "bootstrap-servers" in word else word
        for word in sidecar["args"]
    ]
    [application] = pod["containers"]
    application |= {
        "image": world.kafka_image,
        "args": [
            "-Xmx64m", *kafka.JVM, "-cp", "/classes:/kafka/*",
            "org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", "127.0.0.1:9092",
            "--topic", "sidecar", "--max-messages", "100", "--throughput", "100",
        ],
        "securityContext": sidecar["securityContext"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    return job
