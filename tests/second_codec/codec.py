"""kafka-python's codec as a judge of what Narrows rewrites: a batch a call.

    codec.py generate SEED COUNT   writes COUNT random responses of every version that names brokers
    codec.py judge [TABLE]         reads what Narrows made of them, and says what is wrong; TABLE is
                                   what it may offer of each API, KEY:FIRST:LAST with commas
    codec.py requests SEED COUNT   writes COUNT random requests of every API and version
    codec.py offers SEED COUNT     writes COUNT random ApiVersions responses of every version

A line is `key version frame`, to the judge `key version original rewritten`; frames are in hex, with
their length in front. With requests a line ends with what Narrows must read of it: the correlation
id, the client id (`-` for none, or `=` and hex), how many bytes the body has, and 1 if the broker answers.
"""

import importlib
import math
import pkgutil
import random
import sys
import uuid

import kafka.protocol
from kafka.protocol.admin import DescribeClusterResponse, DescribeQuorumResponse
from kafka.protocol.api_message import ApiMessage
from kafka.protocol.consumer import FetchResponse
from kafka.protocol.metadata import ApiVersionsResponse, FindCoordinatorResponse, MetadataResponse
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
    if sys.argv[1] == "judge":
        judge()
    else:
        write = {"generate": generate, "requests": requests, "offers": offers}[sys.argv[1]]
        write(random.Random(int(sys.argv[2])), int(sys.argv[3]))


def requests(chance, count):
    for request in sorted(all_requests(), key=lambda request: request.API_KEY):
        for version in range(request.min_version, request.max_version + 1):
            for _ in range(count):
                message = request(version=version, **Maker(chance, version, large=False).fields(request._struct))
                number, client = chance.randrange(2**31), chance.choice([None, "", "rdkafka", "\u4e16" * 40])
                message.with_header(correlation_id=number, client_id=client)
                frame = bytes(message.encode(header=True, framed=True)).hex()
                body = len(message.encode())
                is_answered = int(request.API_KEY != 0 or message.acks != 0)
                client = "-" if client is None else "=" + client.encode().hex()
                print(request.API_KEY, version, frame, number, client, body, is_answered)


def all_requests():
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        importlib.import_module(module.name)
    waiting, found = [ApiMessage], set()
    while waiting:
        message = waiting.pop()
        waiting += message.__subclasses__()
        if message.__name__.endswith("Request") and getattr(message, "API_KEY", None) is not None:
            found.add(message)
    return found


def offers(chance, count):
    for version in range(ApiVersionsResponse.max_version + 1):
        for _ in range(count):
            fields = Maker(chance, version, large=False).fields(ApiVersionsResponse._struct)
            keys = chance.sample(range(100), chance.randrange(100))
            ranges = [(key, *sorted(chance.choices(range(25), k=2))) for key in keys]
            item = next(field for field in ApiVersionsResponse._struct._fields if field.name == "api_keys").array_of
            names = ("api_key", "min_version", "max_version")
            fields |= {"error_code": 0, "api_keys": [item(version=version, **dict(zip(names, one))) for one in ranges]}
            message = ApiVersionsResponse(version=version, **fields)
            message.with_header(correlation_id=chance.randrange(2**31))
            print(18, version, bytes(message.encode(header=True, framed=True)).hex())


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
    if key == 18:
        return check_offers(version, original, rewritten)
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


def check_offers(version, original, cut):
    """Whether what is left is what both the broker and the table have; the rest must be the broker's."""
    assert int.from_bytes(cut[:4], "big") == len(cut) - 4, "its length is wrong"
    expected = ApiVersionsResponse.decode(original, version=version, header=True, framed=True)
    says = ApiVersionsResponse.decode(cut, version=version, header=True, framed=True)
    assert says.header.correlation_id == expected.header.correlation_id, "another correlation id"
    table = {key: (first, last) for key, first, last in (map(int, row.split(":")) for row in sys.argv[2].split(","))}
    kept = []
    for offer in expected.api_keys:
        first, last = table.get(offer.api_key, (1, 0))
        offer.min_version, offer.max_version = max(offer.min_version, first), min(offer.max_version, last)
        if offer.min_version <= offer.max_version:
            kept.append(offer)
    expected.api_keys = kept
    wanted, found = expected.to_dict(json=False), says.to_dict(json=False)
    assert wanted == found, f"expected {difference(wanted, found)}"
    return False


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
