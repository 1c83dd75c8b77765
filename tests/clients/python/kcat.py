"""kcat, the command-line client on an old librdkafka (2.0.2 in Debian 12).

That one fails at SCRAM with every Kafka since 3.7.2, 3.8.1 and 3.9.0: it repeats its nonce, which brokers check since
CVE-2024-56128. PLAIN works. It names no key with a delivery report, so `produce` prints keys only, once all N reports have come.
"""

import json
import subprocess
import sys

from driver import Failure, complaint, die_with_parent, drive, emit, records

# kcat asks on and on after a failed authentication.
METADATA_SECONDS_MAX = 15


def kcat(options, *arguments, text=None):
    """kcat's stdout; what it says on stderr goes to ours, and its tail into the failure."""
    command = ["kcat", "-b", options.bootstrap, "-X", "client.id=narrows-test-kcat",
               "-X", f"security.protocol={options.security}"]
    if options.sasl():
        mechanism, username, password = options.sasl()
        command += ["-X", f"sasl.mechanism={mechanism}", "-X", f"sasl.username={username}",
                    "-X", f"sasl.password={password}"]
    if options.ca_file():
        command += ["-X", f"ssl.ca.location={options.ca_file()}"]
    if options.certificate():
        certificate, key = options.certificate()
        command += ["-X", f"ssl.certificate.location={certificate}", "-X", f"ssl.key.location={key}"]
    try:
        ended = subprocess.run(command + list(arguments), input=text, text=True, capture_output=True,
                               timeout=options.remaining_seconds, preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired as late:
        say = complaint((late.stderr or b"").decode(errors="replace"))
        raise Failure(f"kcat was not done when the time was up; it said: {say}") from late
    sys.stderr.write("".join(line + "\n" for line in ended.stderr.splitlines() if "Message delivered" not in line))
    if ended.returncode:
        raise Failure(f"kcat ended with {ended.returncode}: {complaint(ended.stderr)}")
    return ended


def cluster_metadata(options, *arguments):
    wait = str(max(1, min(METADATA_SECONDS_MAX, int(options.remaining_seconds))))
    return json.loads(kcat(options, "-L", "-J", "-m", wait, *arguments).stdout)


def metadata(options):
    topic = options.get("topic")
    answer = cluster_metadata(options, *(["-t", topic] if topic else []))
    line = {"brokers": [broker(b) for b in answer["brokers"]]}
    if topic:
        named = answer["topics"][0]
        if named.get("error"):
            raise Failure(f"topic {topic}: {named['error']}")
        line["partitions"] = [{"partition": p["partition"], "leader": p["leader"]} for p in named["partitions"]]
    emit(**line)


def broker(entry):
    host, _, port = entry["name"].rpartition(":")
    return {"id": entry["id"], "host": host.strip("[]"), "port": int(port)}


def list_topics(options):
    emit(topics=sorted(topic["topic"] for topic in cluster_metadata(options)["topics"]))


def produce(options):
    wished = list(records(options.require("tag"), options.count))
    acks = options.get("acks", "all")
    ended = kcat(options, "-P", "-t", options.topic, "-K", "|", "-vvv", "-X", f"acks={acks}",
                 "-X", f"enable.idempotence={options.get('idempotent', 'false')}",
                 "-X", f"message.timeout.ms={max(1000, int(options.remaining_seconds * 1000))}",
                 text="".join(f"{key}|{value}\n" for key, value in wished))
    delivered = ended.stderr.count("Message delivered")
    if delivered != len(wished):
        raise Failure(f"kcat reported {delivered} of {len(wished)} records as delivered")
    for key, _ in wished:
        emit(key=key)
    emit(done=True, count=delivered, failed=0)


def consume(options):
    ended = kcat(options, "-G", options.require("group"), "-c", str(options.count), "-J",
                 "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=10000",
                 *(["-X", f"group.instance.id={options.get('static')}"] if options.get("static") else []), options.topic)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    if len(lines) != options.count:
        raise Failure(f"kcat read {len(lines)} of {options.count} records")
    for line in lines:
        emit(key=line["key"], value=line["payload"], partition=line["partition"], offset=line["offset"])
    emit(done=True, count=len(lines))


drive({"metadata": metadata, "list": list_topics, "produce": produce, "consume": consume}, orderly=False)
