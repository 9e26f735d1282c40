"""Records as JSON and back."""

import base64


def from_text(text):
    return None if text is None else base64.b64decode(text)


def to_text(value):
    return None if value is None else base64.b64encode(value).decode()


def headers_of(record):
    return [(name, from_text(value)) for name, value in record["headers"]]


def consumed(topic, partition, offset, timestamp, timestamp_type, key, value, headers):
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "timestamp_type": timestamp_type,
        "key": to_text(key),
        "value": to_text(value),
        "headers": [[name, to_text(header)] for name, header in headers or []],
    }


def delivery(topic, partition, offset, error):
    if error is not None:
        return {"topic": topic, "partition": -1, "offset": -1, "error": str(error)}
    # Clients that do not learn the offset (acks=0) each have their own negative number for it.
    learned = offset if offset is not None and offset >= 0 else -1
    return {"topic": topic, "partition": partition, "offset": learned, "error": None}
