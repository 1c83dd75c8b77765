// The oracle: what Kafka's own message classes say about bytes. A long-lived helper of the tests, run from source
// (java -cp 'target/oracle/VERSION/*' Oracle.java), so that there is nothing to build and nothing that can be stale.
//
// A command a line on standard input, an answer a line on standard output: "ok ..." or "error ...".
//   versions                          {"KEY": {"VERSION": [REQUEST HEADER, RESPONSE HEADER], ...}, ...}, with unstable ones
//   sample WHAT KEY VERSION SEED      hex: a message as Kafka's classes write it, header first, no length prefix
//   raw WHAT KEY VERSION SEED         hex: the same message as it may also be written: tagged fields that equal their
//                                     default are there
//   json WHAT KEY VERSION HEX         what the bytes say, as JSON
//   write WHAT KEY VERSION HEX        hex: the message that says what the JSON (its UTF-8, as hex) says; records as base64
// WHAT is "request" or "response". The same seed gives the same bytes; every eighth seed makes large fields, far above
// 16 KiB. Ends with its standard input.

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.zip.CRC32C;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.RequestHeaderDataJsonConverter;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.message.ResponseHeaderDataJsonConverter;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

public class Oracle {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = "ok " + answer(line.split(" "));
            } catch (Throwable problem) {
                Throwable cause = problem instanceof java.lang.reflect.InvocationTargetException ? problem.getCause() : problem;
                answer = ("error " + cause).replaceAll("\\s+", " ");
            }
            out.print(answer + "\n");
            out.flush();
        }
    }

    static String answer(String[] words) throws Exception {
        if (words[0].equals("versions"))
            return versions();
        Kind kind = new Kind(words[1].equals("request"), ApiMessageType.fromApiKey(Short.parseShort(words[2])),
            Short.parseShort(words[3]));
        switch (words[0]) {
            case "sample": {
                byte[] raw = new Sample(kind, Long.parseLong(words[4])).bytes();
                return HexFormat.of().formatHex(new Parsed(kind, raw).written());
            }
            case "raw": {
                byte[] raw = new Sample(kind, Long.parseLong(words[4])).bytes();
                new Parsed(kind, raw);
                return HexFormat.of().formatHex(raw);
            }
            case "json":
                return JSON.writeValueAsString(new Parsed(kind, HexFormat.of().parseHex(words[4])).json());
            case "write":
                return HexFormat.of().formatHex(new Parsed(kind, JSON.readTree(HexFormat.of().parseHex(words[4]))).written());
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    static String versions() throws Exception {
        ObjectNode all = JSON.createObjectNode();
        for (ApiMessageType api : ApiMessageType.values()) {
            ObjectNode headers = JSON.createObjectNode();
            for (short version = api.lowestSupportedVersion(); version <= api.highestSupportedVersion(true); version++)
                headers.putArray(String.valueOf(version)).add(api.requestHeaderVersion(version))
                    .add(api.responseHeaderVersion(version));
            if (!headers.isEmpty())
                all.set(String.valueOf(api.apiKey()), headers);
        }
        return JSON.writeValueAsString(all);
    }
}

/** A request or a response of an API in a version. */
record Kind(boolean isRequest, ApiMessageType api, short version) {
    Kind {
        if (version < api.lowestSupportedVersion() || version > api.highestSupportedVersion(true))
            throw new IllegalArgumentException("this release has no version " + version + " of " + api);
    }

    ApiMessage newBody() {
        return isRequest ? api.newRequest() : api.newResponse();
    }

    short headerVersion() {
        return isRequest ? api.requestHeaderVersion(version) : api.responseHeaderVersion(version);
    }

    Schema schema() {
        return (isRequest ? api.requestSchemas() : api.responseSchemas())[version];
    }

    Schema headerSchema() {
        return (isRequest ? RequestHeaderData.SCHEMAS : ResponseHeaderData.SCHEMAS)[headerVersion()];
    }
}

/** A message that Kafka's classes have read to its last byte. */
class Parsed {
    final Kind kind;
    final Message header;
    final ApiMessage body;

    Parsed(Kind kind, byte[] bytes) {
        this.kind = kind;
        ByteBufferAccessor in = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        header = kind.isRequest() ? new RequestHeaderData() : new ResponseHeaderData();
        header.read(in, kind.headerVersion());
        body = kind.newBody();
        body.read(in, kind.version());
        if (in.buffer().hasRemaining())
            throw new IllegalArgumentException(in.buffer().remaining() + " bytes are left over");
    }

    /** A message that says what {@link #json} has said; fields that Kafka doesn't know it can't have. */
    Parsed(Kind kind, JsonNode json) throws Exception {
        this.kind = kind;
        header = kind.isRequest()
            ? RequestHeaderDataJsonConverter.read(json.get("header"), kind.headerVersion())
            : ResponseHeaderDataJsonConverter.read(json.get("header"), kind.headerVersion());
        Class<?> converter = Class.forName(kind.newBody().getClass().getName() + "JsonConverter");
        body = (ApiMessage) converter.getMethod("read", JsonNode.class, short.class)
            .invoke(null, json.get("body"), kind.version());
    }

    byte[] written() {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = header.size(cache, kind.headerVersion()) + body.size(cache, kind.version());
        ByteBuffer out = ByteBuffer.allocate(size);
        header.write(new ByteBufferAccessor(out), cache, kind.headerVersion());
        body.write(new ByteBufferAccessor(out), cache, kind.version());
        return out.array();
    }

    /** Kafka's converters leave out the records and the tagged fields that they don't know: these two stand beside. */
    JsonNode json() throws Exception {
        ObjectNode all = Oracle.JSON.createObjectNode();
        all.set("header", kind.isRequest()
            ? RequestHeaderDataJsonConverter.write((RequestHeaderData) header, kind.headerVersion())
            : ResponseHeaderDataJsonConverter.write((ResponseHeaderData) header, kind.headerVersion()));
        Class<?> converter = Class.forName(body.getClass().getName() + "JsonConverter");
        all.set("body", (JsonNode) converter.getMethod("write", body.getClass(), short.class)
            .invoke(null, body, kind.version()));
        ObjectNode unknown = all.putObject("unknownTaggedFields"), records = all.putObject("records");
        walk(header, "header", unknown, records);
        walk(body, "body", unknown, records);
        return all;
    }

    private static void walk(Object value, String path, ObjectNode unknown, ObjectNode records) throws Exception {
        if (value instanceof Message message) {
            List<RawTaggedField> fields = message.unknownTaggedFields();
            if (fields != null && !fields.isEmpty()) {
                ArrayNode list = unknown.putArray(path);
                for (RawTaggedField field : fields)
                    list.addArray().add(field.tag()).add(HexFormat.of().formatHex(field.data()));
            }
            for (Field field : value.getClass().getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers()) || field.getName().equals("_unknownTaggedFields"))
                    continue;
                field.setAccessible(true);
                walk(field.get(value), path + "." + field.getName(), unknown, records);
            }
        } else if (value instanceof Iterable<?> && !value.getClass().getName().contains(".record.")) {
            int index = 0;
            for (Object element : (Iterable<?>) value)
                walk(element, path + "[" + index++ + "]", unknown, records);
        } else if (value != null && value.getClass().getSimpleName().equals("MemoryRecords")) {
            // By reflection: the class moved to another package in Kafka 4.4.
            ByteBuffer buffer = ((ByteBuffer) value.getClass().getMethod("buffer").invoke(value)).duplicate();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            records.put(path, HexFormat.of().formatHex(bytes));
        }
    }
}

