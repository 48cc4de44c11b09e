"""The same conversation over raw TCP, every byte written by hand: docs/protocol.md, struct and socket.

usage: tcp_conversation.py HOST PORT BRISK_PORT HTTP_URL API_KEY USER TOKEN FRESH EARLY

BRISK_PORT is of a node that wants a heartbeat every second. TOKEN never ends, FRESH does in 2100, EARLY is not valid for a day.
"""
import json
import socket
import struct
import sys
import urllib.request

host, port, brisk_port, http_url, api_key, user, token, fresh, early = sys.argv[1:]
STEP_S = 30


def push(payload):
    body = json.dumps({"to": {"userIds": [user]}, "payload": payload}).encode()
    headers = {"authorization": "Bearer " + api_key, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(http_url + "/v1/downlinks", body, headers)) as answer:
        assert answer.status == 202, answer.status


def long(value):
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 0x7F:
        out += struct.pack("B", value & 0x7F | 0x80)
        value >>= 7
    return out + struct.pack("B", value)


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return long(len(value)) + value


class Reader:
    def __init__(self, body):
        self.body = body
        self.pos = 0

    def long(self):
        value = shift = 0
        while True:
            (byte,) = struct.unpack_from("B", self.body, self.pos)
            self.pos += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def bytes(self):
        length = self.long()
        self.pos += length
        return self.body[self.pos - length:self.pos]

    def longs(self):
        values = []
        count = self.long()
        while count:
            values += [self.long() for _ in range(count)]
            count = self.long()
        return values

    def boolean(self):
        self.pos += 1
        return self.body[self.pos - 1] == 1


class Connection:
    def __init__(self, to=port):
        self.socket = socket.create_connection((host, int(to)), STEP_S)

    def say(self, opcode, *fields):
        frame = struct.pack("B", opcode) + b"".join(fields)
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)

    def exactly(self, count):
        out = b""
        while len(out) < count:
            part = self.socket.recv(count - len(out))
            assert part, "closed too early"
            out += part
        return out

    def hear(self, opcode):
        (length,) = struct.unpack(">I", self.exactly(4))
        frame = self.exactly(length)
        assert frame[0] == opcode, f"wanted 0x{opcode:02x}, got {frame!r}"
        return Reader(frame[1:])

    def connect(self, downlink_seq, with_token=token, device="python"):
        self.say(0x01, text(with_token), text(device), text("linux"), text("py/1"), text("py-1"), long(downlink_seq))

    def connected(self):
        r = self.hear(0x02)
        assert len(r.bytes()) > 0 and len(r.bytes()) > 0
        assert r.bytes() == user.encode()
        answer = (r.boolean(), r.long(), r.long(), r.long())
        heartbeat_ms, uplink_window, frame_bytes_max, server_time_ms = r.long(), r.long(), r.long(), r.long()
        assert min(heartbeat_ms, uplink_window, frame_bytes_max, server_time_ms) > 0
        assert r.pos == len(r.body)
        return answer

    def acked(self):
        r = self.hear(0x04)
        return r.long(), r.longs()

    def ended(self):
        """The last frame: its code and its wait. A FIN follows it."""
        r = self.hear(0x0E)
        code, message, retry_after_ms = r.bytes(), r.bytes(), r.long()
        assert len(message) > 0 and r.pos == len(r.body)
        assert self.socket.recv(1) == b"", "the frame is followed by a FIN"
        return code, retry_after_ms

    def downlink(self):
        r = self.hear(0x06)
        seq, _message_id, _service, payload = r.long(), r.bytes(), r.bytes(), r.bytes()
        return seq, payload


c = Connection()
c.connect(0)
assert c.connected() == (False, 0, 0, 0)
c.say(0x03, long(1), text("chat"), text("ahoj, světe"), long(0), text(""))
assert c.acked() == (1, [1])
c.say(0x03, long(2), text(""), text(b"\x00\xff"), long(-1), text(""))
assert c.acked() == (2, [2])
push("first")
assert c.downlink() == (1, b"first")
c.say(0x08, long(1), long(0))
assert c.hear(0x09).long() == 2

c.say(0x10, text(fresh))
assert c.hear(0x11).long() == 4_102_444_800_000, "the end of the fresh token"
c.say(0x10, text(token))
assert c.hear(0x11).long() == 0, "a token that never ends"
c.say(0x0F, b"\x00")
assert c.socket.recv(1) == b"", "goodbye is answered by a FIN"

push({"base64": "AP8="})

c = Connection()
c.connect(1)
assert c.connected() == (True, 2, 1, 0)
assert c.downlink() == (2, b"\x00\xff")
c.say(0x17, long(2), text("can't read it"))
c.say(0x17, long(2), text("a repeat changes nothing"))
c.say(0x03, long(2), text(""), text(b"\x00\xff"), long(-1), text(""))
assert c.acked() == (2, [2]), "a repeat gets its original answer"
c.say(0x03, long(4), text(""), text("too early"), long(0), text(""))
r = c.hear(0x05)
assert (r.long(), r.bytes()) == (3, b"gap") and r.long() >= 0 and r.pos == len(r.body)
# An unknown opcode, and much behind it that nobody will look at: a reset would take the answer with it.
c.socket.sendall(struct.pack(">IB", 1, 0x7F) + bytes(1_000_000))
assert c.ended() == (b"bad-frame", 0)

c = Connection()
c.connect(2)
assert c.connected() == (True, 2, 2, 0), "what was skipped is done with"
c.say(0x10, text(early))
assert c.ended() == (b"token-early", 600_000)

c = Connection()
c.connect(2, early)
assert c.ended() == (b"token-early", 600_000)

c = Connection()
c.connect(99)
assert c.ended() == (b"protocol", 0), "this server never sent as many"
c = Connection()
c.connect(0)
assert c.connected() == (True, 2, 2, 0), "so the client forgot its number"
c.say(0x07, long(2))
c.say(0x07, long(0))
c.say(0x07, long(3))
assert c.ended() == (b"protocol", 0), "an ack of what was never sent"

# Of two that are as silent, the one that said so stays.
silent = Connection(brisk_port)
silent.connect(0, device="silent")
silent.say(0x08, long(0), long(60_000))
silent.connected()
silent.hear(0x09)
c = Connection(brisk_port)
c.connect(0, device="forgetful")
c.connected()
assert c.ended() == (b"heartbeat-timeout", 0)
silent.say(0x08, long(0), long(0))
silent.hear(0x09)
assert silent.ended() == (b"heartbeat-timeout", 0), "one ping's silence ends with the next ping"
print("done")
