import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;

/** Two members of a group of the new protocol (KIP-848): they share the partitions, and the one that stays takes all. */
final class ConsumerGroup {
    static void run(Options options) throws Exception {
        String topic = options.need("topic");
        String group = options.need("group");
        int count = options.count();
        Set<String> seen = new TreeSet<>();
        int[] deliveries = {0};
        try (Admin admin = Admin.create(options.admin())) {
            int partitions = Topics.ensure(options, admin, topic, 4).partitions().size();
            Failure.unless(partitions > 1, "two members need a topic of two partitions or more, " + topic + " has one");
            KafkaConsumer<String, String> first = member(options, group, topic);
            KafkaConsumer<String, String> second = member(options, group, topic);
            try {
                Records.produceAll(options, topic, group + "-one", count);
                poll(options, "one member has every partition", List.of(first), seen, deliveries,
                        () -> first.assignment().size() == partitions);
                poll(options, "two members share all partitions", List.of(first, second), seen, deliveries,
                        () -> disjoint(first, second, partitions));
                Json.emit("step", "two members", "first", sorted(first), "second", sorted(second));
                checkDescription(admin, group, 2);

                Records.produceAll(options, topic, group + "-two", count);
                Set<String> both = Records.keys(group + "-one", count);
                both.addAll(Records.keys(group + "-two", count));
                poll(options, "both members together have read every record", List.of(first, second), seen, deliveries,
                        () -> seen.containsAll(both));

                second.close();
                poll(options, "the member that stays has every partition", List.of(first), seen, deliveries,
                        () -> first.assignment().size() == partitions);
                Json.emit("step", "one member left", "first", sorted(first));
                Records.produceAll(options, topic, group + "-three", count);
                poll(options, "the member that stays has read every new record", List.of(first), seen, deliveries,
                        () -> seen.containsAll(Records.keys(group + "-three", count)));
            } finally {
                first.close();
                second.close();
            }
            Json.emit("done", true, "count", 3 * count, "deliveries", deliveries[0]);
        }
    }

    private static KafkaConsumer<String, String> member(Options options, String group, String topic) throws Failure {
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(options.consumer("group.id", group, "group.protocol", "consumer"));
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    private interface Goal {
        boolean reached();
    }

    private static void poll(Options options, String what, List<KafkaConsumer<String, String>> members, Set<String> seen,
            int[] deliveries, Goal goal) throws Failure {
        Set<KafkaConsumer<String, String>> uncommitted = new HashSet<>();
        while (!goal.reached() || !uncommitted.isEmpty()) {
            Failure.unless(!options.timeIsUp(), "in vain waited until " + what + " (" + seen.size() + " records were read)");
            for (KafkaConsumer<String, String> member : members) {
                for (ConsumerRecord<String, String> record : member.poll(Duration.ofMillis(50))) {
                    Records.check(record);
                    seen.add(record.key());
                    deliveries[0]++;
                    uncommitted.add(member);
                }
                if (uncommitted.contains(member) && commits(member)) {
                    uncommitted.remove(member);
                }
            }
        }
    }

    /** A commit that the group's next epoch overtakes is refused, and made again when the member has heard of the epoch. */
    private static boolean commits(KafkaConsumer<String, String> member) {
        try {
            member.commitSync();
            return true;
        } catch (CommitFailedException refused) {
            // A member that was fenced or thrown out gets the same exception; it has no excuse.
            if (!refused.getMessage().contains("stale member epoch")) {
                throw refused;
            }
            return false;
        }
    }

    private static boolean disjoint(KafkaConsumer<String, String> first, KafkaConsumer<String, String> second, int partitions) {
        Set<TopicPartition> together = new HashSet<>(first.assignment());
        together.addAll(second.assignment());
        return !first.assignment().isEmpty() && !second.assignment().isEmpty() && together.size() == partitions
                && first.assignment().size() + second.assignment().size() == partitions;
    }

    private static void checkDescription(Admin admin, String group, int members) throws Exception {
        ConsumerGroupDescription description = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        Failure.unlessEqual(GroupType.CONSUMER, description.type(), "the type of the group");
        Failure.unlessEqual(members, description.members().size(), "the number of members");
    }

    private static List<Integer> sorted(KafkaConsumer<String, String> member) {
        List<Integer> partitions = new ArrayList<>();
        member.assignment().forEach(partition -> partitions.add(partition.partition()));
        partitions.sort(null);
        return partitions;
    }

    private ConsumerGroup() {}
}
