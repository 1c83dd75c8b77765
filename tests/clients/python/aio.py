"""aiokafka: a client on asyncio."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.helpers import create_ssl_context

from driver import Failure, drive, emit, ensure_node_id, records, stop_asked, transactions

POLL_MILLISECONDS = 200


def settings(options, **more):
    common = {"bootstrap_servers": options.bootstrap, "client_id": "narrows-test-aiokafka",
              "security_protocol": options.security}
    if options.sasl():
        mechanism, username, password = options.sasl()
        common |= {"sasl_mechanism": mechanism, "sasl_plain_username": username, "sasl_plain_password": password}
    if options.ca_file():
        certificate, key = options.certificate() or (None, None)
        common |= {"ssl_context": create_ssl_context(cafile=options.ca_file(), certfile=certificate, keyfile=key)}
    return common | more


async def metadata(options):
    admin = AIOKafkaAdminClient(**settings(options))
    await admin.start()
    try:
        answer = await admin.describe_cluster()
        line = {"brokers": [{"id": b["node_id"], "host": b["host"], "port": b["port"]} for b in answer["brokers"]]}
        if options.get("topic"):
            topic = (await admin.describe_topics([options.topic]))[0]
            if topic["error_code"]:
                raise Failure(f"topic {options.topic}: error code {topic['error_code']}")
            line["partitions"] = [{"partition": p["partition"], "leader": p["leader"]} for p in topic["partitions"]]
    finally:
        await admin.close()
    emit(**line)


async def list_topics(options):
    admin = AIOKafkaAdminClient(**settings(options))
    await admin.start()
    try:
        emit(topics=sorted(await admin.list_topics()))
    finally:
        await admin.close()


async def produce(options):
    acks = options.get("acks", "all")
    producer = AIOKafkaProducer(**settings(options, acks=acks if acks == "all" else int(acks),
                                           enable_idempotence=acks == "all", linger_ms=5))
    await producer.start()
    failures = []
    acked = 0
    try:
        waiting = []
        for key, value in records(options.require("tag"), options.count):
            waiting.append((key, await producer.send(options.topic, key=key.encode(), value=value.encode())))
        for key, future in waiting:
            try:
                sent = await future
                acked += 1
                # Without acknowledgements nobody tells.
                emit(key=key, **({"partition": sent.partition, "offset": sent.offset} if sent else {}))
            except Exception as error:  # each record is reported, whatever the library throws
                failures.append(f"{type(error).__name__}: {error}")
                emit(key=key, error=failures[-1])
    finally:
        await producer.stop()
    emit(done=True, count=acked, failed=len(failures))
    if failures:
        raise Failure(f"{len(failures)} records failed: {failures[0]}")


async def transaction(options):
    producer = AIOKafkaProducer(**settings(options, transactional_id=options.require("tag") + "-transactional-id"))
    await producer.start()
    acked = 0
    try:
        for commit, wished in transactions(options):
            await producer.begin_transaction()
            waiting = [(key, await producer.send(options.topic, key=key.encode(), value=value.encode()))
                       for key, value in wished]
            sent = [(key, await future) for key, future in waiting]
            if not commit:
                await producer.abort_transaction()
                continue
            await producer.commit_transaction()
            for key, place in sent:
                emit(key=key, partition=place.partition, offset=place.offset)
            acked += len(sent)
    finally:
        await producer.stop()
    emit(done=True, count=acked, failed=0)


async def consume(options):
    consumer = AIOKafkaConsumer(options.topic, **settings(
        options, group_id=options.require("group"), auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=10000, heartbeat_interval_ms=3000, client_rack=options.get("rack"),
        group_instance_id=options.get("static")))
    await consumer.start()
    read, wished = 0, options.count
    try:
        while read < wished and not stop_asked():
            options.check_time(read, "read")
            batches = await consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=min(500, wished - read))
            for batch in batches.values():
                for record in batch:
                    read += 1
                    emit(key=record.key.decode(), value=record.value.decode(),
                         partition=record.partition, offset=record.offset)
        if read:
            await consumer.commit()
    finally:
        await consumer.stop()
    emit(done=True, count=read)


async def admin(options):
    """Asks each broker for its configuration, by node id."""
    client = AIOKafkaAdminClient(**settings(options))
    await client.start()
    try:
        for broker in [b["node_id"] for b in (await client.describe_cluster())["brokers"]]:
            asked = ConfigResource(ConfigResourceType.BROKER, str(broker), configs={"node.id": None})
            [answer] = await client.describe_configs([asked])
            [(*_, entries)] = answer.resources
            ensure_node_id(broker, {name: value for name, value, *_ in entries}["node.id"])
    finally:
        await client.close()
    emit(done=True)


def within_deadline(scenario):
    def run(options):
        try:
            asyncio.run(asyncio.wait_for(scenario(options), options.remaining_seconds + 1))
        except TimeoutError as error:
            raise Failure(f"{options.scenario} was not done when the time was up") from error

    return run


drive({name: within_deadline(scenario) for name, scenario in
       {"metadata": metadata, "list": list_topics, "produce": produce, "consume": consume,
        "transaction": transaction, "admin": admin}.items()})
