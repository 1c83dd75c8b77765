"""kafka-python: a client without native code."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from driver import Failure, drive, emit, ensure_node_id, paced, records, stop_asked, transactions

POLL_MILLISECONDS = 5000  # kafka-python 3.0.12 may hang for ever when a short poll returns while its SyncGroup is pending


def settings(options, **more):
    common = {"bootstrap_servers": options.bootstrap, "client_id": "narrows-test-kafka-python",
              "bootstrap_timeout_ms": max(1000, int(options.remaining_seconds * 1000)),
              "security_protocol": options.security}
    if options.sasl():
        mechanism, username, password = options.sasl()
        common |= {"sasl_mechanism": mechanism, "sasl_plain_username": username, "sasl_plain_password": password}
    if options.ca_file():
        common |= {"ssl_cafile": options.ca_file()}
    if options.certificate():
        certificate, key = options.certificate()
        common |= {"ssl_certfile": certificate, "ssl_keyfile": key}
    return common | more


def metadata(options):
    admin = KafkaAdminClient(**settings(options))
    answer = admin.describe_cluster()
    line = {"brokers": [{"id": b["broker_id"] if "broker_id" in b else b["node_id"], "host": b["host"],
                         "port": b["port"]} for b in answer["brokers"]]}
    if options.get("topic"):
        topic = admin.describe_topics([options.topic])[0]
        line["partitions"] = [{"partition": p["partition"] if "partition" in p else p["partition_index"],
                               "leader": p["leader"] if "leader" in p else p["leader_id"]}
                              for p in topic["partitions"]]
    admin.close()
    emit(**line)


def list_topics(options):
    admin = KafkaAdminClient(**settings(options))
    emit(topics=sorted(admin.list_topics()))
    admin.close()


def produce(options):
    acks = options.get("acks", "all")
    producer = KafkaProducer(**settings(options, acks=acks if acks == "all" else int(acks), linger_ms=5))
    waiting, failures = [], []
    acked = 0
    wished = records(options.require("tag"), options.count_or_endless)
    for _ in paced(options):
        record = next(wished, None)
        if record is None:
            break
        waiting.append((record[0], producer.send(options.topic, key=record[0].encode(), value=record[1].encode())))
    for key, future in waiting:
        try:
            sent = future.get(timeout=options.remaining_seconds)
            acked += 1
            emit(key=key, partition=sent.partition, offset=sent.offset)
        except Exception as error:  # each record is reported, whatever the library throws
            failures.append(f"{type(error).__name__}: {error}")
            emit(key=key, error=failures[-1])
    producer.close(timeout=5)
    emit(done=True, count=acked, failed=len(failures))
    if failures:
        raise Failure(f"{len(failures)} records failed: {failures[0]}")
    if not stop_asked() and next(wished, None) is not None:
        raise Failure(f"the time was up after {acked} records")


def transaction(options):
    producer = KafkaProducer(**settings(options, transactional_id=options.require("tag") + "-transactional-id"))
    producer.init_transactions()
    acked = 0
    for commit, wished in transactions(options):
        producer.begin_transaction()
        waiting = [(key, producer.send(options.topic, key=key.encode(), value=value.encode())) for key, value in wished]
        sent = [(key, future.get(timeout=options.remaining_seconds)) for key, future in waiting]
        if not commit:
            producer.abort_transaction()
            continue
        producer.commit_transaction()
        for key, place in sent:
            emit(key=key, partition=place.partition, offset=place.offset)
        acked += len(sent)
    producer.close(timeout=5)
    emit(done=True, count=acked, failed=0)


def admin(options):
    """Asks each broker for its configuration, by node id."""
    client = KafkaAdminClient(**settings(options))
    for broker in client.describe_cluster()["brokers"]:
        node = broker["broker_id"] if "broker_id" in broker else broker["node_id"]
        found = client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(node))], config_filter="all")
        ensure_node_id(node, found["broker"][str(node)]["node.id"]["value"])
    client.close()
    emit(done=True)


def consume(options):
    consumer = KafkaConsumer(options.topic, **settings(
        options, group_id=options.require("group"), auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=10000, heartbeat_interval_ms=3000, client_rack=options.get("rack", ""),
        group_instance_id=options.get("static")))
    read, wished = 0, options.count_or_endless
    while read < wished and not stop_asked():
        options.check_time(read, "read")
        room = 500 if wished == float("inf") else min(500, wished - read)
        for batch in consumer.poll(timeout_ms=POLL_MILLISECONDS, max_records=room).values():
            for record in batch:
                read += 1
                emit(key=record.key.decode(), value=record.value.decode(),
                     partition=record.partition, offset=record.offset)
    if read:
        consumer.commit()
    consumer.close()
    emit(done=True, count=read)


drive({"metadata": metadata, "list": list_topics, "produce": produce, "consume": consume, "transaction": transaction,
       "admin": admin})
