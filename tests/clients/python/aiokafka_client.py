"""The operations on aiokafka, which shares no code with Java's client or librdkafka."""

import asyncio
import base64
import json
import ssl
import time
from collections import defaultdict
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider

from record_json import consumed, delivery, from_text, headers_of

PRODUCER = {
    "codec": "compression_type",
    "idempotent": "enable_idempotence",
    "transactional_id": "transactional_id",
    "linger_ms": "linger_ms",
    "batch_bytes": "max_batch_size",
    "record_bytes_max": "max_request_size",
    "back_off_ms": "retry_backoff_ms",
}
CONSUMER = {"group": "group_id", "isolation": "isolation_level"}


def produce(command):
    return asyncio.run(produce_all(command))


def consume(command):
    return asyncio.run(consume_all(command))


def reach(command):
    return asyncio.run(reach_within(command["options"], command["timeout_ms"] / 1000))


async def reach_within(options, seconds):
    client = AIOKafkaProducer(request_timeout_ms=int(seconds * 1000), **configuration(options, PRODUCER))
    try:
        await asyncio.wait_for(client.start(), seconds)
    finally:
        await client.stop()
    return {}


async def produce_all(command):
    options = command["options"]
    settings = configuration(options, PRODUCER)
    if settings.get("compression_type") == "none":
        settings["compression_type"] = None
    if "acks" in options:
        settings["acks"] = options["acks"] if options["acks"] == "all" else int(options["acks"])
    producer = AIOKafkaProducer(**settings)
    await producer.start()
    deliveries = []
    try:
        for transaction in command["transactions"]:
            await perform(producer, transaction, deliveries)
    finally:
        await producer.stop()
    return {"deliveries": deliveries}


async def perform(producer, transaction, deliveries):
    outcome = transaction["outcome"]
    if outcome:
        await producer.begin_transaction()
    futures = await send_all(producer, transaction["records"])
    await producer.flush()
    for record, future in zip(transaction["records"], futures):
        try:
            metadata = await future
            # acks=0: the future has no metadata.
            offset = metadata.offset if metadata else -1
            partition = metadata.partition if metadata else record["partition"]
            deliveries.append(delivery(record["topic"], partition, offset, None))
        except Exception as failure:
            deliveries.append(delivery(record["topic"], -1, -1, repr(failure)))
    if outcome == "commit":
        await producer.commit_transaction()
    elif outcome == "abort":
        await producer.abort_transaction()


async def send_all(producer, records):
    """A future for each record, in order. Who sends to a partition whose batch is full has to wait until that one is
    gone, so each partition has a task of its own: one that waits must not hold back the others."""
    futures = [None] * len(records)
    places = defaultdict(list)
    for index, record in enumerate(records):
        places[record["topic"], record["partition"]].append(index)

    async def send_in_order(indices):
        for index in indices:
            futures[index] = await send(producer, records[index])

    await asyncio.gather(*map(send_in_order, places.values()))
    return futures


async def send(producer, record):
    return await producer.send(
        record["topic"],
        value=from_text(record["value"]),
        key=from_text(record["key"]),
        partition=record["partition"],
        timestamp_ms=record["timestamp"],
        headers=headers_of(record),
    )


async def consume_all(command):
    subscribed = command.get("topics", [])
    settings = configuration(command["options"], CONSUMER)
    consumer = AIOKafkaConsumer(
        *subscribed, auto_offset_reset="earliest", enable_auto_commit=False, **settings
    )
    await consumer.start()
    records = []
    try:
        if "partitions" in command:
            partitions = [TopicPartition(topic, index) for topic, index in command["partitions"]]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
        deadline = time.monotonic() + command["timeout_ms"] / 1000
        while len(records) < command["count"] and time.monotonic() < deadline:
            await take(consumer, records)
        settled = time.monotonic() + command["settle_ms"] / 1000
        while time.monotonic() < settled:
            await take(consumer, records)
        if "group" in command["options"] and records:
            await consumer.commit()
    finally:
        await consumer.stop()
    return {"records": records}


async def take(consumer, records):
    batches = await consumer.getmany(timeout_ms=100)
    for partition, messages in batches.items():
        for message in messages:
            records.append(
                consumed(
                    partition.topic,
                    partition.partition,
                    message.offset,
                    message.timestamp,
                    "append" if message.timestamp_type == 1 else "create",
                    message.key,
                    message.value,
                    message.headers,
                )
            )


def configuration(options, names):
    settings = {"bootstrap_servers": options["bootstrap"]}
    if "client_id" in options:
        settings["client_id"] = options["client_id"]
    settings.update({names[name]: value for name, value in options.items() if name in names})
    if "tls" in options:
        settings.update(security_protocol="SSL", ssl_context=tls_context(options["tls"]))
    if "sasl" in options:
        login = options["sasl"]
        protocol = "SASL_SSL" if "tls" in options else "SASL_PLAINTEXT"
        settings.update(security_protocol=protocol, sasl_mechanism=login["mechanism"])
        if "token_file" in login:
            settings["sasl_oauth_token_provider"] = TokenFile(login["token_file"])
        elif login["mechanism"] == "OAUTHBEARER":
            settings["sasl_oauth_token_provider"] = UnsecuredToken(login["user"])
        else:
            settings.update(sasl_plain_username=login["user"], sasl_plain_password=login["password"])
    return settings


def tls_context(known):
    context = ssl.create_default_context(cafile=known["ca"])
    if known["identity"]:
        context.load_cert_chain(known["identity"])
    if known["version_max"]:
        context.maximum_version = ssl.TLSVersion["TLSv" + known["version_max"].replace(".", "_")]
    return context


class TokenFile(AbstractTokenProvider):
    """The token of a file."""

    def __init__(self, path):
        self.path = path

    async def token(self):
        return Path(self.path).read_text()


class UnsecuredToken(AbstractTokenProvider):
    """A JSON web token that nobody has signed, good for an hour: RFC 7519 section 6."""

    def __init__(self, user):
        self.user = user

    async def token(self):
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": self.user, "iat": now, "exp": now + 3600}]
        texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        return ".".join([*texts, ""])