/** A message made up from a seed, field by field along its schema: every branch of the wire format comes up sooner or later. */
class Sample {
    private static final int[] NODE_IDS = {0, 1, 2, 3, 7, 100, 1000, 1001, 1002, Integer.MAX_VALUE};
    private static final short[] ERRORS = {0, 0, 0, 0, -1, 3, 5, 6, 7, 9, 15, 16, 29, 72, 74, 100, 129};

    private final Kind kind;
    private final Random random;
    private final boolean isLarge;
    private final Wire out = new Wire();
    private final List<Integer> nodes = new ArrayList<>();

    Sample(Kind kind, long seed) {
        this.kind = kind;
        isLarge = seed % 8 == 7;
        // A Random's first numbers are alike for neighbouring seeds.
        random = new Random((seed * 31 + kind.api().apiKey()) * 0x9E3779B97F4A7C15L + kind.version());
        Arrays.stream(NODE_IDS).forEach(nodes::add);
        Collections.shuffle(nodes, random);
        nodes.subList(1 + random.nextInt(6), nodes.size()).clear();
    }

    byte[] bytes() {
        int correlationId = random.nextInt();
        if (kind.isRequest()) {
            out.int16(kind.api().apiKey());
            out.int16(kind.version());
            out.int32(correlationId);
            // The client id has a 16 bit length in flexible headers too.
            String clientId = random.nextInt(4) == 0 ? null : text();
            if (kind.headerVersion() >= 1)
                out.string(clientId);
            if (kind.headerVersion() >= 2)
                out.varint(0);
        } else {
            out.int32(correlationId);
            if (kind.headerVersion() >= 1)
                out.varint(0);
        }
        struct(kind.schema(), 0, 0);
        return out.toByteArray();
    }

