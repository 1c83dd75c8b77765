"""kafka-python's codec as a judge of what Narrows rewrites: a batch a call.

    codec.py generate SEED COUNT   writes COUNT random responses of every version that names brokers
    codec.py judge                 reads what Narrows made of them, and says what is wrong

A line is `key version frame`, to the judge `key version original rewritten`; frames are in hex, with
their length in front.
"""

import math
import random
import sys
import uuid

from kafka.protocol.admin import DescribeClusterResponse, DescribeQuorumResponse
from kafka.protocol.consumer import FetchResponse
from kafka.protocol.metadata import FindCoordinatorResponse, MetadataResponse
from kafka.protocol.producer import ProduceResponse

# The first version in which each names brokers (Narrows passes on earlier ones as they are), and the newest that it lets
# through. A version that kafka-python does not know is left out.
RESPONSES = {
    0: (ProduceResponse, 10, 13),
    1: (FetchResponse, 16, 18),
    3: (MetadataResponse, 0, 13),
    10: (FindCoordinatorResponse, 0, 6),
    55: (DescribeQuorumResponse, 2, 2),
    60: (DescribeClusterResponse, 0, 2),
}

# In every host of a broker, and nowhere else: it must not come out.
PLANTED = "planted-broker-host"

# Frames up to this size are edited whole. In larger ones with their addresses at the end, these are edited at unchanged
# length, with a tagged field of zeros as the padding.
HELD_WHOLE_BYTES_MAX = 16 * 1024


def advertised(node_id):
    """What Narrows is told to advertise; shorter than any planted host, so that it always fits."""
    return f"k{node_id}", 19_000 + node_id % 1000


def main():
    if sys.argv[1] == "generate":
        generate(random.Random(int(sys.argv[2])), int(sys.argv[3]))
    else:
        judge()


def versions():
    for key, (response, first, last) in RESPONSES.items():
        for version in range(first, min(last, response.max_version) + 1):
            yield key, response, version


def generate(chance, count):
    for key, response, version in versions():
        for number in range(count):
            maker = Maker(chance, version, large=number % 8 == 7)
            message = response(version=version, **maker.fields(response._struct))
            message.with_header(correlation_id=chance.randrange(2**31))
            print(key, version, bytes(message.encode(header=True, framed=True)).hex())


class Maker:
    """Random values for the fields of one response."""

    def __init__(self, chance, version, large):
        self.chance = chance
        self.version = version
        self.large = large

    def fields(self, struct):
        wanted = [field for field in struct._fields if field.for_version_q(self.version)]
        return {field.name: self.value(field) for field in wanted}

    def value(self, field):
        if field.nullable_for_version_q(self.version) and self.chance.random() < 0.2:
            return None
        if field.is_array():
            return [self.one(field.array_of, field.name) for _ in range(self.chance.choice([0, 1, 1, 2, 4]))]
        return self.one(field, field.name)

    def one(self, field, name):
        if field.is_struct():
            return field(version=self.version, **self.fields(field))
        return getattr(self, field._type_str)(name)

    def string(self, name):
        if name == "host":
            return f"{PLANTED}-{self.chance.randrange(100_000)}.internal"
        letters = "abcXYZ019._-/ {}\u00e4\u4e16\U0001f600"
        length = self.chance.choice([0, 1, 5, 30, 126, 127, 128, 200])
        return "".join(self.chance.choices(letters, k=length))

    def bytes(self, name):
        length = self.chance.choice([0, 1, 100])
        if self.large and name == "records":
            length = self.chance.choice([16_000, 40_000])
        return self.chance.randbytes(length)

    records = bytes

    def integer(self, bits):
        edges = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]
        return self.chance.choice([*edges, self.chance.getrandbits(bits - 1), self.chance.randrange(100)])

    def int32(self, name):
        if name == "port":
            return self.chance.randrange(1, 65_536)
        return self.integer(32)

    def int8(self, name):
        return self.integer(8)

    def int16(self, name):
        return self.integer(16)

    def int64(self, name):
        return self.integer(64)

    def uint16(self, name):
        return self.chance.randrange(1, 65_536)

    def float64(self, name):
        value = self.chance.uniform(-1e9, 1e9)
        assert math.isfinite(value)
        return value

    def bool(self, name):
        return self.chance.random() < 0.5

    def uuid(self, name):
        return uuid.UUID(int=self.chance.getrandbits(128))

    def bitfield(self, name):
        return set(self.chance.sample(range(16), self.chance.randrange(5)))


def judge():
    judged = 0
    streamed = 0
    wrong = []
    for line in sys.stdin:
        key, version, *frames = line.split()
        original, rewritten = map(bytes.fromhex, frames)
        try:
            streamed += check(int(key), int(version), original, rewritten)
        except Exception as error:
            wrong.append(f"api key {key} version {version}: {type(error).__name__}: {str(error)[:400]}")
        judged += 1
    for text in wrong[:20]:
        print(text)
    print(f"{judged} judged, {streamed} of them streamed, {len(wrong)} wrong")
    sys.exit(1 if wrong or not judged else 0)


def check(key, version, original, rewritten):
    """Whether the original flowed with its length sent; raises where the rewritten one says something else."""
    response, _, _ = RESPONSES[key]
    assert PLANTED.encode() not in rewritten, "a broker's host has leaked"
    assert int.from_bytes(rewritten[:4], "big") == len(rewritten) - 4, "its length is wrong"
    expected = response.decode(original, version=version, header=True, framed=True)
    says = response.decode(rewritten, version=version, header=True, framed=True)
    assert says.header.correlation_id == expected.header.correlation_id, "another correlation id"
    replace(key, version, expected)
    wanted, found = expected.to_dict(json=False), says.to_dict(json=False)
    assert wanted == found, f"expected {difference(wanted, found)}"
    has_streamed = key in (0, 1) and len(original) - 4 > HELD_WHOLE_BYTES_MAX
    if has_streamed:
        assert len(rewritten) == len(original), "the length that was sent is another"
        unknown = says.unknown_tags or {}
        assert len(unknown) <= 1, f"unknown tagged fields: {list(unknown)}"
        assert not any(any(value) for value in unknown.values()), "the padding is not blank"
    else:
        assert not says.unknown_tags, f"unknown tagged fields: {says.unknown_tags}"
        says.with_header(correlation_id=expected.header.correlation_id)
        # Written again it is the same: nothing was there but what was read.
        assert bytes(says.encode(header=True, framed=True)) == rewritten, "bytes that say nothing"
    return has_streamed


def replace(key, version, message):
    if key in (0, 1):
        for node in message.node_endpoints or []:
            node.host, node.port = advertised(node.node_id)
    elif key == 3:
        for broker in message.brokers:
            broker.host, broker.port = advertised(broker.node_id)
    elif key == 10 and version < 4:
        message.host, message.port = advertised(message.node_id)
    elif key == 10:
        for coordinator in message.coordinators:
            coordinator.host, coordinator.port = advertised(coordinator.node_id)
    elif key == 55:
        for node in message.nodes:
            node.listeners = []
    elif key == 60:
        for broker in message.brokers:
            broker.host, broker.port = advertised(broker.broker_id)


def difference(wanted, found, path=""):
    """Where the two first differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in wanted:
            if wanted[name] != found.get(name):
                return difference(wanted[name], found.get(name), f"{path}.{name}")
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found)):
            if one != other:
                return difference(one, other, f"{path}[{index}]")
    return f"{path}: {wanted!r}, but it says {found!r}"


if __name__ == "__main__":
    main()
