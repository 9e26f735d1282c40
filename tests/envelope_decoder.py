#!/usr/bin/env python3
"""Second decoder of the Sealwire envelope, format 1, written from docs/envelope.md alone.

    envelope_decoder.py [FILE]                 checks every vector of FILE (tests/vectors/envelope-v1.json)
    envelope_decoder.py [FILE] --explain NAME  prints the steps by which one vector opens
    envelope_decoder.py FILE --batches         opens whole stored batches, plain and compact, and compares them with
                                               what their clients sent: a list of {name, stored, sent, dek, wrapped_dek,
                                               domains}

Needs the package `cryptography`, and for compact batches `lz4`. Exits with 1 when something does not come out as it
should.
"""

import argparse
import functools
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MARKER = b"sealwire"
KROXYLICIOUS = b"kroxylicious.io/encryption"
FREE, BOUND, SEALED = 0, 1, 2
# Kafka's number of the codec.
LZ4 = 3


class Refused(Exception):
    """The record is refused; the argument is the reason class."""


class Cursor:
    """Reads a byte string from front to back; running out of bytes is a refusal for `reason`."""

    def __init__(self, data, reason):
        self.data, self.at, self.reason = data, 0, reason

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Refused(self.reason)
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def varint(self, bits=32):
        """Kafka's zigzag integer; padded forms are accepted (ENV-8)."""
        raw, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            raw |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits + 3:
                raise Refused(self.reason)
        if raw >> bits:
            raise Refused(self.reason)
        return (raw >> 1) ^ -(raw & 1)

    def nullable(self):
        length = self.varint()
        # ENV-8: any negative length is null.
        return None if length < 0 else self.take(length)

    def uvarint(self, smallest, largest):
        """The seal's integer: shortest form only (ENV-16)."""
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift == 35:
                raise Refused("out_of_range")
        if byte == 0 and shift > 7:
            raise Refused("non_canonical")
        if not smallest <= value <= largest:
            raise Refused("out_of_range")
        return value


def varint(value):
    raw = (value << 1) ^ (value >> 63)
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def parse_headers(section, reason):
    """The header section as a list of (key, value, whole header); must end exactly where the last header does."""
    cursor = Cursor(section, reason)
    count = cursor.varint()
    if count < 0 or count > len(section):
        raise Refused(reason)
    headers = []
    for _ in range(count):
        start = cursor.at
        key, value = cursor.nullable(), cursor.nullable()
        if key is None:
            raise Refused(reason)
        headers.append((key, value, section[start : cursor.at]))
    if cursor.at != len(section):
        raise Refused(reason)
    return headers


class Seal:
    def __init__(self, data):
        if data is None:
            raise Refused("malformed_seal")
        cursor = Cursor(data, "malformed_seal")
        if cursor.take(1) != b"\x01":
            raise Refused("unknown_format")
        self.parts = cursor.take(1)[0]
        if self.parts & 3 == 3 or self.parts >> 3:
            raise Refused("reserved_bits")
        self.headers, self.key_sealed = self.parts & 3, bool(self.parts & 4)
        self.domain_hint = cursor.take(4)
        self.wrapped_dek = cursor.take(cursor.uvarint(1, 2048))
        self.salt = cursor.take(12)
        self.counter = cursor.uvarint(0, 2**31 - 1)
        rest = cursor.rest()
        if len(rest) < 16:
            raise Refused("malformed_seal")
        self.hidden, self.tag = rest[:-16], rest[-16:]
        if bool(self.hidden) != (self.headers == SEALED):
            raise Refused("malformed_seal")


def length(data):
    return (-1 if data is None else len(data)).to_bytes(4, "big", signed=True)


@functools.cache
def record_key(dek, wrapped_dek):
    info = b"sealwire/1/record" + len(wrapped_dek).to_bytes(2, "big") + wrapped_dek
    return HKDF(algorithm=SHA256(), length=32, salt=b"", info=info).derive(dek)


@functools.cache
def sub_key(key, salt):
    def half(index):
        cmac = CMAC(AES(key))
        cmac.update(bytes([0, index, 0x58, 0]) + salt)
        return cmac.finalize()

    return half(1) + half(2)


