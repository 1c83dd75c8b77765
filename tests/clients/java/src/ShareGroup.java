import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;

/**
 * Two members of a share group (KIP-932), one that acknowledges explicitly and one implicitly, get every record at
 * least once; what the explicit one releases comes again.
 */
final class ShareGroup {
    /** Of the records that it gets for the first time, the explicit member releases one in so many. */
    private static final int RELEASE_ONE_IN = 10;

    private static final class Outcome {
        final Set<String> accepted = new TreeSet<>();
        final Set<String> released = new TreeSet<>();
        final Set<String> again = new TreeSet<>();
        int firstDeliveries;
        int explicit;
        int implicit;
    }

    static void run(Options options) throws Exception {
        String topic = options.need("topic");
        String group = options.need("group");
        int count = options.count();
        Outcome outcome = new Outcome();
        try (Admin admin = Admin.create(options.admin())) {
            Topics.ensure(options, admin, topic, 4);
            fromEarliest(admin, group);
            Records.produceAll(options, topic, group, count);
            Set<String> expected = Records.keys(group, count);
            try (KafkaShareConsumer<String, String> explicit = member(options, group, topic, "explicit");
                    KafkaShareConsumer<String, String> implicit = member(options, group, topic, "implicit")) {
                while (!outcome.accepted.containsAll(expected) || !outcome.again.containsAll(outcome.released)) {
                    Failure.unless(!options.timeIsUp(), "the time was up: " + Records.missing(expected, outcome.accepted)
                            + "; of the released records " + Records.missing(outcome.released, outcome.again));
                    for (ConsumerRecord<String, String> record : explicit.poll(Duration.ofMillis(100))) {
                        explicit.acknowledge(record, decide(record, outcome));
                        outcome.explicit++;
                    }
                    commit(explicit);
                    for (ConsumerRecord<String, String> record : implicit.poll(Duration.ofMillis(100))) {
                        accept(record, outcome);
                        outcome.implicit++;
                    }
                    commit(implicit);
                }
            }
            Json.emit("done", true, "count", count, "deliveries", outcome.explicit + outcome.implicit, "released", outcome.released.size(),
                    "explicit", outcome.explicit, "implicit", outcome.implicit);
        }
    }

    private static void fromEarliest(Admin admin, String group) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        Collection<AlterConfigOp> change = List.of(new AlterConfigOp(
                new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET));
        admin.incrementalAlterConfigs(Map.of(resource, change)).all().get();
    }

    private static KafkaShareConsumer<String, String> member(Options options, String group, String topic, String mode)
            throws Failure {
        java.util.Properties settings = options.consumer("group.id", group, "share.acknowledgement.mode", mode);
        // A share group has neither committed offsets nor a reset policy of the client's own.
        settings.remove("enable.auto.commit");
        settings.remove("auto.offset.reset");
        KafkaShareConsumer<String, String> consumer = new KafkaShareConsumer<>(settings);
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    private static AcknowledgeType decide(ConsumerRecord<String, String> record, Outcome outcome) throws Failure {
        boolean first = record.deliveryCount().orElse((short) 1) == 1;
        if (first && ++outcome.firstDeliveries % RELEASE_ONE_IN == 0) {
            outcome.released.add(record.key());
            return AcknowledgeType.RELEASE;
        }
        accept(record, outcome);
        return AcknowledgeType.ACCEPT;
    }

    private static void accept(ConsumerRecord<String, String> record, Outcome outcome) throws Failure {
        Records.check(record);
        outcome.accepted.add(record.key());
        if (record.deliveryCount().orElse((short) 1) > 1) {
            outcome.again.add(record.key());
        }
    }

    private static void commit(KafkaShareConsumer<String, String> consumer) throws Failure {
        for (var entry : consumer.commitSync().entrySet()) {
            Failure.unless(entry.getValue().isEmpty(), "acknowledgement for " + entry.getKey() + " failed: " + entry.getValue());
        }
    }

    private ShareGroup() {}
}
