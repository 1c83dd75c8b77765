import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics that a scenario needs, and waits for what a cluster does in its own time. */
final class Topics {
    /** Creates the topic with that many partitions if it is not there; answers with its description once it has leaders. */
    static TopicDescription ensure(Options options, Admin admin, String topic, int partitions) throws Exception {
        try {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()))).all().get();
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof TopicExistsException)) {
                throw error;
            }
        }
        eventually(options, topic + " has a leader for each partition", () -> {
            TopicDescription found = describe(admin, topic);
            return found != null && found.partitions().stream().allMatch(p -> p.leader() != null && !p.leader().isEmpty());
        });
        return describe(admin, topic);
    }

    /** The description, or null while the broker asked does not know the topic. */
    static TopicDescription describe(Admin admin, String topic) throws Exception {
        try {
            Map<String, TopicDescription> found = admin.describeTopics(List.of(topic)).allTopicNames().get();
            return found.get(topic);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) {
                return null;
            }
            throw error;
        }
    }

    /** Brokers learn of changes one after the other: asks again until the condition holds or the time is up. */
    static void eventually(Options options, String what, Callable<Boolean> condition) throws Exception {
        while (!condition.call()) {
            Failure.unless(!options.timeIsUp(), "in vain waited until " + what);
            Stop.within(100_000_000);
        }
    }

    private Topics() {}
}
