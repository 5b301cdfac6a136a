# SPDX-License-Identifier: Apache-2.0
"""A client that is none of ours speaks to registry_hub, whose program the environment variable REGISTRY_HUB names."""
import json
import pathlib
import struct
import sys
import unittest

import zmq

import peers
import protocol as p
from peers import Client, Hub

# None, one frame, and frames as proxies put in front: empty ones, some that look like messages or like our envelope.
ENVELOPES = [
    (),
    (b"request 7",),
    (b"",),
    (b"\x00proxy", b"", b"\x01\x02\x00\x00\x00\x00", b"DR\x01", b"x" * 300),
]

# Every message of tests/wire/vectors.json, which the Rust encoder produced, as this encoder writes it.
VECTORS = {
    "register_u64_nometadata": p.entries(p.REGISTER, [(p.u64(1), p.u64(100), b""), (p.u64(2), p.u64(200), b"")]),
    "register_key128_timestamp": p.entries(p.REGISTER, [
        (p.key128(0x123456789ABCDEF0FEDCBA9876543210), p.u64(7), p.timestamp_metadata(1234567890, 3600)),
        (p.key128(1), p.u64(8), p.timestamp_metadata(1, 0))]),
    "register_positional_storagelocation_u16path": p.entries(p.REGISTER, [
        (p.positional_key(123, 456, 789), p.storage_location(p.OBJECT, "bucket/key/object.bin", 1048576), b"")]),
    "query_can_offload_u64": p.query(p.CAN_OFFLOAD, [p.u64(1), p.u64(2), p.u64(3)]),
    "query_match_positional": p.query(p.MATCH, [p.positional_key(0, 0x1111, 0), p.positional_key(0, 0x2222, 1)]),
    "query_remove_composite": p.query(p.REMOVE, [p.composite_key(123, 456)]),
    "response_can_offload": p.statuses([p.GRANTED, p.ALREADY_STORED, p.LEASED]),
    "response_remove": p.count(p.REMOVE_RESPONSE, 3),
    "response_touch": p.count(p.TOUCH_RESPONSE, 2),
    "query_empty": p.query(p.CAN_OFFLOAD, []),
    "bad_count_bomb": p.header(p.CAN_OFFLOAD) + b"\xff\xff\xff\xff",
    "bad_trailing_query": p.query(p.CAN_OFFLOAD, [p.u64(1)]) + b"\xaa\xbb",
}


def keys(first, number):
    return [p.u64(key) for key in range(first, first + number)]


def rows(of):
    return [(key, p.u64(struct.unpack("<Q", key)[0] + 1000), b"") for key in of]


def malformed_variants(message, key):
    """Messages that are almost `message`, which names `key`: none may be understood."""
    yield from (message[:size] for size in range(len(message)))
    yield message + b"\x00"
    for version in (0, 2, 255):
        yield bytes([version]) + message[1:]
    yield struct.pack("<I", 7) + message  # a request id in front, as another Rust version puts it there
    count, rest = struct.unpack_from("<I", message, 2)[0], message[6:]
    for lie in (0, count - 1, count + 1, 2**31, 2**32 - 1):
        if lie != count:
            yield message[:2] + struct.pack("<I", lie) + rest
    for size in (0, 7, 9, 16, 65535):
        yield message[:6] + struct.pack("<H", size) + rest[2:]
    yield message.replace(p.field(key), p.field(key[:7]), 1)
    yield message.replace(p.field(key), p.field(key + key), 1)


class Codec(unittest.TestCase):
    def test_bytes_of_the_rust_encoder(self):
        folder = pathlib.Path(__file__).resolve().parent.parent / "wire"
        recorded = {vector["name"]: vector["hex"] for vector in json.loads((folder / "vectors.json").read_text())}
        self.assertEqual({name: message.hex() for name, message in VECTORS.items()}, recorded)


class WithHub(unittest.TestCase):
    hub_arguments = ("--schema", "u64")

    def setUp(self):
        self.hub = Hub(*self.hub_arguments)
        self.addCleanup(lambda: self.hub.process.poll() is None and self.hub.process.kill())

    def client(self, *arguments, **options):
        client = Client(self.hub, *arguments, **options)
        self.addCleanup(client.close)
        return client

    def stop(self, **expected):
        """The hub ends as it should and has counted what the test says."""
        statistics = self.hub.stop()
        self.assertEqual({name: statistics[name] for name in expected}, expected)


