"""A client under way while something happens, and what its records say afterwards.

The client is java/Load.java. It writes down what was acknowledged, read and, at the end, stored.
"""

import collections
import re
import shlex
import subprocess
import time

from cluster import Failure

# Waits end as soon as they can; their bounds are for a machine on which much else runs, where a JVM
# takes a minute to start. The end covers Load.java's own bounds: delivery, then two reads.
START_SECONDS = 240
STILL_SECONDS = 180
END_SECONDS = 480


class Load:
    """A client that runs; to be ended by `ended`, which gives its journal."""

    def __init__(self, command, bootstrap, topic, folder, rate=50, properties=()):
        self.topic = topic
        self.path = folder / f"{topic}.log"
        self.errors = folder / f"{topic}.err"
        words = [*command, bootstrap, topic, str(rate), *properties]
        with open(self.path, "w") as out, open(self.errors, "w") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.PIPE, stdout=out, stderr=errors, start_new_session=True,
            )
        self.words = shlex.join(map(str, words))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def started(self):
        """Waits until the client has produced a record and read it back."""
        self.await_line("ready", START_SECONDS)
        return self

    def await_line(self, line, seconds):
        deadline = time.monotonic() + seconds
        while line not in self.lines():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"no '{line}' from the client of {self.topic}: {self.last_words()}")
            time.sleep(0.2)

    def lines(self):
        return self.path.read_text().splitlines()

    def last_words(self):
        said = self.lines()[-5:] + self.errors.read_text().splitlines()[-12:]
        return "\n".join([self.words[:300], *said])

    def acknowledged(self):
        """How many records are known to be safe so far."""
        return sum(line.startswith("acked ") for line in self.lines())

    def goes_on(self, records=20, seconds=STILL_SECONDS):
        """Waits until so many more records were acknowledged."""
        wanted = self.acknowledged() + records
        deadline = time.monotonic() + seconds
        while self.acknowledged() < wanted:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"the client of {self.topic} stands still: {self.last_words()}")
            time.sleep(0.2)

    def ended(self):
        """Ends the client in order; its journal."""
        self.process.stdin.close()
        self.await_line("end", END_SECONDS)
        return Journal(self.topic, self.lines())


class Journal:
    """What a client wrote down."""

    def __init__(self, topic, lines):
        self.topic = topic
        self.acked = {}
        self.stored = collections.defaultdict(list)
        self.read = set()
        # Errors that the application was given, by kind.
        self.errors = collections.Counter()
        self.slowest_ms = 0
        # Requests without an answer when their connection was cut off, by API.
        self.cut_off = collections.Counter()
        for line in lines:
            if cancelled := re.search(r"Cancelled in-flight (\w+) request", line):
                self.cut_off[cancelled[1]] += 1
            self.note(*line.split(" "))

    def note(self, kind, *rest):
        if kind == "acked":
            number, *place, took = map(int, rest)
            self.acked[number] = tuple(place)
            self.slowest_ms = max(self.slowest_ms, took)
        elif kind == "stored":
            number, *place = map(int, rest)
            self.stored[number].append(tuple(place))
        elif kind == "read":
            self.read.add(int(rest[0]))
        elif kind == "failed":
            self.errors[rest[1]] += 1
        elif kind == "broken":
            # `consume org.apache.kafka….TimeoutException: text`: the text names topic and place.
            what, error = rest[0], rest[1].rstrip(":").rpartition(".")[2]
            self.errors[f"{what} {error}"] += 1

    def __str__(self):
        cut_off = ", ".join(f"{count} {api}" for api, count in sorted(self.cut_off.items()))
        return (
            f"{len(self.acked)} records, slowest {self.slowest_ms} ms, cut off: {cut_off or 'none'}"
        )

    def harm(self):
        """What was lost, moved, doubled or turned around, in words; empty if nothing was."""
        found = []
        for number, place in self.acked.items():
            places = self.stored.get(number, [])
            if not places:
                found.append(f"lost: record {number}, acknowledged at {place}")
            elif place not in places:
                found.append(f"moved: record {number}, acknowledged at {place}, is at {places}")
        found += [f"doubled: record {n} at {p}" for n, p in self.stored.items() if len(p) > 1]
        found += self.turned_around()
        unread = set(self.acked) - self.read
        found += [f"not read by the group: record {number}" for number in sorted(unread)]
        return found

    def turned_around(self):
        """Records of one partition are in the order in which one producer sent them."""
        by_place = sorted((place, n) for n, places in self.stored.items() for place in places)
        pairs = zip(by_place, by_place[1:])
        return [
            f"turned around: record {after} behind record {before} at {place}"
            for ((partition, _), before), (place, after) in pairs
            if partition == place[0] and after < before
        ]


def judge(*journals):
    """Refuses any harm, and a run in which nothing was sent."""
    for journal in journals:
        if not journal.acked:
            raise Failure(f"{journal.topic}: nothing was acknowledged, so nothing was tried")
        if harm := journal.harm():
            raise Failure(f"{journal.topic}: {len(harm)} records: " + "; ".join(harm[:5]))


def judge_beside(through, direct):
    """No harm, and no error through Narrows of a kind that the client beside it did not get."""
    judge(through, direct)
    if more := set(through.errors) - set(direct.errors):
        raise Failure(f"errors through Narrows alone: {sorted(more)}; direct: {direct.errors}")


def judge_undisturbed(journal):
    """No harm and no error at all."""
    judge(journal)
    if journal.errors:
        raise Failure(f"{journal.topic}: the client got errors: {dict(journal.errors)}")
