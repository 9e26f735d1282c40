"""Makes the files in tests/vectors/keystore from docs/keystore.md alone, with another library than Sealwire's.

usage: python3 tests/keystore_vectors.py tests/vectors/keystore      (needs the cryptography package, 44 or later)
"""
import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEYSTORE_ID = bytes(range(16))
REVISION = 7
KEKS = {
    "audit.log": [(1, "disabled", 1700000000)],
    "payments": [
        (1, "destroyed", 1),
        (2, "decrypt-only", 1700000000),
        (3, "current", 1800000000),
    ],
}
STATE_CODES = {"current": 1, "decrypt-only": 2, "disabled": 3, "destroyed": 4}


def text(data):
    return base64.b64encode(data).decode()


def kek(version):
    return bytes([0x40 + version]) * 32


def keystore(master_key, derivation, derivation_transcript):
    def derive(info, length):
        return HKDF(hashes.SHA256(), length, KEYSTORE_ID, info).derive(master_key)

    wrapping_key = derive(b"sealwire/keystore/1/wrap", 32)
    mac_key = derive(b"sealwire/keystore/1/mac", 32)
    check = derive(b"sealwire/keystore/1/check", 16)

    transcript = KEYSTORE_ID + struct.pack(">Q", REVISION) + derivation_transcript + check
    transcript += struct.pack(">I", len(KEKS))
    keks = {}
    for name in sorted(KEKS):
        counted_name = bytes([len(name)]) + name.encode()
        transcript += counted_name + struct.pack(">I", len(KEKS[name]))
        keks[name] = []
        for version, state, created in KEKS[name]:
            entry = {"version": version, "state": state, "created_unix_seconds": created}
            transcript += struct.pack(">IBQ", version, STATE_CODES[state], created)
            if state == "destroyed":
                transcript += b"\x00"
            else:
                nonce = bytes([0x80 + version]) * 12
                bound = b"sealwire/keystore/1/kek" + KEYSTORE_ID + counted_name + struct.pack(">I", version)
                wrapped = nonce + AESGCM(wrapping_key).encrypt(nonce, kek(version), bound)
                entry["wrapped"] = text(wrapped)
                transcript += b"\x01" + wrapped
            keks[name].append(entry)
    return {
        "format": "sealwire-keystore",
        "format_version": 1,
        "keystore_id": text(KEYSTORE_ID),
        "revision": REVISION,
        "master_key": derivation,
        "check": text(check),
        "keks": keks,
        "mac": text(hmac.new(mac_key, transcript, hashlib.sha256).digest()),
    }


def with_key():
    return keystore(b"\x11" * 32, {"kind": "key"}, b"\x00")


def with_passphrase():
    salt, memory_kib, iterations, lanes = bytes(range(32, 48)), 8192, 2, 2
    stretched = Argon2id(
        salt=salt, length=32, iterations=iterations, lanes=lanes, memory_cost=memory_kib
    ).derive(b"correct horse battery")
    derivation = {
        "kind": "argon2id",
        "salt": text(salt),
        "memory_kib": memory_kib,
        "iterations": iterations,
        "lanes": lanes,
    }
    return keystore(stretched, derivation, b"\x01" + salt + struct.pack(">III", memory_kib, iterations, lanes))


def wrapped_dek():
    authority = hashlib.sha256(KEYSTORE_ID).digest()[:4]
    prefix = b"\x01" + authority + b"\x08payments" + b"\x01\x03"
    nonce = b"\xc0" * 12
    return prefix + nonce + AESGCM(kek(3)).encrypt(nonce, b"\xdd" * 32, b"sealwire/keystore/1/dek" + prefix)


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, content in (("key", with_key()), ("passphrase", with_passphrase())):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "wrapped_dek.hex").write_text(wrapped_dek().hex() + "\n")


if __name__ == "__main__":
    main()
