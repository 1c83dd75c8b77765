"""Kafka's own command-line tools, run as processes of their own.

Arguments: VERSION "JVM COMMAND" CLASS_PATH BOOTSTRAP SCENARIO [key=value ...]. The console producer tells no
partition and offset, so `produce` prints keys only: it ends with 0 only when `--sync` had every record acknowledged.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from driver import Failure, Options, complaint, die_with_parent, drive, emit, records

VERSION, JVM, CLASS_PATH, *ARGUMENTS = sys.argv[1:]
IS_3 = VERSION.startswith("3.")

TOPICS = "org.apache.kafka.tools.TopicCommand"
API_VERSIONS = "kafka.admin.BrokerApiVersionsCommand" if IS_3 else "org.apache.kafka.tools.BrokerApiVersionsCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
PRODUCER = "kafka.tools.ConsoleProducer" if IS_3 else "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
SHARE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
PRODUCER_PERFORMANCE = "org.apache.kafka.tools.ProducerPerformance"
CONSUMER_PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"

# Options that 4.x renamed; it still takes most of the old names, with a warning.
PRODUCER_CONFIG = "--producer.config" if IS_3 else "--command-config"
CONSUMER_CONFIG = "--consumer.config" if IS_3 else "--command-config"
READER_PROPERTY = "--property" if IS_3 else "--reader-property"
FORMATTER_PROPERTY = "--property" if IS_3 else "--formatter-property"
NUMBER_OF_RECORDS = "--messages" if IS_3 else "--num-records"


class Tools:
    """Runs tools against one bootstrap address, with one properties file for all of them."""

    def __init__(self, options, **properties):
        self.options = options
        self._file = tempfile.NamedTemporaryFile("w", suffix=".properties")
        self.config = self._file.name
        lines = {"client.id": f"narrows-test-{VERSION}"} | properties
        lines["security.protocol"] = options.security
        if options.sasl():
            mechanism, username, password = options.sasl()
            module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
            lines |= {"sasl.mechanism": mechanism, "sasl.jaas.config":
                      f'org.apache.kafka.common.security.{module} required username="{username}" password="{password}";'}
        if options.ca_file():
            lines |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": options.ca_file()}
        if options.certificate():
            certificate, key = (Path(file).read_text().replace("\n", "\\n") for file in options.certificate())
            lines |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": certificate, "ssl.keystore.key": key}
        self._file.writelines(f"{key}={value}\n" for key, value in lines.items())
        self._file.flush()

    def run(self, tool, *arguments, text=None):
        """(exit code, stdout, stderr) of a tool."""
        command = JVM.split() + ["-cp", CLASS_PATH, tool, *arguments]
        try:
            ended = subprocess.run(command, input=text, text=True, capture_output=True,
                                   timeout=self.options.remaining_seconds, preexec_fn=die_with_parent,
                                   stdin=None if text is not None else subprocess.DEVNULL)
        except subprocess.TimeoutExpired as late:
            say = complaint(((late.stdout or b"") + (late.stderr or b"")).decode(errors="replace"))
            raise Failure(f"{tool} was not done when the time was up; it said: {say}") from late
        sys.stderr.write(ended.stderr)
        return ended.returncode, ended.stdout, ended.stderr

    def must(self, tool, *arguments, text=None):
        """The stdout of a tool that has to succeed."""
        code, out, error = self.run(tool, *arguments, text=text)
        if code:
            raise Failure(f"{tool} ended with {code}: {complaint(out + error)}")
        return out

    def admin(self, tool, *arguments):
        return self.must(tool, *self.at_bootstrap(), *arguments)

    def at_bootstrap(self):
        return ["--bootstrap-server", self.options.bootstrap, "--command-config", self.config]


def metadata(options):
    tools = Tools(options)
    line = {"brokers": brokers_in(tools.admin(API_VERSIONS))}
    if options.get("topic"):
        line["partitions"] = partitions_in(tools.admin(TOPICS, "--describe", "--topic", options.topic))
    emit(**line)


def brokers_in(text):
    """The lines `host:port (id: 1 rack: null) -> (`."""
    found = re.findall(r"^(\S+):(\d+) \(id: (-?\d+) rack:", text, re.MULTILINE)
    if not found:
        raise Failure(f"the broker list names no broker: {text.strip()[:300]}")
    return [{"id": int(node), "host": host, "port": int(port)} for host, port, node in found]


def partitions_in(text):
    return [{"partition": int(partition), "leader": -1 if leader == "none" else int(leader)}
            for partition, leader in re.findall(r"Partition: (\d+)\s+Leader: (\S+)", text)]


def list_topics(options):
    emit(topics=sorted(Tools(options).admin(TOPICS, "--list").split()))


def produce(options):
    tools = Tools(options, **{"linger.ms": 0})
    wished = list(records(options.require("tag"), options.count))
    code, out, error = tools.run(
        PRODUCER, "--bootstrap-server", options.bootstrap, "--topic", options.topic, PRODUCER_CONFIG, tools.config,
        "--request-required-acks", options.get("acks", "all"), "--sync",
        READER_PROPERTY, "parse.key=true", READER_PROPERTY, "key.separator=|",
        text="".join(f"{key}|{value}\n" for key, value in wished))
    # Some failures it only logs, and goes on with exit code 0.
    if code or re.search(r"\bERROR\b", out + error):
        raise Failure(f"the console producer ended with {code}: {complaint(out + error)}")
    for key, _ in wished:
        emit(key=key)
    emit(done=True, count=len(wished), failed=0)


def consume(options):
    protocol = options.get("protocol", "classic")
    wished = {"group.protocol": protocol, "client.rack": options.get("rack", ""), "group.instance.id": options.get("static", "")}
    # With the new protocol the session is the broker's to set.
    wished |= {"session.timeout.ms": 10000} if protocol == "classic" else {}
    read(Tools(options, **{name: value for name, value in wished.items() if value}), options, CONSUMER, "--from-beginning")


def share(options):
    tools = Tools(options)
    tools.admin(CONFIGS, "--entity-type", "groups", "--entity-name", options.require("group"), "--alter", "--add-config",
                "share.auto.offset.reset=earliest")
    read(tools, options, SHARE_CONSUMER)


def read(tools, options, consumer, *arguments):
    """As many records as were asked for, by one of the console consumers."""
    out = tools.must(
        consumer, "--bootstrap-server", options.bootstrap, "--topic", options.topic, CONSUMER_CONFIG, tools.config,
        "--group", options.require("group"), *arguments, "--max-messages", str(options.count),
        "--timeout-ms", str(int(options.remaining_seconds * 1000)),
        *(word for name in ("key", "partition", "offset") for word in (FORMATTER_PROPERTY, f"print.{name}=true")))
    lines = [line.split("\t") for line in out.splitlines() if line.startswith("Partition:")]
    if len(lines) != options.count:
        raise Failure(f"the console consumer read {len(lines)} of {options.count} records")
    for partition, offset, key, value in lines:
        emit(key=key, value=value, partition=int(partition.split(":")[1]), offset=int(offset.split(":")[1]))
    emit(done=True, count=len(lines))


def perf(options):
    """`size` bytes a record; both tools' own summaries, as they print them, beside the numbers in them."""
    tools = Tools(options)
    count, size = options.count, int(options.get("size", "100"))
    sent = tools.must(
        PRODUCER_PERFORMANCE, "--topic", options.topic, "--num-records", str(count), "--record-size", str(size),
        "--throughput", options.get("rate", "-1"), "--producer-props", f"bootstrap.servers={options.bootstrap}",
        f"acks={options.get('acks', 'all')}",
        *(["--transactional-id", options.get("transactional_id"), "--transaction-duration-ms", "200"]
          if options.get("transactional_id") else []),
        *(["--producer.config", tools.config] if IS_3 else ["--command-config", tools.config]))
    summary = sent.strip().splitlines()[-1]
    rate = re.search(r"^(\d+) records sent, ([\d.]+) records/sec", summary)
    if not rate or int(rate[1]) != count:
        raise Failure(f"the performance producer did not send {count} records: {sent.strip()[-300:]}")
    emit(tool="ProducerPerformance", count=count, records_per_second=float(rate[2]), summary=summary)

    read = tools.must(
        CONSUMER_PERFORMANCE, "--bootstrap-server", options.bootstrap, "--topic", options.topic, CONSUMER_CONFIG,
        tools.config, NUMBER_OF_RECORDS, str(count), "--hide-header", "--timeout", "15000",
        *(["--group", options.get("group")] if options.get("group") else []))
    columns = [column.strip() for column in read.strip().splitlines()[-1].split(",")]
    if int(columns[4]) < count:
        raise Failure(f"the performance consumer read {columns[4]} of {count} records: {read.strip()[-300:]}")
    emit(tool="ConsumerPerformance", count=int(columns[4]), records_per_second=float(columns[5]),
         summary=", ".join(columns))
    emit(done=True, count=count)


