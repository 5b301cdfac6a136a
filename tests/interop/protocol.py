# SPDX-License-Identifier: Apache-2.0
"""Version 1 of the wire protocol, types 1 to 10, written from the protocol's description and from nothing else: it
shares no code and no author's habits with the C++ codec, so that what both agree on is what the description says."""
import struct

VERSION = 1
REGISTER, CAN_OFFLOAD, MATCH, CAN_OFFLOAD_RESPONSE, MATCH_RESPONSE = 1, 2, 3, 4, 5
REMOVE, REMOVE_RESPONSE, TOUCH, TOUCH_RESPONSE, ERROR_RESPONSE = 6, 7, 8, 9, 10
GRANTED, ALREADY_STORED, LEASED = 0, 1, 2
OBJECT, DISK = 0, 1


class Malformed(Exception):
    """An answer that the description does not allow."""


def u64(number):
    return struct.pack("<Q", number)


def key128(number):
    return number.to_bytes(16, "little")


def composite_key(worker_id, sequence_hash):
    return struct.pack("<QQ", worker_id, sequence_hash)


def positional_key(worker_id, sequence_hash, position):
    return struct.pack("<QQI", worker_id, sequence_hash, position)


def storage_location(backend, path, size_bytes):
    text = path.encode("utf-8")
    return struct.pack("<BH", backend, len(text)) + text + struct.pack("<Q", size_bytes)


def timestamp_metadata(created_at, ttl_secs):
    return struct.pack("<QI", created_at, ttl_secs)


def position_metadata(position, parent_hash, sequence_length, created_at):
    return struct.pack("<IQIQ", position, parent_hash, sequence_length, created_at)


def header(message_type, version=VERSION):
    return struct.pack("<BB", version, message_type)


def field(payload):
    return struct.pack("<H", len(payload)) + payload


def query(message_type, keys):
    return header(message_type) + struct.pack("<I", len(keys)) + b"".join(field(key) for key in keys)


def entries(message_type, rows):
    """Register and MatchResponse: rows of (key, value, metadata)."""
    return header(message_type) + struct.pack("<I", len(rows)) + b"".join(field(part) for row in rows for part in row)


def statuses(values):
    return header(CAN_OFFLOAD_RESPONSE) + struct.pack("<I", len(values)) + bytes(values)


def count(message_type, number):
    return header(message_type) + struct.pack("<Q", number)


class Reader:
    """Takes a message apart, strictly: whoever takes more than there is, or leaves a byte, has a malformed message."""

    def __init__(self, message):
        self.message = message
        self.at = 0

    def take(self, size):
        if self.at + size > len(self.message):
            raise Malformed(f"{size} bytes wanted at {self.at} of {len(self.message)}: {self.message.hex()}")
        self.at += size
        return self.message[self.at - size : self.at]

    def number(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def begin(self, message_type):
        version, got = self.number("B"), self.number("B")
        if version != VERSION or got != message_type:
            raise Malformed(f"type {message_type} expected: {self.message.hex()}")
        return self

    def field(self):
        return self.take(self.number("H"))

    def end(self):
        if self.at != len(self.message):
            raise Malformed(f"{len(self.message) - self.at} bytes too many: {self.message.hex()}")


def read_statuses(message, asked):
    reader = Reader(message).begin(CAN_OFFLOAD_RESPONSE)
    values = list(reader.take(reader.number("I")))
    reader.end()
    if len(values) != asked or any(value > LEASED for value in values):
        raise Malformed(f"statuses {values} for {asked} keys")
    return values


def read_entries(message):
    reader = Reader(message).begin(MATCH_RESPONSE)
    rows = [(reader.field(), reader.field(), reader.field()) for _ in range(reader.number("I"))]
    reader.end()
    return rows


def read_count(message, message_type):
    reader = Reader(message).begin(message_type)
    number = reader.number("Q")
    reader.end()
    return number


def read_error(message):
    reader = Reader(message).begin(ERROR_RESPONSE)
    text = reader.field().decode("utf-8")
    reader.end()
    return text
