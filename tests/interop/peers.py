# SPDX-License-Identifier: Apache-2.0
"""The two ends of these tests: a hub in a process of its own, and clients that are bare sockets."""
import collections
import os
import re
import subprocess
import time

import zmq

import protocol

# Longer than anything here may take. No test waits for it to pass unless it fails.
LIMIT_SECONDS = 30

context = zmq.Context.instance()
sent = collections.Counter()
answered = collections.Counter()


def type_of(message):
    return message[1] if len(message) > 1 else None


class Hub:
    """A registry_hub on free ports. `stop` returns the statistics that it prints at its end."""

    def __init__(self, *arguments):
        environment = {name: text for name, text in os.environ.items() if not name.startswith("DYN_REGISTRY_")}
        self.process = subprocess.Popen(
            [os.environ["REGISTRY_HUB"], "--query-addr", "tcp://127.0.0.1:*", "--register-addr", "tcp://127.0.0.1:*",
             *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"queries at (\S+), registrations at (\S+)", line)
        if not found:
            self.process.kill()
            raise RuntimeError("the hub did not start: " + line + self.process.communicate()[1])
        self.queries, self.registrations = found.groups()

    def stop(self):
        self.process.terminate()
        out, self.log = self.process.communicate(timeout=LIMIT_SECONDS)
        if self.process.returncode != 0:
            raise RuntimeError(f"the hub ended with {self.process.returncode}: {self.log}")
        return {name: int(number) for name, number in re.findall(r"^  (\w+) +(\d+)$", out, re.MULTILINE)}


class Client:
    """One connection for queries and one for registrations, without any of our identity: the hub knows the client by
    its connection. Every query carries `envelope` in front, which has to come back as it was."""

    def __init__(self, hub, envelope=(), kind=zmq.DEALER):
        self.envelope = list(envelope)
        self.dealer = self.connect(kind, hub.queries)
        self.push = self.connect(zmq.PUSH, hub.registrations)

    @staticmethod
    def connect(kind, address):
        socket = context.socket(kind)
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = LIMIT_SECONDS * 1000
        socket.connect(address)
        return socket

    def close(self):
        self.dealer.close()
        self.push.close()

    def send(self, message, envelope=None):
        sent[type_of(message)] += 1
        self.dealer.send_multipart([*(self.envelope if envelope is None else envelope), message])

    def receive(self):
        """The envelope and the message."""
        *envelope, message = self.dealer.recv_multipart()
        answered[type_of(message)] += 1
        return envelope, message

    def ask(self, message):
        self.send(message)
        envelope, answer = self.receive()
        if envelope != self.envelope:
            raise protocol.Malformed(f"the envelope {self.envelope} came back as {envelope}")
        return answer

    def can_offload(self, keys):
        return protocol.read_statuses(self.ask(protocol.query(protocol.CAN_OFFLOAD, keys)), len(keys))

    def match(self, keys):
        return protocol.read_entries(self.ask(protocol.query(protocol.MATCH, keys)))

    def remove(self, keys):
        return protocol.read_count(self.ask(protocol.query(protocol.REMOVE, keys)), protocol.REMOVE_RESPONSE)

    def touch(self, keys):
        return protocol.read_count(self.ask(protocol.query(protocol.TOUCH, keys)), protocol.TOUCH_RESPONSE)

    def error(self, message):
        return protocol.read_error(self.ask(message))

    def push_message(self, *frames):
        sent[type_of(frames[0])] += 1
        self.push.send_multipart(frames)

    def register(self, rows):
        """Returns when the hub has applied it, which nothing but a match can tell."""
        self.push_message(protocol.entries(protocol.REGISTER, rows))
        keys = [key for key, _, _ in rows]
        end = time.monotonic() + LIMIT_SECONDS
        while len(found := self.match(keys)) < len(keys):
            if time.monotonic() > end:
                raise TimeoutError(f"{len(found)} of {len(keys)} entries were stored")
            time.sleep(0.002)
        return found