def admin(options):
    """A round through the administrative tools on a topic of its own; one line a command with all that it printed."""
    tools = Tools(options)
    topic = options.get("topic", "narrows-console-admin")
    group = f"{topic}-group"

    def step(name, tool, *arguments, expect=""):
        code, out, error = tools.run(tool, *tools.at_bootstrap(), *arguments)
        emit(step=name, exit=code, output=out.strip(), stderr=error.strip())
        if code:
            raise Failure(f"{name} ended with {code}: {complaint(out + error)}")
        if not re.search(expect, out):
            raise Failure(f"{name} did not print /{expect}/ but: {out.strip()[-300:]}")
        return out

    def topics(name, *arguments, **more):
        return step(name, TOPICS, *arguments, **more)

    nodes = [b["id"] for b in brokers_in(step("broker-api-versions", API_VERSIONS, expect=r"\(id: \d+ rack"))]
    topics("topics --create", "--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=3600000",
           expect=f"Created topic {topic}")
    topics("topics --list", "--list", expect=rf"(?m)^{topic}$")
    topics("topics --alter", "--alter", "--topic", topic, "--partitions", "3")
    described = topics("topics --describe", "--describe", "--topic", topic, expect="PartitionCount: 3")
    if any(p["leader"] not in nodes for p in partitions_in(described)):
        raise Failure(f"a leader is not among the brokers {nodes}: {described}")

    entity = ["--entity-type", "topics", "--entity-name", topic]
    step("configs --alter topic", CONFIGS, *entity, "--alter", "--add-config", "retention.ms=7200000")
    step("configs --describe topic", CONFIGS, *entity, "--describe", expect="retention.ms=7200000")
    for node in nodes:
        # Only the broker itself answers for its own configuration, and it names itself in it.
        step(f"configs --describe broker {node}", CONFIGS, "--entity-type", "brokers", "--entity-name", str(node),
             "--describe", "--all", expect=rf"node\.id={node}\b")

    produce(Options([options.bootstrap, "produce", f"topic={topic}", "count=30", "tag=admin",
                     *(a for a in ARGUMENTS[2:] if a.split("=")[0] not in ("topic", "count", "tag"))]))
    consume(Options([options.bootstrap, "consume", f"topic={topic}", "count=30", f"group={group}",
                     *(a for a in ARGUMENTS[2:] if a.split("=")[0] not in ("topic", "count", "group"))]))
    step("get-offsets", OFFSETS, "--topic", topic, expect=rf"{topic}:0:\d+")
    step("consumer-groups --list", GROUPS, "--list", expect=rf"(?m)^{group}$")
    step("consumer-groups --describe", GROUPS, "--describe", "--group", group, expect=topic)
    step("consumer-groups --describe --state", GROUPS, "--describe", "--group", group, "--state", expect=group)
    step("consumer-groups --delete", GROUPS, "--delete", "--group", group, expect="successful")
    for node in nodes:
        step(f"log-dirs broker {node}", LOG_DIRS, "--describe", "--broker-list", str(node),
             expect=rf'"broker":{node}\b')
    step("metadata-quorum --status", QUORUM, "describe", "--status", expect=r"LeaderId:\s+\d+")
    topics("topics --delete", "--delete", "--topic", topic)
    if re.search(rf"(?m)^{topic}$", topics("topics --list afterwards", "--list")):
        raise Failure(f"topic {topic} is still there after its deletion")
    emit(done=True)


drive({"metadata": metadata, "list": list_topics, "produce": produce, "consume": consume, "share": share,
       "perf": perf, "admin": admin}, ARGUMENTS, orderly=False)