    /** Writes a struct; if it names a node, it is the node at `position` of this sample's cluster. */
    private void struct(Schema schema, int position, int depth) {
        boolean isEndpoint = isEndpoint(schema);
        int node = nodes.get(position % nodes.size());
        // A coordinator that can't be found has the node -1 at "" and -1.
        boolean none = isEndpoint && kind.api() == ApiMessageType.FIND_COORDINATOR && random.nextInt(3) == 0;
        for (BoundField bound : schema.fields()) {
            String name = bound.def.name;
            if (isEndpoint && (name.equals("node_id") || name.equals("broker_id")))
                out.int32(none ? -1 : node);
            else if (isEndpoint && name.equals("error_code") && kind.api() == ApiMessageType.FIND_COORDINATOR)
                out.int16(none ? 15 : 0);
            else if (name.equals("host") && has(schema, "port"))
                string(bound.def.type, none ? "" : host(node));
            else if (name.equals("port") && has(schema, "host"))
                port(bound.def.type, none ? -1 : ports(node));
            else
                value(name, bound.def.type, depth);
        }
    }

    private void value(String name, Type type, int depth) {
        if (type instanceof TaggedFields)
            tagged((TaggedFields) type, depth);
        else if (type.isArray())
            array(type, depth);
        else if (type instanceof Schema)
            nested(name, (Schema) type, depth);
        else
            primitive(name, type);
    }

    private void nested(String name, Schema schema, int depth) {
        // Kafka 3.9 doesn't say which structs are nullable; of the versions that only it has, this one is.
        boolean untold = kind.api().apiKey() == 76 && name.equals("assignment");
        if (schema.isNullable() || untold) {
            boolean isNull = random.nextInt(3) == 0;
            out.int8(isNull ? -1 : 1);
            if (isNull)
                return;
        }
        struct(schema, random.nextInt(nodes.size()), depth + 1);
    }

    private void array(Type type, int depth) {
        boolean isCompact = type instanceof CompactArrayOf;
        Type element = type.arrayElementType().get();
        int count = -1;
        if (!type.isNullable() || random.nextInt(4) > 0) {
            if (element instanceof Schema)
                count = isEndpoint((Schema) element) ? random.nextInt(nodes.size() + 1) : random.nextInt(depth < 4 ? 4 : 2);
            else
                count = random.nextInt(12) == 0 ? 130 : random.nextInt(5);
        }
        if (isCompact)
            out.varint(count + 1);
        else
            out.int32(count);
        for (int i = 0; i < count; i++) {
            if (element instanceof Schema && !element.isNullable())
                struct((Schema) element, i, depth + 1);
            else
                value("", element, depth + 1);
        }
    }