class Queries(WithHub):
    def test_every_type_under_every_envelope(self):
        other = self.client()
        for number, envelope in enumerate(ENVELOPES):
            with self.subTest(envelope=envelope):
                first, second, third = keys(100 * (number + 1), 3)
                client = self.client(envelope)
                self.assertEqual(client.can_offload([first, second]), [p.GRANTED, p.GRANTED])
                self.assertEqual(client.match([first, second, third]), [])
                self.assertEqual(client.register(rows([first])), rows([first]))
                # Stored for everyone, held by one of the two, and nobody's so far.
                self.assertEqual(other.can_offload([third, second, first]), [p.GRANTED, p.LEASED, p.ALREADY_STORED])
                self.assertEqual(client.can_offload([first, second, third]), [p.ALREADY_STORED, p.GRANTED, p.LEASED])
                self.assertEqual(client.touch([first, second, third]), 1)
                self.assertEqual(client.remove([first, second, third]), 1)
                self.assertEqual(client.match([first]), [])
                self.assertEqual(client.touch([first]), 0)
                # To remove is not to give back: the lease on `second` is still there.
                self.assertEqual(other.can_offload([first, second]), [p.GRANTED, p.LEASED])
        self.stop(malformed=0, undeliverable=0, stored=0, removed=len(ENVELOPES), entries_registered=len(ENVELOPES))

    def test_request_and_reply_sockets(self):
        client = self.client(kind=zmq.REQ)
        first, second = keys(1, 2)
        self.assertEqual(client.can_offload([first, second]), [p.GRANTED, p.GRANTED])
        self.assertEqual(client.register(rows([second])), rows([second]))
        self.assertEqual(client.remove([first, second]), 1)
        self.stop(malformed=0)

    def test_matches_come_in_the_order_asked(self):
        client = self.client()
        stored = keys(1, 200)
        client.register(rows(stored))
        asked = [key for pair in zip(reversed(stored), keys(1000, 200)) for key in pair]
        self.assertEqual(client.match(asked), rows(reversed(stored)))
        self.assertEqual(client.match(keys(1000, 200)), [])

    def test_a_key_registered_again_has_its_new_value(self):
        client = self.client()
        [key] = keys(1, 1)
        client.register([(key, p.u64(1), b"")])
        client.push_message(p.entries(p.REGISTER, [(key, p.u64(2), b"")]))
        client.register(rows(keys(2, 1)))  # comes behind it
        self.assertEqual(client.match([key]), [(key, p.u64(2), b"")])

    def test_queries_without_keys(self):
        client = self.client()
        self.assertEqual(client.can_offload([]), [])
        self.assertEqual(client.match([]), [])
        self.assertEqual(client.touch([]), 0)
        self.assertEqual(client.remove([]), 0)
        client.push_message(p.entries(p.REGISTER, []))
        client.register(rows(keys(1, 1)))
        self.stop(malformed=0, registrations=2)

    def test_many_queries_in_flight_under_envelopes_of_their_own(self):
        client = self.client()
        client.register(rows(keys(0, 1000)))
        for number in range(1000):
            client.send(p.query(p.MATCH, keys(number, 1)), [b"", struct.pack("<I", number), b"tail"])
        answers = {}
        for _ in range(1000):
            envelope, message = client.receive()
            self.assertEqual((envelope[0], envelope[2:]), (b"", [b"tail"]))
            answers[struct.unpack("<I", envelope[1])[0]] = p.read_entries(message)
        self.assertEqual(answers, {number: rows(keys(number, 1)) for number in range(1000)})

    def test_a_registration_that_wants_an_answer(self):
        # Over the query socket a Register is answered; what the answer says is left to an extension.
        client = self.client((b"a", b"b"))
        answer = client.ask(p.entries(p.REGISTER, rows(keys(1, 1))))
        self.assertEqual(answer[0], p.VERSION)
        self.assertTrue(answer[1] == p.ERROR_RESPONSE or answer[1] >= 32, answer.hex())
        self.assertEqual(client.can_offload(keys(2, 1)), [p.GRANTED])