def additional_data(seal, domain, key, value, headers):
    name = domain.encode()
    data = b"sealwire/1" + bytes([seal.parts]) + len(name).to_bytes(2, "big") + name
    data += length(key) + (key or b"") + length(value)
    if seal.headers == BOUND:
        data += length(headers) + headers
    return data


@functools.cache
def domain_key(stable_key, domain):
    name = domain.encode()
    info = b"sealwire/1/key" + len(name).to_bytes(2, "big") + name
    return HKDF(algorithm=SHA256(), length=32, salt=b"", info=info).derive(stable_key)


def open_key(stored, stable_key, stable_key_id, domain):
    """The key that was sealed (ENV-70 to ENV-76); raises Refused."""
    if stored[1:5] != stable_key_id:
        raise Refused("unknown_stable_key")
    try:
        cipher = AESGCMSIV(domain_key(stable_key, domain))
        return cipher.decrypt(bytes(12), stored[5:], b"sealwire/1/key" + domain.encode())
    except InvalidTag:
        raise Refused("key_tag") from None


def open_record(stored, dek, wrapped_dek, domains, explain=None, stable=None):
    """The record that was sealed; raises Refused. `stable`: the stable key of the domains, and its id."""
    cursor = Cursor(stored, "malformed_record")
    if cursor.varint() != len(stored) - cursor.at:
        raise Refused("malformed_record")
    fixed_start = cursor.at
    cursor.take(1)
    cursor.varint(64)
    cursor.varint()
    key_start = cursor.at
    key = cursor.nullable()
    fixed, key_field = stored[fixed_start:key_start], stored[key_start : cursor.at]
    value = cursor.nullable()
    headers = parse_headers(cursor.rest(), "malformed_record")

    markers = [header for header in headers if header[0] == MARKER]
    if len(markers) > 1:
        raise Refused("marker_twice")
    if not markers:
        if any(header[0] == KROXYLICIOUS for header in headers):
            raise Refused("kroxylicious")
        raise Refused("tombstone" if value is None else "plaintext")
    seal = Seal(markers[0][1])
    own = [whole for name, _, whole in headers if name != MARKER]
    own_section = varint(len(own)) + b"".join(own)

    sealed_key = seal.key_sealed and key is not None
    if sealed_key and stable is None:
        raise Refused("key_sealed")
    if seal.headers == SEALED and own:
        raise Refused("extra_headers")
    if seal.wrapped_dek != wrapped_dek:
        raise Refused("wrong_key")
    candidates = [name for name in domains if hashlib.sha256(name.encode()).digest()[:4] == seal.domain_hint]
    if not candidates:
        raise Refused("unknown_domain")

    key_of_record = record_key(dek, wrapped_dek)
    key_of_batch = sub_key(key_of_record, seal.salt)
    nonce = seal.counter.to_bytes(12, "big")
    ciphertext = (value or b"") + seal.hidden
    if sealed_key and (key[:1] != b"\x01" or len(key) < 21):
        raise Refused("malformed_key")
    for domain in candidates:
        if sealed_key:
            try:
                clear_key = open_key(key, *stable, domain)
                key_field = varint(len(clear_key)) + clear_key
            except Refused as refusal:
                refused = refusal
                continue
        data = additional_data(seal, domain, key, value, own_section)
        try:
            text = AESGCM(key_of_batch).decrypt(nonce, ciphertext + seal.tag, data)
            break
        except InvalidTag:
            refused = Refused("tag")
    else:
        raise refused

    value_text, section = text[: len(value or b"")], text[len(value or b"") :]
    if seal.headers == SEALED:
        parse_headers(section, "hidden_headers")
    else:
        section = own_section
    body = fixed + key_field + varint(-1 if value is None else len(value)) + value_text + section
    opened = varint(len(body)) + body
    if explain is None:
        return opened
    steps = {
        "DEK": dek,
        "wrapped DEK": wrapped_dek,
        "domain": domain.encode(),
        "original record": opened,
        "salt": seal.salt,
        "counter": seal.counter.to_bytes(4, "big"),
        "record key": key_of_record,
        "sub-key Kx": key_of_batch,
        "nonce": nonce,
        "additional data": data,
        "text": text,
        "ciphertext": ciphertext,
        "tag": seal.tag,
        "seal": markers[0][1],
        "stored record": stored,
    }
    for name, step in steps.items():
        explain(name, step)
    return opened