    private void tagged(TaggedFields type, int depth) {
        Map<Integer, byte[]> fields = new TreeMap<>();
        // A reader refuses a tag that is known in another version of the message only.
        int unknown = 10;
        for (Map.Entry<Integer, org.apache.kafka.common.protocol.types.Field> field : known(type).entrySet()) {
            if (random.nextBoolean())
                fields.put(field.getKey(), apart(() -> value(field.getValue().name, field.getValue().type, depth)));
        }
        if (random.nextInt(4) == 0) {
            for (int count = 1 + random.nextInt(3); count > 0; count--) {
                unknown += random.nextInt(4) == 0 ? random.nextInt(1_000_000) : random.nextInt(3);
                fields.put(unknown++, noise());
            }
        }
        out.varint(fields.size());
        fields.forEach((tag, data) -> {
            out.varint(tag);
            out.varint(data.length);
            out.writeBytes(data);
        });
    }

    /** What `write` writes, instead of into the message. */
    private byte[] apart(Runnable write) {
        byte[] before = out.toByteArray();
        out.reset();
        write.run();
        byte[] written = out.toByteArray();
        out.reset();
        out.writeBytes(before);
        return written;
    }

    private void primitive(String name, Type type) {
        switch (type.toString()) {
            case "BOOLEAN": out.int8(random.nextInt(2)); break;
            case "INT8": out.int8(random.nextInt(3)); break;
            case "INT16": out.int16(name.endsWith("error_code") ? ERRORS[random.nextInt(ERRORS.length)] : random.nextInt(3)); break;
            case "UINT16": out.int16(random.nextInt(65536)); break;
            case "INT32": out.int32(int32(name)); break;
            case "UINT32": out.int32(random.nextInt()); break;
            case "INT64": out.int64(int64()); break;
            case "FLOAT64": out.int64(Double.doubleToLongBits(random.nextInt(1000) / 8.0)); break;
            case "UUID": uuid(); break;
            case "STRING": case "NULLABLE_STRING": case "COMPACT_STRING": case "COMPACT_NULLABLE_STRING":
                string(type, isNull(type) ? null : text()); break;
            case "BYTES": case "NULLABLE_BYTES": bytes(false, isNull(type) ? null : noise()); break;
            case "COMPACT_BYTES": case "COMPACT_NULLABLE_BYTES": bytes(true, isNull(type) ? null : noise()); break;
            case "RECORDS": case "NULLABLE_RECORDS": bytes(false, isNull(type) ? null : records()); break;
            case "COMPACT_RECORDS": case "COMPACT_NULLABLE_RECORDS": bytes(true, isNull(type) ? null : records()); break;
            default: throw new IllegalArgumentException("no sample for the type " + type + " of " + name);
        }
    }

    private boolean isNull(Type type) {
        return type.isNullable() && random.nextInt(4) == 0;
    }

    private int int32(String name) {
        if (name.endsWith("leader_id") || name.equals("controller_id") || name.endsWith("read_replica"))
            return random.nextInt(4) == 0 ? -1 : nodes.get(random.nextInt(nodes.size()));
        int[] values = {-1, 0, 1, random.nextInt(1000), random.nextInt(), Integer.MIN_VALUE, Integer.MAX_VALUE};
        return values[random.nextInt(values.length)];
    }

    private long int64() {
        long[] values = {-1, 0, random.nextInt(1000), random.nextLong(), Long.MIN_VALUE, Long.MAX_VALUE};
        return values[random.nextInt(values.length)];
    }

    private void uuid() {
        boolean isZero = random.nextInt(4) == 0;
        out.int64(isZero ? 0 : random.nextLong());
        out.int64(isZero ? 0 : random.nextLong());
    }

    /** Lengths around the steps of a varint (127 means 128 in compact types), none, and more than one byte a character. */
    private String text() {
        if (isLarge(8))
            return "w".repeat(20_000);
        String[] texts = {"", "a", "orders", "größe ✓", "x".repeat(126), "y".repeat(127), "z".repeat(200)};
        return texts[random.nextInt(texts.length)];
    }

    private byte[] noise() {
        byte[] bytes = new byte[isLarge(8) ? 20_000 : random.nextInt(5) == 0 ? random.nextInt(400) : random.nextInt(8)];
        random.nextBytes(bytes);
        return bytes;
    }

    /** Once in so many times, in a large sample. */
    private boolean isLarge(int times) {
        return isLarge && random.nextInt(times) == 0;
    }

