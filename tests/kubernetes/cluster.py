"""The cluster, by kubectl and helm: commands that end, and waits that have an end.

Every wait here is bounded, and ends as soon as it can: the bounds are for a machine on which much
else runs. What a case may take in all is bounded by main.py.
"""

import json
import shlex
import subprocess
import time

# Longer than anything that ends well; a command that hangs is killed then.
COMMAND_SECONDS = 300


class Failure(Exception):
    """What was promised did not hold; the text says what was seen."""


class NotRun(Exception):
    """The cluster can't show it; the text says what it takes."""


def run(*command, given=None, seconds=COMMAND_SECONDS):
    """What a command prints; a Failure with what it said if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=given, text=True, capture_output=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{shlex.join(words)[:200]} did not end in {seconds} s") from late
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-1500:]
        raise Failure(f"{shlex.join(words)[:200]}: exit code {done.returncode}: {said}")
    return done.stdout


def until(what, probe, seconds=240, pause=0.5):
    """Calls `probe` until it gives something true, and gives it back; `what` names what is awaited.

    A Failure in a probe counts as not yet, and is told when the time is over.
    """
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            if found := probe():
                return found
            last = None
        except Failure as failure:
            last = failure
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}" + (f" ({last})" if last else ""))
        time.sleep(pause)


class Cluster:
    """One namespace of the cluster; `kubectl` and `helm` are commands, with first arguments."""

    def __init__(self, kubectl, helm, namespace):
        self.kubectl_command = shlex.split(kubectl)
        self.helm_command = shlex.split(helm)
        self.namespace = namespace

    def kubectl(self, *words, **options):
        return run(*self.kubectl_words(*words), **options)

    def kubectl_words(self, *words):
        return [*self.kubectl_command, f"--namespace={self.namespace}", *map(str, words)]

    def helm(self, *words, **options):
        return run(*self.helm_command, f"--namespace={self.namespace}", *words, **options)

    def apply(self, *objects):
        """Makes the objects, or changes them; fields that the API server doesn't know: refused."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        words = ("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-")
        return self.kubectl(*words, given=json.dumps(whole))

    def get(self, *words):
        """An object, or the items of a list."""
        found = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found["items"] if found["kind"] == "List" else found

    def raw(self, path):
        """What the API server answers at a path, as text: also a pod's HTTP port, by its proxy."""
        return self.kubectl("get", "--raw", path)

    def pods(self, selector):
        """Pods that are not on their way out."""
        return [
            pod
            for pod in self.get("pods", "-l", selector)
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def make_namespace(self, labels):
        run(*self.kubectl_command, "create", "namespace", self.namespace)
        all_labels = {"narrows.test/run": "1", **labels}
        words = [f"{key}={value}" for key, value in all_labels.items()]
        run(*self.kubectl_command, "label", "namespace", self.namespace, *words)
        until("a service account", lambda: self.kubectl("get", "serviceaccount", "default"))

    def remove_namespace(self):
        run(
            *self.kubectl_command, "delete", "namespace", self.namespace,
            "--ignore-not-found", "--timeout=120s",
        )


def name_of(thing):
    return thing["metadata"]["name"]


def is_ready(pod):
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def address_of(pod):
    """The pod's address, None as long as it has none."""
    return pod["status"].get("podIP")
