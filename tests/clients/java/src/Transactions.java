import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FinalizedVersionRange;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;

/**
 * Commits every other transaction of ten records and aborts the rest; a read_committed consumer must see exactly the
 * committed records; its offsets are then committed in a transaction too (KIP-98, KIP-447, KIP-890).
 */
final class Transactions {
    private static final int RECORDS_EACH = 10;

    static void run(Options options) throws Exception {
        String topic = options.need("topic");
        String tag = options.need("tag");
        int count = options.count();
        String id = tag + "-transactional-id";
        Set<String> committed = new TreeSet<>();
        try (Admin admin = Admin.create(options.admin());
                KafkaProducer<String, String> producer = new KafkaProducer<>(options.producer("transactional.id", id))) {
            Topics.ensure(options, admin, topic, 4);
            producer.initTransactions();
            int transactions = 0;
            List<Integer> epochs = new ArrayList<>();
            for (int start = 0; start < count; start += RECORDS_EACH, transactions++) {
                boolean commit = transactions % 2 == 0;
                producer.beginTransaction();
                for (int i = start; i < Math.min(count, start + RECORDS_EACH); i++) {
                    String key = producer.send(Records.record(topic, tag, i)) == null ? null : tag + "-" + i;
                    if (commit) {
                        committed.add(key);
                    }
                }
                // Aborted records have to reach the log, otherwise read_committed would have nothing to hide.
                producer.flush();
                if (commit) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                if (transactions < 3) {
                    epochs.add(epoch(admin, id));
                }
            }
            boolean version2 = checkVersion(admin, epochs);
            int read = readCommitted(options, topic, tag, committed, producer);
            Json.emit("done", true, "count", count, "transactions", transactions, "committed", committed.size(),
                    "read", read, "transaction_v2", version2, "epochs", epochs);
        }
    }

    private static int epoch(Admin admin, String id) throws Exception {
        return admin.describeTransactions(List.of(id)).description(id).get().producerEpoch();
    }

    /** Only transactions V2 raise the producer epoch with each one: the epochs show what was used, not what was on offer. */
    private static boolean checkVersion(Admin admin, List<Integer> epochs) throws Exception {
        FinalizedVersionRange feature = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version");
        boolean offered = feature != null && feature.maxVersionLevel() >= 2;
        boolean used = epochs.size() > 1 && epochs.get(1) > epochs.get(0);
        if (epochs.size() > 1) {
            Failure.unlessEqual(offered, used, "the use of transactions V2 (offered by the cluster: " + offered + ")");
        }
        return used;
    }

    private static int readCommitted(Options options, String topic, String tag, Set<String> committed,
            KafkaProducer<String, String> producer) throws Exception {
        List<String> read = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(options.consumer(
                "group.id", tag + "-transaction-group", "isolation.level", "read_committed"))) {
            consumer.subscribe(List.of(topic));
            while (!atEnd(consumer)) {
                Failure.unless(!options.timeIsUp(), "the time was up: " + Records.missing(committed, read));
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.key().startsWith(tag + "-")) {
                        Records.check(record);
                        read.add(record.key());
                    }
                }
            }
            Set<String> extra = new TreeSet<>(read);
            extra.removeAll(committed);
            Failure.unless(extra.isEmpty(), "records of aborted transactions were read: " + extra);
            Failure.unless(read.containsAll(committed), "after all was read: " + Records.missing(committed, read));
            Failure.unlessEqual(committed.size(), read.size(), "the number of records read once");
            commitOffsets(consumer, producer);
        }
        return read.size();
    }

    private static boolean atEnd(KafkaConsumer<String, String> consumer) {
        Set<TopicPartition> mine = consumer.assignment();
        Map<TopicPartition, Long> ends = consumer.endOffsets(mine);
        return !mine.isEmpty() && mine.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }

    private static void commitOffsets(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer)
            throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition partition : consumer.assignment()) {
            offsets.put(partition, new OffsetAndMetadata(consumer.position(partition)));
        }
        producer.beginTransaction();
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        producer.commitTransaction();
        Map<TopicPartition, OffsetAndMetadata> stored = consumer.committed(offsets.keySet());
        for (TopicPartition partition : offsets.keySet()) {
            Failure.unless(stored.get(partition) != null, "no offset was committed for " + partition);
            Failure.unlessEqual(offsets.get(partition).offset(), stored.get(partition).offset(), "the offset committed for " + partition);
        }
    }

    private Transactions() {}
}