def stable_key(vector):
    """The stable key that the reader has, and its id (ENV-73)."""
    if "stable_key" not in vector:
        return None
    wrapped = bytes.fromhex(vector["wrapped_stable_key"])
    return bytes.fromhex(vector["stable_key"]), hashlib.sha256(wrapped).digest()[:4]


def check(vector, explain=None):
    """None, or what is wrong."""
    arguments = [bytes.fromhex(vector[field]) for field in ("stored", "dek", "wrapped_dek")]
    expected = ("opened", vector["opened"]) if "opened" in vector else ("refused", vector["refused"])
    try:
        outcome = ("opened", open_record(*arguments, vector["domains"], explain, stable_key(vector)).hex())
    except Refused as refusal:
        outcome = ("refused", str(refusal))
    return None if outcome == expected else f"{vector['name']}: expected {expected}, got {outcome}"


def split_records(batch):
    """The records of a stored batch, one by one; an ordinary LZ4 library reads compact ones."""
    codec, count, data = batch[22] & 7, int.from_bytes(batch[57:61], "big"), batch[61:]
    if codec == LZ4:
        import lz4.frame

        frame = lz4.frame.get_frame_info(data)
        if frame["block_linked"] or frame["block_size"] != 65536 or frame["content_size"] or frame["content_checksum"]:
            raise Refused(f"frame {frame}")
        compressed = len(data)
        data, read = lz4.frame.decompress(data, return_bytes_read=True)
        if read != compressed:
            raise Refused("something behind the frame")
    elif codec != 0:
        raise Refused(f"codec {codec}")
    cursor, records = Cursor(data, "malformed_record"), []
    for _ in range(count):
        start = cursor.at
        cursor.take(cursor.varint())
        records.append(data[start : cursor.at])
    if cursor.at != len(data):
        raise Refused("malformed_record")
    return records


def check_batch(batch):
    """None, or what is wrong."""
    stored, sent, dek, wrapped_dek = (
        bytes.fromhex(batch[field]) for field in ("stored", "sent", "dek", "wrapped_dek")
    )
    try:
        records = split_records(stored)
        opened = [open_record(record, dek, wrapped_dek, batch["domains"]) for record in records]
    except (Refused, RuntimeError) as refusal:
        return f"{batch['name']}: {refusal}"
    # Length, checksum and codec are those of the stored batch; all else of the header is the client's.
    same = b"".join(opened) == sent[61:] and stored[23:61] == sent[23:61]
    return None if same else f"{batch['name']}: other records"


def check_batches(batches):
    compact = sum(bytes.fromhex(batch["stored"][44:46])[0] & 7 == LZ4 for batch in batches)
    wrong = [message for message in map(check_batch, batches) if message is not None]
    for message in wrong:
        print(message, file=sys.stderr)
    print(f"{len(batches)} batches, {compact} of them compact: {len(wrong)} came out wrong")
    return 1 if wrong or not batches else 0


def main():
    default = pathlib.Path(__file__).with_name("vectors") / "envelope-v1.json"
    parser = argparse.ArgumentParser(description="Checks the envelope's vectors with a second decoder.")
    parser.add_argument("file", nargs="?", type=pathlib.Path, default=default)
    parser.add_argument("--explain", metavar="NAME", help="print the steps by which this vector opens")
    parser.add_argument("--batches", action="store_true", help="the file holds whole batches")
    options = parser.parse_args()
    if options.batches:
        return check_batches(json.loads(options.file.read_text(encoding="utf-8")))
    vectors = json.loads(options.file.read_text(encoding="utf-8"))["vectors"]
    if options.explain is not None:
        chosen = [vector for vector in vectors if vector["name"] == options.explain]
        if not chosen:
            parser.error(f"no vector is named {options.explain}")
        wrong = check(chosen[0], lambda name, value: print(f"{name} ({len(value)} bytes)\n  {value.hex()}"))
        if wrong is not None:
            print(wrong, file=sys.stderr)
        return 0 if wrong is None else 1
    opened = sum("opened" in vector for vector in vectors)
    if opened < 15 or len(vectors) - opened < 40:
        print("the file holds too few vectors", file=sys.stderr)
        return 1
    wrong = [message for message in map(check, vectors) if message is not None]
    for message in wrong:
        print(message, file=sys.stderr)
    print(f"{len(vectors)} vectors, {opened} to be opened: {len(wrong)} came out wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
