"""The operations on librdkafka, by confluent-kafka."""

import base64
import itertools
import json
import sys
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition, TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka.admin import AdminClient

from librdkafka_changes import changes
from record_json import consumed, delivery, from_text, headers_of

PRODUCER = {
    "acks": "acks",
    "codec": "compression.type",
    "idempotent": "enable.idempotence",
    "transactional_id": "transactional.id",
    "linger_ms": "linger.ms",
    "batch_bytes": "batch.size",
    "record_bytes_max": "message.max.bytes",
}
CONSUMER = {"group_protocol": "group.protocol", "isolation": "isolation.level", "reset": "auto.offset.reset"}
TRANSACTION_LIMIT_S = 60

streams = {}
stream_ids = itertools.count(1)


def produce(command):
    options = command["options"]
    producer = Producer(configuration(options, PRODUCER))
    if "transactional_id" in options:
        producer.init_transactions(TRANSACTION_LIMIT_S)
    deliveries = []
    for transaction in command["transactions"]:
        outcome = transaction["outcome"]
        if outcome:
            producer.begin_transaction()
        for record in transaction["records"]:
            send(producer, record, deliveries)
        producer.flush()
        if outcome:
            end_transaction(producer, outcome)
    return {"deliveries": deliveries}


def end_transaction(producer, outcome):
    ends = {"commit": producer.commit_transaction, "abort": producer.abort_transaction}
    ends[outcome](TRANSACTION_LIMIT_S)


def send(producer, record, deliveries):
    place = len(deliveries)
    deliveries.append(None)

    def delivered(error, message):
        deliveries[place] = delivery(record["topic"], message.partition(), message.offset(), error)

    optional = {name: record[name] for name in ("partition", "timestamp") if record[name] is not None}
    while True:
        try:
            producer.produce(
                record["topic"],
                value=from_text(record["value"]),
                key=from_text(record["key"]),
                headers=headers_of(record),
                on_delivery=delivered,
                **optional,
            )
            return
        except BufferError:
            producer.poll(0.1)


def consume(command):
    consumer = Consumer(consumer_configuration(command["options"]))
    records = []
    try:
        attach(consumer, command)
        deadline = time.monotonic() + command["timeout_ms"] / 1000
        while len(records) < command["count"] and time.monotonic() < deadline:
            take(consumer, records)
        settled = time.monotonic() + command["settle_ms"] / 1000
        while time.monotonic() < settled:
            take(consumer, records)
        if "group" in command["options"] and records:
            consumer.commit(asynchronous=False)
    finally:
        consumer.close()
    return {"records": records}


def reach(command):
    Producer(configuration(command["options"], PRODUCER)).list_topics(timeout=command["timeout_ms"] / 1000)
    return {}


def change_cluster(command):
    # It ends what it has begun when it is collected.
    return changes(AdminClient(configuration(command["options"], {})), command)


def attach(consumer, command):
    if "partitions" in command:
        consumer.assign([TopicPartition(topic, index, 0) for topic, index in command["partitions"]])
    else:
        consumer.subscribe(command["topics"])


def take(consumer, records):
    for message in consumer.consume(1000, 0.1):
        if message.error():
            raise KafkaException(message.error())
        kind, timestamp = message.timestamp()
        records.append(
            consumed(
                message.topic(),
                message.partition(),
                message.offset(),
                timestamp,
                "append" if kind == TIMESTAMP_LOG_APPEND_TIME else "create",
                message.key(),
                message.value(),
                message.headers(),
            )
        )


class Stream:
    def __init__(self, work):
        self.entries = []
        self.failures = []
        self.outcome = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()

    def run(self, work):
        try:
            work(self)
        except BaseException as failure:
            self.failures.append([-1, repr(failure)])


def stream_produce(command):
    options = command["options"]
    producer = Producer(configuration(options, PRODUCER))
    if "transactional_id" in options:
        producer.init_transactions(TRANSACTION_LIMIT_S)
        producer.begin_transaction()

    def work(stream):
        start = time.monotonic()
        for sequence in itertools.count():
            if stream.stopping.is_set():
                break
            due = sequence / command["rate"] - (time.monotonic() - start)
            producer.poll(max(due, 0))
            stream_send(stream, producer, command, sequence)
        producer.flush()
        if "transactional_id" in options:
            end_transaction(producer, stream.outcome)

    return started(work)


def stream_send(stream, producer, command, sequence):
    def delivered(error, message):
        if error is None:
            stream.entries.append([message.partition(), message.offset(), sequence])
        else:
            stream.failures.append([sequence, str(error)])

    key = str(sequence).encode()
    value = key.ljust(command["value_bytes"], b"\0")
    partition = sequence % command["partitions"]
    producer.produce(command["topic"], value=value, key=key, partition=partition, on_delivery=delivered)


def stream_consume(command):
    consumer = Consumer(consumer_configuration(command["options"]))
    attach(consumer, command)

    def work(stream):
        try:
            while not stream.stopping.is_set():
                for message in consumer.consume(1000, 0.1):
                    if message.error():
                        raise KafkaException(message.error())
                    stream.entries.append([message.partition(), message.offset(), int(message.key())])
        finally:
            consumer.close()

    return started(work)


def started(work):
    number = next(stream_ids)
    streams[number] = Stream(work)
    return {"stream": number}


def stream_status(command):
    return {"count": len(streams[command["stream"]].entries)}


def stream_stop(command):
    stream = streams.pop(command["stream"])
    stream.outcome = command.get("outcome")
    stream.stopping.set()
    stream.thread.join()
    return {"entries": stream.entries, "failures": stream.failures}


def consumer_configuration(options):
    return {
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "group.id": options.get("group", "none"),
        **configuration(options, CONSUMER),
    }


def configuration(options, names):
    properties = {"bootstrap.servers": options["bootstrap"]}
    if "client_id" in options:
        properties["client.id"] = options["client_id"]
    properties.update({names[name]: value for name, value in options.items() if name in names})
    if "back_off_ms" in options:
        properties.update({name: options["back_off_ms"] for name in ("retry.backoff.ms", "retry.backoff.max.ms")})
    # Without a callback, lost connections would turn up among the consumed messages.
    properties["error_cb"] = lambda error: print(error, file=sys.stderr)
    if "sasl" in options:
        properties.update(sasl(options["sasl"]))
    if "tls" in options:
        properties.update(tls(options["tls"], "sasl" in options))
    properties.update(options.get("extra", {}))
    return properties


def tls(known, with_sasl):
    properties = {"security.protocol": "SASL_SSL" if with_sasl else "SSL", "ssl.ca.location": known["ca"]}
    if known["identity"]:
        properties.update({f"ssl.{store}.location": known["identity"] for store in ("certificate", "key")})
    return properties


def bearer(path):
    """The token of a file, and when it ends."""
    token = Path(path).read_text()
    claims = token.split(".")[1]
    return token, json.loads(base64.urlsafe_b64decode(claims + "==="))["exp"]


def sasl(login):
    properties = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": login["mechanism"]}
    if "token_file" in login:
        properties["oauth_cb"] = lambda _: bearer(login["token_file"])
    elif login["mechanism"] == "OAUTHBEARER":
        properties["enable.sasl.oauthbearer.unsecure.jwt"] = True
        properties["sasl.oauthbearer.config"] = "principal=" + login["user"]
    else:
        properties["sasl.username"] = login["user"]
        properties["sasl.password"] = login["password"]
    return properties
