"""What the cases share: the two namespaces, the images, Kafka, and clients outside and inside."""

import contextlib
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import cluster
import kafka
import narrows
from cluster import Failure, NotRun, until
from load import Load

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NARROWS_IMAGE = "localhost/narrows:0.1.0"
KAFKA_IMAGE = "localhost/narrows-test-kafka"
# Marks the nodes that a case uses, by the name of the run.
NODE_LABEL = "narrows.test/run"
# What Narrows runs under everywhere: the strictest that Kubernetes has.
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class World:
    """The cluster as the options describe it; `options` is what main.py parsed."""

    def __init__(self, options):
        self.options = options
        self.work = ROOT / "target/kubernetes"
        self.work.mkdir(parents=True, exist_ok=True)
        self.scratch = tempfile.TemporaryDirectory(prefix="narrows-kubernetes-")
        self.run = pathlib.Path(self.scratch.name).name.rpartition("-")[2].replace("_", "x")
        commands = (options.kubectl, options.helm)
        # Kafka's pods are a fixture, and may need what Narrows must not have.
        self.backstage = cluster.Cluster(*commands, f"narrows-test-{self.run}-kafka")
        self.place = cluster.Cluster(*commands, f"narrows-test-{self.run}")
        self.kafka_image = f"{KAFKA_IMAGE}:{options.kafka}"
        self.image = NARROWS_IMAGE
        self.classes = None
        self.kafka = None
        # How often all cases have been run before: their topics must be new ones.
        self.round = 0
        self.journals = self.work / "clients"
        shutil.rmtree(self.journals, ignore_errors=True)
        self.journals.mkdir()

    def open(self):
        """Makes and loads the images, and starts Kafka; takes minutes the first time."""
        self.check_tools()
        self.load_image(self.narrows_archive())
        self.load_image(self.kafka_archive())
        self.place.make_namespace(RESTRICTED)
        self.backstage.make_namespace({})
        self.kafka = self.start_kafka("kafka")
        self.backstage.apply(self.client_pod())
        self.backstage.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=120s")

    def close(self):
        for place in (self.place, self.backstage):
            with contextlib.suppress(Failure):
                place.remove_namespace()
        self.scratch.cleanup()

    def check_tools(self):
        wanted = {
            "java": "a JDK of 17 or newer", "javac": "a JDK of 17 or newer",
            "mvn": "Maven", "openssl": "the package openssl", "kcat": "the package kcat",
            shlex.split(self.options.kubectl)[0]: "kubectl",
            shlex.split(self.options.helm)[0]: "Helm 3 or 4",
        }
        missing = {tool: what for tool, what in wanted.items() if not shutil.which(tool)}
        if missing:
            raise Failure("; ".join(f"{tool} is missing: {what}" for tool, what in missing.items()))
        if not self.options.load_command:
            raise Failure("say how the cluster is given an image: --load-command, see --help")
        try:
            self.place.raw("/readyz")
        except Failure as failure:
            raise Failure(f"no cluster answers: does KUBECONFIG name one? {failure}") from failure

    def load_image(self, archive):
        cluster.run(*shlex.split(self.options.load_command), archive)

    def narrows_archive(self):
        if self.options.image:
            return pathlib.Path(self.options.image)
        out = self.work / "narrows.tar"
        build = ROOT / "charts/image/build"
        cluster.run(build, "image", "--name", NARROWS_IMAGE, "--out", out, seconds=3600)
        return out

    def kafka_archive(self):
        out = self.work / f"kafka-{self.options.kafka}.tar"
        java = kafka.HERE / "java"
        newest = max(path.stat().st_mtime for path in [*java.iterdir(), kafka.HERE / "kafka.py"])
        self.classes = kafka.compiled(self.options.kafka, self.work)
        if not out.exists() or out.stat().st_mtime < newest:
            kafka.build_image(self.options.kafka, self.work, self.kafka_image)
        return out

    def start_kafka(self, name, **options):
        made = kafka.Kafka(
            self.backstage, self.kafka_image, name, data_folder=self.options.data_folder, **options
        )
        made.start()
        return made

    def client_pod(self):
        """A pod in which clients are started that dial the brokers themselves."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client", "namespace": self.backstage.namespace},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "client",
                        "image": self.kafka_image,
                        "args": ["-Xmx32m", *kafka.JVM, "-cp", "/classes:/kafka/*", "Load", "wait"],
                    }
                ],
            },
        }

    def release(self, **options):
        return narrows.Release(
            self.place, self.image, self.options.load_balancer, **options
        )

    def three_values(self, scheme=None, **more):
        """What the chart's README begins with, and what a case adds."""
        given = {
            "bootstrapServers": self.kafka.bootstrap,
            "externalHost": self.options.load_balancer or "kafka.example.com",
            "scheme": scheme or self.options.scheme,
        }
        return narrows.laid_over(given, more)

    def outside(self, *command):
        """A command where clients are: outside of the cluster."""
        return [*shlex.split(self.options.client), *map(str, command)]

    def load_outside(self, bootstrap, topic, rate=50, properties=(), hosts=None):
        """A client outside that has Narrows' address alone; `hosts` is a file as /etc/hosts."""
        jars = f"{self.classes}:{kafka.jars(self.options.kafka)}/*"
        flags = [f"-Djdk.net.hosts.file={hosts}"] if hosts else []
        java = self.outside(
            "java", "-Xmx128m", *kafka.JVM, kafka.CLIENT_LOG, *flags, "-cp", jars, "Load"
        )
        return Load(java, bootstrap, self.topic(topic), self.journals, rate, properties)

    def load_through(self, release, topic, rate=50):
        """A client outside that has a release's address alone."""
        return self.load_outside(f"{release.address()}:{narrows.PORT}", topic, rate)

    def load_inside(self, topic, rate=50):
        """The same client in a pod, which dials the brokers: what happens without Narrows."""
        java = self.backstage.kubectl_words(
            "exec", "-i", "client", "--",
            "/jre/bin/java", "-Xmx128m", *kafka.JVM, kafka.CLIENT_LOG,
            "-cp", "/classes:/kafka/*", "Load",
        )
        return Load(java, self.kafka.bootstrap, self.topic(topic), self.journals, rate)

    def topic(self, name):
        """A topic of this round's own."""
        return f"{name}-{self.round}" if self.round else name

    def needs(self, option, what):
        """The value of an option, or the case is not run."""
        value = getattr(self.options, option)
        if not value:
            raise NotRun(f"needs --{option.replace('_', '-')}: {what}")
        return value

    @contextlib.contextmanager
    def more_nodes(self, count):
        """So many nodes by name, labelled, while a block lasts: added ones, or the cluster's."""
        with self.added_nodes(count) as nodes:
            try:
                for node in nodes:
                    self.place.kubectl("label", "node", node, f"{NODE_LABEL}={self.run}")
                yield nodes
            finally:
                for node in nodes:
                    self.place.kubectl("uncordon", node)
                    self.place.kubectl("label", "node", node, f"{NODE_LABEL}-")

    @contextlib.contextmanager
    def added_nodes(self, count):
        before = self.ready_nodes()
        if not self.options.more_nodes:
            if len(before) < count:
                raise NotRun(f"needs {count} nodes, or --more-nodes: a command that adds some")
            yield before[:count]
            return
        added = []
        words = [*shlex.split(self.options.more_nodes), str(count)]
        with subprocess.Popen(words) as process:
            try:
                until(f"{count} nodes", lambda: len(self.ready_nodes()) == len(before) + count)
                added = [node for node in self.ready_nodes() if node not in before]
                yield added
            finally:
                process.terminate()
                for node in added:
                    self.place.kubectl("delete", "node", node)

    def ready_nodes(self):
        """The names of the nodes that take pods."""
        return [
            cluster.name_of(node)
            for node in self.place.get("nodes")
            if cluster.is_ready(node) and not node["spec"].get("taints")
        ]
