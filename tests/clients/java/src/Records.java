import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** The records of a tag: record i has key {@code tag-i} and value {@code tag:i:xxx...}; every client makes the same ones. */
final class Records {
    static ProducerRecord<String, String> record(String topic, String tag, int i) {
        return new ProducerRecord<>(topic, tag + "-" + i, value(tag, i));
    }

    static Set<String> keys(String tag, int count) {
        return IntStream.range(0, count).mapToObj(i -> tag + "-" + i).collect(Collectors.toCollection(TreeSet::new));
    }

    static void emit(ConsumerRecord<String, String> record) {
        Json.emit("key", record.key(), "value", record.value(), "partition", record.partition(), "offset", record.offset());
    }

    /** Produces all records of a tag and waits for their acknowledgement. */
    static void produceAll(Options options, String topic, String tag, int count) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(options.producer())) {
            Map<Integer, Future<RecordMetadata>> sent = new HashMap<>();
            for (int i = 0; i < count; i++) {
                sent.put(i, producer.send(record(topic, tag, i)));
            }
            for (Future<RecordMetadata> future : sent.values()) {
                future.get(options.remaining().toMillis(), TimeUnit.MILLISECONDS);
            }
        }
    }

    /** That a consumed record is what was produced under its key. */
    static void check(ConsumerRecord<String, String> record) throws Failure {
        int dash = record.key().lastIndexOf('-');
        String expected = value(record.key().substring(0, dash), Integer.parseInt(record.key().substring(dash + 1)));
        Failure.unless(expected.equals(record.value()), "record " + record.key() + " came with another record's value");
    }

    /** A few of the expected keys that are not there, for a sentence. */
    static String missing(Set<String> expected, Collection<String> there) {
        Set<String> missing = new TreeSet<>(expected);
        missing.removeAll(there);
        return missing.size() + " missing, such as " + missing.stream().limit(5).collect(Collectors.toList());
    }

    private static String value(String tag, int i) {
        return tag + ":" + i + ":" + "x".repeat(i % 512);
    }

    private Records() {}
}