class MalformedMessages(WithHub):
    def test_queries_are_answered_with_an_error_and_change_nothing(self):
        stored, free = keys(1, 2)
        other = self.client()
        other.register(rows([stored]))
        refused = 0
        for envelope in (ENVELOPES[0], ENVELOPES[3]):
            client = self.client(envelope)
            variants = [
                variant
                for message_type in (p.CAN_OFFLOAD, p.MATCH, p.REMOVE, p.TOUCH)
                for variant in malformed_variants(p.query(message_type, [stored, free]), stored)
            ]
            for message_type in (0, 4, 5, 7, 9, 10, 11, 31, 255):
                variants.append(p.header(message_type))
                variants.append(p.query(message_type, [stored, free]))
            for message in variants:
                with self.subTest(message=message.hex()):
                    self.assertNotEqual(client.error(message), "")
            refused += len(variants)
            self.assertEqual(client.match([stored]), rows([stored]))
        self.assertEqual(other.can_offload([stored, free]), [p.ALREADY_STORED, p.GRANTED])
        self.stop(malformed=refused, removed=0, granted=1, leases_granted=1)

    def test_registrations_are_counted_and_dropped(self):
        client = self.client()
        good, bad = keys(1, 2)
        message = p.entries(p.REGISTER, rows([bad]))
        variants = [*malformed_variants(message, bad), p.query(p.CAN_OFFLOAD, [bad]), p.header(0), b"\xff" * 1000]
        variants.append(message.replace(p.field(rows([bad])[0][1]), p.field(b"1234567"), 1))
        variants.append(p.entries(p.REGISTER, [(bad, p.u64(1), b"metadata")]))
        # One entry that is malformed spoils those before it.
        variants.append(p.entries(p.REGISTER, [*rows([bad]), (b"short", p.u64(1), b"")]))
        for variant in variants:
            client.push_message(variant)
        client.register(rows([good]))
        self.assertEqual(client.match([bad]), [])
        self.assertEqual(client.can_offload([bad]), [p.GRANTED])
        self.stop(malformed=len(variants), stored=1, entries_registered=1)
        self.assertIn("malformed", self.hub.log)

    def test_registrations_with_a_second_frame_that_is_none_of_the_protocol(self):
        # It could name a namespace that this hub does not know: to take its sender for an anonymous one is a guess.
        client = self.client()
        client.push_message(p.entries(p.REGISTER, rows(keys(1, 1))), b"what is this")
        client.register(rows(keys(2, 1)))
        self.assertEqual(client.match(keys(1, 1)), [])
        self.stop(malformed=1, stored=1)


class Blocks(WithHub):
    hub_arguments = ("--schema", "blocks")

    def test_locations_come_back_as_they_were_registered(self):
        client = self.client()
        registered = [
            (p.key128(0x0123456789ABCDEFFEDCBA9876543210),
             p.storage_location(p.OBJECT, "bucket/bücher", 2**64 - 1), b""),
            (p.key128(2**128 - 1), p.storage_location(p.DISK, "", 0), b""),
            (p.key128(0), p.storage_location(p.DISK, "p" * 60000, 1), b""),
        ]
        self.assertEqual(client.register(registered), registered)
        self.assertEqual(client.can_offload([key for key, _, _ in registered]), [p.ALREADY_STORED] * 3)
        bad = p.entries(p.REGISTER, [(p.key128(5), b"\x02" + p.storage_location(p.DISK, "a", 1)[1:], b"")])
        client.push_message(bad)
        client.register([(p.key128(6), p.storage_location(p.DISK, "b", 1), b"")])
        self.assertEqual(client.match([p.key128(5)]), [])
        self.stop(malformed=1, stored=4)


class Chains(WithHub):
    hub_arguments = ("--schema", "chains")

    def test_metadata_come_back_as_they_were_registered(self):
        client = self.client()
        registered = [
            (p.u64(1), p.storage_location(p.OBJECT, "head", 4096), p.position_metadata(0, 0, 0, 1700000000)),
            (p.u64(2), p.storage_location(p.OBJECT, "next", 4096), p.position_metadata(1, 1, 9, 1700000001)),
        ]
        self.assertEqual(client.register(registered), registered)
        self.stop(malformed=0, stored=2)


def main():
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=2).run(tests)
    # A file in which no test is found would otherwise be a success.
    if result.testsRun == 0 or not result.wasSuccessful():
        return 1
    per_type = lambda counts: ", ".join(f"{kind}: {counts[kind]}" for kind in range(1, 11) if counts[kind])
    print(f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}: {result.testsRun} tests passed")
    print(f"messages sent, by type:    {per_type(peers.sent)}; {sum(peers.sent.values())} in all")
    print(f"answers received, by type: {per_type(peers.answered)}; {sum(peers.answered.values())} in all")
    unused = set(range(1, 10)) - {*peers.sent, *peers.answered}
    if unused:
        print(f"types never seen: {unused}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
