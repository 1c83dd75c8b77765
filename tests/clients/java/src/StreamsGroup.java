import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.StreamsGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;

/**
 * Kafka Streams with a group of its own protocol (KIP-1071): two threads copy a topic by way of a repartition topic,
 * which the broker creates for them; each record is then in the copy.
 */
final class StreamsGroup {
    static void run(Options options) throws Exception {
        String topic = options.need("topic");
        String group = options.need("group");
        String copy = topic + "-copy";
        int count = options.count();
        try (Admin admin = Admin.create(options.admin())) {
            Topics.ensure(options, admin, topic, 4);
            Topics.ensure(options, admin, copy, 4);
            startAtOnce(admin, group);
            Records.produceAll(options, topic, group, count);
            StreamsBuilder builder = new StreamsBuilder();
            builder.<String, String>stream(topic).repartition().to(copy);
            try (KafkaStreams streams = new KafkaStreams(builder.build(), settings(options, group))) {
                streams.start();
                int read = read(options, copy, group, count);
                StreamsGroupDescription described = admin.describeStreamsGroups(List.of(group)).describedGroups().get(group).get();
                Failure.unlessEqual(2, described.members().size(), "the number of members");
                streams.close(Duration.ofSeconds(5));
                Json.emit("done", true, "count", read);
            }
        }
    }

    /** The broker waits for more members of a new group, three seconds by default. */
    private static void startAtOnce(Admin admin, String group) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(
                new ConfigEntry("streams.initial.rebalance.delay.ms", "0"), AlterConfigOp.OpType.SET)))).all().get();
    }

    private static Properties settings(Options options, String group) throws Failure {
        return options.client("application.id", group, "group.protocol", "streams",
                "num.stream.threads", "2", "commit.interval.ms", "200", "auto.offset.reset", "earliest",
                "state.dir", System.getProperty("java.io.tmpdir") + "/narrows-streams-" + ProcessHandle.current().pid(),
                "default.key.serde", Serdes.StringSerde.class, "default.value.serde", Serdes.StringSerde.class);
    }

    private static int read(Options options, String copy, String group, int count) throws Exception {
        Set<String> missing = new HashSet<>(Records.keys(group, count));
        int read = 0;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(options.consumer("group.id", group + "-reader"))) {
            consumer.subscribe(List.of(copy));
            while (!missing.isEmpty()) {
                Failure.unless(!options.timeIsUp(), "the time was up: of " + count + " records " + missing.size() + " are not in the copy");
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    Records.check(record);
                    missing.remove(record.key());
                    read++;
                }
            }
        }
        Failure.unlessEqual(count, read, "the number of records in the copy");
        return read;
    }

    private StreamsGroup() {}
}
