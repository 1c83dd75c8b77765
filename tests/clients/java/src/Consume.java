import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** Reads from the start with a classic group until the count is reached or SIGTERM comes; then commits and leaves. */
final class Consume implements ConsumerRebalanceListener {
    private static final long COMMIT_EVERY_NANOSECONDS = 1_000_000_000;

    private final Options options;
    private final KafkaConsumer<String, String> consumer;
    /** What was printed and is not committed yet; a poll may bring more than is still wanted. */
    private final Map<TopicPartition, OffsetAndMetadata> printed = new HashMap<>();

    private Consume(Options options) throws Failure {
        this.options = options;
        String protocol = options.get("protocol", "classic");
        Properties settings = options.consumer("group.id", options.need("group"), "group.protocol", protocol,
                "client.rack", options.get("rack", ""), "isolation.level", options.get("isolation", "read_uncommitted"));
        if (protocol.equals("classic")) {
            // With the new protocol it is the broker's to set.
            settings.put("session.timeout.ms", "10000");
        }
        if (options.has("static")) {
            settings.put("group.instance.id", options.need("static"));
        }
        consumer = new KafkaConsumer<>(settings);
    }

    static void run(Options options) throws Exception {
        Stop.onSignal();
        Consume consume = new Consume(options);
        consume.consumer.subscribe(List.of(options.need("topic")), consume);
        Json.emit("done", true, "count", consume.read(options.countOrEndless()));
    }

    private int read(int count) throws Failure {
        int read = 0;
        long committed = System.nanoTime();
        while (read < count && !Stop.asked()) {
            Failure.unless(!options.timeIsUp(), read + " of " + options.get("count", "endless")
                    + " records were read when the time was up");
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                if (read == count) {
                    break;
                }
                Records.emit(record);
                printed.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                read++;
            }
            // In a long run a rejoin would otherwise start all over.
            if (System.nanoTime() - committed > COMMIT_EVERY_NANOSECONDS) {
                commitMeanwhile();
                committed = System.nanoTime();
            }
        }
        if (options.has("rack")) {
            Json.emit("read_from", preferredReplica());
        }
        consumer.commitSync(printed, options.remaining().plusSeconds(1));
        consumer.close(CloseOptions.timeout(Duration.ofSeconds(5)));
        return read;
    }

    /** The broker that the consumer fetches its one partition from, where that is not the leader; else -1. */
    private int preferredReplica() {
        return consumer.metrics().values().stream()
                .filter(metric -> metric.metricName().name().equals("preferred-read-replica"))
                .mapToInt(metric -> ((Number) metric.metricValue()).intValue())
                .max().orElse(-1);
    }

    /** A commit that a rebalance or a lost coordinator prevents only means duplicates; the last one must succeed. */
    private void commitMeanwhile() {
        try {
            consumer.commitSync(printed, Duration.ofSeconds(1));
            printed.clear();
        } catch (KafkaException error) {
            System.err.println("commit: " + error.getMessage());
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commitMeanwhile();
        printed.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        printed.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        System.err.println("assigned: " + partitions);
    }
}