    private String host(int node) {
        String[] hosts = {
            "10.77.0." + node % 256,
            "fd00::77:" + node % 1000,
            "b" + node % 10,
            "kafka-" + node + ".kafka-headless.orders.svc.cluster.local",
            "a-very-long-label-of-a-broker".repeat(6) + "-" + node + ".example.com",
        };
        return hosts[random.nextInt(hosts.length)];
    }

    private int ports(int node) {
        int[] ports = {9092, 1, 65535, 19092 + node % 1000};
        return ports[random.nextInt(ports.length)];
    }

    private void port(Type type, int port) {
        if (type == Type.UINT16)
            out.int16(port);
        else
            out.int32(port);
    }

    private void string(Type type, String text) {
        if (type.toString().startsWith("COMPACT"))
            out.compactString(text);
        else
            out.string(text);
    }

    private void bytes(boolean isCompact, byte[] bytes) {
        int length = bytes == null ? -1 : bytes.length;
        if (isCompact)
            out.varint(length + 1);
        else
            out.int32(length);
        if (bytes != null)
            out.writeBytes(bytes);
    }

    /** Record batches, none up to three. */
    private byte[] records() {
        Wire batches = new Wire();
        for (int count = random.nextInt(4); count > 0; count--)
            batches.writeBytes(batch());
        return batches.toByteArray();
    }

    private byte[] batch() {
        int count = 1 + random.nextInt(4);
        Wire checked = new Wire();
        checked.int16(0);
        checked.int32(count - 1);
        checked.int64(1_700_000_000_000L);
        checked.int64(1_700_000_000_000L);
        checked.int64(-1);
        checked.int16(-1);
        checked.int32(-1);
        checked.int32(count);
        for (int i = 0; i < count; i++) {
            Wire record = new Wire();
            byte[] value = new byte[isLarge(8) ? 20_000 : random.nextInt(64)];
            random.nextBytes(value);
            record.int8(0);
            record.zigzag(0);
            record.zigzag(i);
            record.zigzag(-1);
            record.zigzag(value.length);
            record.writeBytes(value);
            record.zigzag(0);
            checked.zigzag(record.size());
            checked.writeBytes(record.toByteArray());
        }
        CRC32C crc = new CRC32C();
        crc.update(checked.toByteArray());
        Wire batch = new Wire();
        batch.int64(random.nextInt(1000));
        batch.int32(9 + checked.size());
        batch.int32(random.nextInt(10));
        batch.int8(2);
        batch.int32((int) crc.getValue());
        batch.writeBytes(checked.toByteArray());
        return batch.toByteArray();
    }

    private static boolean isEndpoint(Schema schema) {
        return has(schema, "host") && has(schema, "port") && (has(schema, "node_id") || has(schema, "broker_id"));
    }

    private static boolean has(Schema schema, String name) {
        return schema.get(name) != null;
    }

    /** By reflection: Kafka 3.9 has no accessor. */
    @SuppressWarnings("unchecked")
    private static Map<Integer, org.apache.kafka.common.protocol.types.Field> known(TaggedFields type) {
        try {
            Field fields = TaggedFields.class.getDeclaredField("fields");
            fields.setAccessible(true);
            return (Map<Integer, org.apache.kafka.common.protocol.types.Field>) fields.get(type);
        } catch (ReflectiveOperationException problem) {
            throw new IllegalStateException(problem);
        }
    }
}

/** Kafka's primitive types. */
class Wire extends ByteArrayOutputStream {
    void int8(int value) {
        write(value);
    }

    void int16(int value) {
        write(value >> 8);
        write(value);
    }

    void int32(int value) {
        int16(value >> 16);
        int16(value);
    }

    void int64(long value) {
        int32((int) (value >> 32));
        int32((int) value);
    }

    void varint(int value) {
        for (; (value & ~0x7f) != 0; value >>>= 7)
            write(value & 0x7f | 0x80);
        write(value);
    }

    void zigzag(int value) {
        varint(value << 1 ^ value >> 31);
    }

    void string(String text) {
        int16(text == null ? -1 : utf8(text).length);
        if (text != null)
            writeBytes(utf8(text));
    }

    void compactString(String text) {
        varint(text == null ? 0 : utf8(text).length + 1);
        if (text != null)
            writeBytes(utf8(text));
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
