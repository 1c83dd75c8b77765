"""What the drivers share: options, the records of a tag, JSON lines, and one deadline for everything."""

import ctypes
import json
import os
import re
import signal
import sys
import threading
import time

TIMEOUT_SECONDS_DEFAULT = 60.0
# A scenario keeps its deadline itself; it gets this much longer to report and to close its client.
WATCHDOG_SECONDS = 8.0


class Failure(Exception):
    """A scenario that did not do what it promises; the text is the sentence that goes to stderr."""


class Options:
    """The arguments `BOOTSTRAP SCENARIO [key=value ...]`."""

    def __init__(self, arguments):
        self.bootstrap, self.scenario, *rest = arguments
        self._values = dict(argument.split("=", 1) for argument in rest)
        self._ends = time.monotonic() + float(self._values.get("timeout", TIMEOUT_SECONDS_DEFAULT))

    def get(self, name, default=None):
        return self._values.get(name, default)

    def require(self, name):
        if name not in self._values:
            raise Failure(f"scenario {self.scenario} needs {name}=")
        return self._values[name]

    @property
    def topic(self):
        return self.require("topic")

    @property
    def count(self):
        return int(self.require("count"))

    @property
    def count_or_endless(self):
        """The count, or infinity where the scenario may run until SIGTERM."""
        return int(self._values["count"]) if "count" in self._values else float("inf")

    @property
    def rate(self):
        """Records a second, None for as fast as possible."""
        return float(self._values["rate"]) if "rate" in self._values else None

    @property
    def remaining_seconds(self):
        return max(0.0, self._ends - time.monotonic())

    @property
    def security(self):
        """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return self.get("security", "PLAINTEXT")

    def sasl(self):
        """(mechanism, username, password), or None where the client does not authenticate."""
        if not self.security.startswith("SASL_"):
            return None
        return self.get("mechanism", "PLAIN"), self.require("username"), self.require("password")

    def ca_file(self):
        """The PEM file of the authority that signed the server's certificate, or None for a connection without TLS."""
        return self.require("cafile") if self.security.endswith("SSL") else None

    def certificate(self):
        """(certificate file, key file) of the client, both PEM, or None where it shows no certificate."""
        if not self.security.endswith("SSL") or not self.get("certfile"):
            return None
        return self.get("certfile"), self.require("keyfile")

    def check_time(self, done, what):
        if self.remaining_seconds <= 0:
            raise Failure(f"{done} of {self.get('count', 'endless')} records were {what} when the time was up")


def records(tag, count):
    """The records (key, value) 0 to count-1 of a tag; every client makes and expects the same ones."""
    index = 0
    while index < count:
        yield f"{tag}-{index}", f"{tag}:{index}:" + "x" * (index % 512)
        index += 1


TRANSACTION = 10


def transactions(options):
    """(whether to commit it, its records) for transactions of ten records, which are committed and aborted by turns."""
    wished = list(records(options.require("tag"), options.count))
    for start in range(0, len(wished), TRANSACTION):
        yield start // TRANSACTION % 2 == 0, wished[start:start + TRANSACTION]


def ensure_node_id(broker, node_id):
    """The node.id that a broker's configuration has: only the broker itself answers for it."""
    emit(step="describeConfigs", broker=broker, **{"node.id": node_id})
    if str(broker) != node_id:
        raise Failure(f"the configuration of broker {broker} says node.id={node_id}")


def paced(options):
    """Yields at the wished rate until SIGTERM or the deadline; without a rate, at once."""
    began, turn = time.monotonic(), 0
    while not stop_asked() and options.remaining_seconds > 0:
        if options.rate:
            early = began + turn / options.rate - time.monotonic()
            if early > 0:
                time.sleep(min(early, 0.1))
                continue
        turn += 1
        yield


def complaint(text):
    """The line of a tool's output that says what is wrong, else its last one, cut to the length of a sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "SLF4J"))]
    telling = [line for line in lines if re.search(r"error|exception|fail", line, re.IGNORECASE)]
    return (telling or lines or ["nothing"])[0 if telling else -1][:400]


def emit(**line):
    print(json.dumps(line), flush=True)


_stop = False


def stop_asked():
    return _stop


def _ask_to_stop(*_):
    global _stop
    _stop = True


def die_with_parent():
    """For `preexec_fn`: the kernel kills this process when the one that started it is gone."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _watch(options):
    """Some libraries wait for ever, on a wrong password for one: says so and leaves in their stead."""
    def leave():
        print(f"error: {options.scenario} was not done when the time was up", file=sys.stderr, flush=True)
        os._exit(1)

    watchdog = threading.Timer(options.remaining_seconds + WATCHDOG_SECONDS, leave)
    watchdog.daemon = True
    watchdog.start()


def drive(scenarios, arguments=None, orderly=True):
    """Runs the scenario that the arguments name; turns whatever goes wrong into a sentence and exit code 1.

    `orderly` says that the scenarios look at stop_asked(); without it SIGTERM ends the process at once.
    """
    if orderly:
        signal.signal(signal.SIGTERM, _ask_to_stop)
    try:
        options = Options(sys.argv[1:] if arguments is None else arguments)
        _watch(options)
        if options.scenario not in scenarios:
            raise Failure(f"this client has no scenario {options.scenario}; it has {', '.join(scenarios)}")
        scenarios[options.scenario](options)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # the client library's own exceptions, of any kind
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
