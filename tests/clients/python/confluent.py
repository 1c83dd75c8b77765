"""confluent-kafka: the current librdkafka."""

import json
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from driver import Failure, drive, emit, ensure_node_id, paced, records, stop_asked, transactions

POLL_SECONDS = 0.2


def settings(options, **more):
    common = {"bootstrap.servers": options.bootstrap, "client.id": "narrows-test-confluent", "error_cb": report,
              "security.protocol": options.security}
    if options.sasl():
        mechanism, username, password = options.sasl()
        common |= {"sasl.mechanism": mechanism, "sasl.username": username, "sasl.password": password}
    if options.ca_file():
        common |= {"ssl.ca.location": options.ca_file()}
    if options.certificate():
        certificate, key = options.certificate()
        common |= {"ssl.certificate.location": certificate, "ssl.key.location": key}
    return common | more


def report(error):
    print(f"librdkafka: {error.str()}", file=sys.stderr)


def cluster_metadata(options, topic=None):
    admin = AdminClient(settings(options))
    # An authentication failure shows only in the error callback, which a plain list_topics does not serve.
    admin.poll(0)
    return admin.list_topics(topic, timeout=options.remaining_seconds)


def metadata(options):
    topic = options.get("topic")
    answer = cluster_metadata(options, topic)
    line = {"brokers": [{"id": b.id, "host": b.host, "port": b.port} for b in answer.brokers.values()]}
    if topic:
        if answer.topics[topic].error:
            raise Failure(f"topic {topic}: {answer.topics[topic].error.str()}")
        line["partitions"] = [{"partition": p.id, "leader": p.leader} for p in answer.topics[topic].partitions.values()]
    emit(**line)


def list_topics(options):
    emit(topics=sorted(cluster_metadata(options).topics))


def produce(options):
    producer = Producer(settings(options, **{
        "enable.idempotence": options.get("acks", "all") in ("all", "-1"),
        "acks": options.get("acks", "all"),
        "delivery.timeout.ms": max(1000, int(options.remaining_seconds * 1000)),
        "linger.ms": 5,
    }))
    acked, failed = 0, []

    def delivered(error, message):
        nonlocal acked
        key = message.key().decode()
        if error:
            failed.append(error.str())
            emit(key=key, error=error.str())
        else:
            acked += 1
            emit(key=key, partition=message.partition(), offset=message.offset())

    wished = records(options.require("tag"), options.count_or_endless)
    for _ in paced(options):
        record = next(wished, None)
        if record is None:
            break
        while True:
            try:
                producer.produce(options.topic, key=record[0], value=record[1], on_delivery=delivered)
                break
            except BufferError:
                producer.poll(POLL_SECONDS)
        producer.poll(0)
    left = producer.flush(options.remaining_seconds + 1)
    if left:
        # Whatever is left counts as failed, so that every record has its report.
        producer.purge()
        left = producer.flush(5)
    emit(done=True, count=acked, failed=len(failed))
    if failed or left:
        raise Failure(f"{len(failed)} records failed and {left} stayed without a report: {failed[:1]}")
    if not stop_asked() and next(wished, None) is not None:
        raise Failure(f"the time was up after {acked} records")


def transaction(options):
    producer = Producer(settings(options, **{"transactional.id": options.require("tag") + "-transactional-id"}))
    producer.init_transactions(options.remaining_seconds)
    acked = 0
    for commit, wished in transactions(options):
        lines = []

        def delivered(error, message, lines=lines):
            if error:
                raise Failure(f"a record failed: {error.str()}")
            lines.append({"key": message.key().decode(), "partition": message.partition(), "offset": message.offset()})

        producer.begin_transaction()
        for key, value in wished:
            producer.produce(options.topic, key=key, value=value, on_delivery=delivered)
        producer.flush(options.remaining_seconds)
        if not commit:
            producer.abort_transaction(options.remaining_seconds)
            continue
        producer.commit_transaction(options.remaining_seconds)
        for line in lines:
            emit(**line)
        acked += len(lines)
    emit(done=True, count=acked, failed=0)


def consume(options):
    protocol = options.get("protocol", "classic")
    # With the new protocol the session is the broker's to set.
    session = {"session.timeout.ms": 10000} if protocol == "classic" else {}
    read_from = {}
    consumer = Consumer(settings(options, **session, **({"group.instance.id": options.get("static")} if options.get("static") else {}), **{
        "group.id": options.require("group"), "auto.offset.reset": "earliest", "group.protocol": protocol,
        # In a long run a rejoin would otherwise start all over.
        "enable.auto.commit": True, "auto.commit.interval.ms": 1000,
        "client.rack": options.get("rack", ""), "statistics.interval.ms": 100 if options.get("rack") else 0,
        "stats_cb": lambda text: read_from.update(brokers_read_from(text, options.topic)),
    }))
    consumer.subscribe([options.topic])
    read, wished = 0, options.count_or_endless
    while read < wished and not stop_asked():
        options.check_time(read, "read")
        message = consumer.poll(POLL_SECONDS)
        if message is None:
            continue
        if message.error():
            # librdkafka goes on after these (a leader that moved, a broker that is gone); the deadline is the judge.
            report(message.error())
            continue
        read += 1
        emit(key=message.key().decode(), value=message.value().decode(),
             partition=message.partition(), offset=message.offset())
    if read:
        commit(consumer)
    consumer.close()
    if options.get("rack"):
        emit(read_from=read_from.get("0"))
    emit(done=True, count=read)


def share(options):
    """Reads with a share group, which accepts each record with the next poll."""
    group = ConfigResource(ConfigResource.Type.GROUP, options.require("group"), incremental_configs=[
        ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)])
    client = AdminClient(settings(options))
    client.incremental_alter_configs([group])[group].result(options.remaining_seconds)
    read = set()
    with ShareConsumer(settings(options, **{"group.id": options.require("group")})) as consumer:
        consumer.subscribe([options.topic])
        while len(read) < options.count:
            options.check_time(len(read), "read")
            for message in consumer.poll(POLL_SECONDS):
                if message.error():
                    report(message.error())
                    continue
                # What could not be accepted comes again.
                place = (message.partition(), message.offset())
                if place not in read:
                    emit(key=message.key().decode(), value=message.value().decode(), partition=place[0], offset=place[1])
                read.add(place)
    emit(done=True, count=len(read))


def brokers_read_from(text, topic):
    """Of each partition of a topic, by librdkafka's statistics."""
    partitions = json.loads(text)["topics"].get(topic, {"partitions": {}})["partitions"]
    return {number: partition["broker"] for number, partition in partitions.items() if partition["rxmsgs"]}


def admin(options):
    """Asks each broker for its configuration, by node id."""
    client = AdminClient(settings(options))
    for broker in client.list_topics(timeout=options.remaining_seconds).brokers:
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        found = client.describe_configs([resource])[resource].result(options.remaining_seconds)
        ensure_node_id(broker, found["node.id"].value)
    emit(done=True)


def commit(consumer):
    try:
        consumer.commit(asynchronous=False)
    except KafkaException as error:
        # The automatic commit may have been there before.
        if error.args[0].code() != KafkaError._NO_OFFSET:
            raise Failure(f"the offsets could not be committed: {error}") from error


drive({"metadata": metadata, "list": list_topics, "produce": produce, "consume": consume, "transaction": transaction,
       "share": share, "admin": admin})
