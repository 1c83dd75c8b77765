"""Narrows in the cluster, installed as its users do: by Helm, with the chart of this checkout."""

import contextlib
import json
import pathlib
import subprocess

import cluster
from cluster import Failure, until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts/narrows"
PORT = 9092
ADMIN = 9190
# What a test can wait for; the chart's own defaults are made for load balancers of clouds.
DRAIN = {"delay": "5s", "timeout": "20s"}


class Release:
    """A release of the chart, and the address by which clients outside of the cluster know it."""

    def __init__(self, place, image, load_balancer=None, name="narrows", chart=CHART):
        self.place = place
        self.image = image
        self.load_balancer = load_balancer
        self.name = name
        self.chart = chart
        self.selector = f"app.kubernetes.io/instance={name},app.kubernetes.io/name=narrows"

    def install(self, *values, upgrade=False):
        """Installs, or upgrades, and waits for the pods; `values` are laid over each other."""
        registry, _, rest = self.image.partition("/")
        repository, _, tag = rest.partition(":")
        own = {
            "image": {"registry": registry, "repository": repository, "tag": tag},
            "config": {"drain": DRAIN},
            "minReadySeconds": 1,
        }
        verb = "upgrade" if upgrade else "install"
        self.place.helm(
            verb, self.name, self.chart, "--values=-", "--timeout=120s",
            given=json.dumps(laid_over(own, *values)),
        )
        self.give_address()
        self.await_rollout()
        return self

    def upgrade(self, *values):
        return self.install(*values, upgrade=True)

    def give_address(self):
        """Does what a controller for load balancers would do, where there is none."""
        if not self.load_balancer:
            return
        status = {"status": {"loadBalancer": {"ingress": [{"ip": self.load_balancer}]}}}
        self.place.kubectl(
            "patch", f"service/{self.name}", "--subresource=status", "--type=merge",
            "-p", json.dumps(status),
        )

    def address(self):
        """The load balancer's address, once there is one."""

        def given():
            found = self.place.get("service", self.name)["status"].get("loadBalancer", {})
            return [one.get("ip") or one["hostname"] for one in found.get("ingress", [])]

        return until("an address of the load balancer", given, 120)[0]

    def await_rollout(self):
        self.place.kubectl(
            "rollout", "status", f"deployment/{self.name}", "--timeout=180s", seconds=200
        )

    def restart(self):
        self.place.kubectl("rollout", "restart", f"deployment/{self.name}")
        self.await_rollout()

    def pods(self):
        return self.place.pods(self.selector)

    def ready_pods(self):
        return [pod for pod in self.pods() if cluster.is_ready(pod)]

    def admin(self, path, pod=None):
        """What a pod's admin port answers, asked by way of the API server."""
        name = cluster.name_of(pod or self.ready_pods()[0])
        where = f"/api/v1/namespaces/{self.place.namespace}/pods/{name}:{ADMIN}/proxy{path}"
        return self.place.raw(where)

    def status(self, pod=None):
        return json.loads(self.admin("/status", pod))

    def metric(self, name, pod=None):
        """The series of a metric: {labels as text: value}."""
        found = {}
        for line in self.admin("/metrics", pod).splitlines():
            series, _, value = line.rpartition(" ")
            metric, _, labels = series.partition("{")
            if metric == name:
                found[labels.rstrip("}")] = float(value)
        return found

    def restarts(self):
        """How often containers of the pods were started again."""
        return sum(
            one["restartCount"] for pod in self.pods() for one in pod["status"]["containerStatuses"]
        )

    def logs(self):
        return self.place.kubectl("logs", "-l", self.selector, "--tail=40", "--prefix")

    def uninstall(self):
        self.place.helm("uninstall", self.name, "--wait", "--timeout=120s")
        until("no more pods", lambda: not self.place.get("pods", "-l", self.selector), 120)


def laid_over(*parts):
    """The parts merged, each above the one before."""
    result = {}
    for part in parts:
        for key, value in part.items():
            below = result.get(key)
            is_map = isinstance(value, dict) and isinstance(below, dict)
            result[key] = laid_over(below, value) if is_map else value
    return result


@contextlib.contextmanager
def installed(release, *values):
    """A release for as long as a block lasts; its log is in the failure, if there is one."""
    try:
        release.install(*values)
        yield release
    except Failure as failure:
        raise Failure(f"{failure}\n--- Narrows' pods\n{said(release)}") from failure
    finally:
        with contextlib.suppress(Failure):
            release.uninstall()


def said(release):
    try:
        return release.logs()
    except Failure as failure:
        return str(failure)


def self_signed(folder, *names):
    """Makes an authority and a certificate of these names; the paths (ca, certificate, key)."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key, certificate, key = (folder / n for n in ("ca.crt", "ca.key", "tls.crt", "tls.key"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not ca.exists():
        cluster.run("openssl", "req", "-x509", *curve, "-days", "2", "-subj", "/CN=Test CA",
                    "-keyout", ca_key, "-out", ca)
    subject = ",".join(f"DNS:{name}" for name in names)
    request = cluster.run("openssl", "req", *curve, "-subj", f"/CN={names[0]}", "-keyout", key)
    extension = folder / "san"
    extension.write_text(f"subjectAltName={subject}\n")
    subprocess.run(
        ["openssl", "x509", "-req", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
         "-extfile", extension, "-out", certificate],
        input=request, text=True, check=True, capture_output=True,
    )
    return ca, certificate, key
