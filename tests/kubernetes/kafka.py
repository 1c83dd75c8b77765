"""Kafka in the cluster: an image of Maven Central's jars and a JRE, made without an engine, and the
StatefulSet that most clusters run, with a headless service."""

import os
import pathlib
import re
import shutil
import sys

import cluster
from cluster import Failure, until

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "charts/image"))
import archive  # noqa: E402

VOTERS = 3
CLIENT_PORT = 9092
MODULES = (
    "java.base,java.desktop,java.logging,java.management,java.naming,java.security.jgss,"
    "java.security.sasl,java.sql,java.xml,jdk.crypto.ec,jdk.management,jdk.unsupported"
)
# Small and quick to start, before fast: many processes share the node.
JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
# A client's own log, on its standard output: it says which requests it gave up when it was cut off.
CLIENT_LOG = "-Dlog4j2.level=INFO"


def jars(version):
    """The folder with Kafka's jars, fetched once."""
    folder = pathlib.Path(os.environ.get("NARROWS_KAFKA_DIR", ROOT / "target/kafka")) / version
    cluster.run(ROOT / "tests/kafka/fetch", version, seconds=900)
    return folder


def compiled(version, work):
    """The folder with the classes of tests/kubernetes/java."""
    classes = work / "classes"
    sources = sorted((HERE / "java").glob("*.java"))
    cluster.run("javac", "-cp", f"{jars(version)}/*", "-d", classes, *sources)
    return classes


def build_image(version, work, name):
    """Writes the image archive and gives its path: a JRE, its libraries, the jars, the classes."""
    out = work / f"kafka-{version}.tar"
    files = [
        *files_of(jre(work), "jre"),
        *files_of(jars(version), "kafka"),
        *files_of(compiled(version, work), "classes"),
        *libraries(work / "jre"),
        ("etc/passwd", 0o644, b"root:x:0:0::/:/\nkafka:x:65532:65532::/:/\n"),
    ]
    settings = {"User": "65532:65532", "Env": ["PATH=/jre/bin"], "Entrypoint": ["/jre/bin/java"]}
    archive.write_image(out, name, [(machine(), files)], settings)
    return out


def machine():
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    return known.get(os.uname().machine, os.uname().machine)


def jre(work):
    """A Java runtime with the modules that Kafka needs, out of the JDK at hand."""
    folder = work / "jre"
    if not folder.exists():
        javac = pathlib.Path(shutil.which("javac")).resolve()
        cluster.run(
            javac.parent / "jlink", "--add-modules", MODULES, "--strip-debug", "--no-man-pages",
            "--no-header-files", "--output", folder,
        )
    return folder


def files_of(folder, where):
    """(path in the image, mode, bytes) of every file of a folder."""
    return [
        (
            f"{where}/{path.relative_to(folder)}",
            0o755 if os.access(path, os.X_OK) else 0o644,
            path.read_bytes(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def libraries(folder):
    """The shared libraries of the machine that the programs below a folder are linked to."""
    programs = [folder / "bin/java", *folder.rglob("*.so")]
    found = set()
    for program in programs:
        found |= set(re.findall(r"(/\S+) \(0x", cluster.run("ldd", program)))
    outside = sorted(path for path in found if not path.startswith(str(folder)))
    return [(path.lstrip("/"), 0o755, pathlib.Path(path).read_bytes()) for path in outside]


class Kafka:
    """A cluster of three brokers that are controllers too, by the name of its StatefulSet."""

    def __init__(self, place, image, name="kafka", data_folder=None, advertised=None):
        self.place = place
        self.image = image
        self.name = name
        self.service = f"{name}-svc"
        self.domain = f"{self.service}.{place.namespace}.svc.cluster.local"
        self.data_folder = data_folder
        # What clients are told; the usual is the name of each pod.
        self.advertised = advertised or f"{{pod}}.{self.domain}:{CLIENT_PORT}"
        self.bootstrap = f"{self.domain}:{CLIENT_PORT}"

    def start(self):
        """Makes the brokers, and waits until each has an open port."""
        self.place.apply(self.headless_service(), self.stateful_set())
        self.await_ready(VOTERS)

    def await_ready(self, brokers, seconds=240):
        def are_ready():
            ready = [pod for pod in self.pods() if cluster.is_ready(pod)]
            return len(ready) == brokers

        until(f"{brokers} brokers of {self.name} ready", are_ready, seconds, pause=1)

    def pods(self):
        return sorted(self.place.pods(f"app={self.name}"), key=cluster.name_of)

    def pod(self, number):
        """The pod of a broker; a Failure while there is none."""
        name = f"{self.name}-{number}"
        found = [pod for pod in self.pods() if cluster.name_of(pod) == name]
        if not found:
            raise Failure(f"there is no pod {name}")
        return found[0]

    def scale(self, brokers):
        self.place.kubectl("scale", f"statefulset/{self.name}", f"--replicas={brokers}")

    def stop(self):
        self.place.kubectl("delete", f"statefulset/{self.name}", f"service/{self.service}")
        self.place.kubectl("delete", "pvc", "-l", f"app={self.name}")
        until("no more brokers", lambda: not self.place.get("pods", "-l", f"app={self.name}"), 120)

    def headless_service(self):
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.service, "namespace": self.place.namespace},
            "spec": {
                "clusterIP": "None",
                # Controllers have to find each other before any of them is ready.
                "publishNotReadyAddresses": True,
                "selector": {"app": self.name},
                "ports": [{"name": "kafka", "port": CLIENT_PORT}],
            },
        }

    def stateful_set(self):
        labels = {"app": self.name}
        spec = {
            "serviceName": self.service,
            "replicas": VOTERS,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": self.pod_spec()},
        }
        if not self.data_folder:
            spec["volumeClaimTemplates"] = [
                {
                    "metadata": {"name": "data", "labels": labels},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ]
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": self.name, "namespace": self.place.namespace},
            "spec": spec,
        }

    def pod_spec(self):
        data = {"name": "data", "mountPath": "/data"}
        volumes = [{"name": "tmp", "emptyDir": {}}]
        if self.data_folder:
            data["subPathExpr"] = "$(POD)"
            folder = f"{self.data_folder}/{self.place.namespace}-{self.name}"
            host = {"path": folder, "type": "DirectoryOrCreate"}
            volumes.append({"name": "data", "hostPath": host})
        pod = {"fieldRef": {"fieldPath": "metadata.name"}}
        return {
            "terminationGracePeriodSeconds": 30,
            # Folders of the node belong to root.
            "securityContext": {"runAsUser": 0 if self.data_folder else 65532, "fsGroup": 65532},
            "containers": [
                {
                    "name": "kafka",
                    "image": self.image,
                    "args": ["-Xmx256m", *JVM, "-cp", "/classes:/kafka/*", "Broker"],
                    "env": [
                        {"name": "POD", "valueFrom": pod},
                        {"name": "SERVICE", "value": self.domain},
                        {"name": "VOTERS", "value": str(VOTERS)},
                        {"name": "ADVERTISED", "value": self.advertised},
                    ],
                    "ports": [{"name": "kafka", "containerPort": CLIENT_PORT}],
                    "readinessProbe": {"tcpSocket": {"port": "kafka"}, "periodSeconds": 2},
                    "volumeMounts": [data, {"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": volumes,
        }
