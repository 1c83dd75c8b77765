import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartitionInfo;

/** What the cluster says about itself, through the admin client. */
final class Metadata {
    static void brokers(Options options) throws Exception {
        try (Admin admin = Admin.create(options.admin())) {
            List<Object> brokers = new ArrayList<>();
            for (Node node : admin.describeCluster().nodes().get()) {
                brokers.add(Json.object("id", node.id(), "host", node.host(), "port", node.port()));
            }
            Map<String, Object> line = Json.object("brokers", brokers);
            if (options.has("topic")) {
                String topic = options.need("topic");
                line.put("partitions", partitions(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()));
            }
            Json.emit(line.entrySet().stream().flatMap(e -> java.util.stream.Stream.of(e.getKey(), e.getValue())).toArray());
        }
    }

    static void topics(Options options) throws Exception {
        try (Admin admin = Admin.create(options.admin())) {
            Json.emit("topics", new TreeSet<>(admin.listTopics().names().get()));
        }
    }

    private static List<Object> partitions(List<TopicPartitionInfo> partitions) {
        List<Object> list = new ArrayList<>();
        for (TopicPartitionInfo partition : partitions) {
            list.add(Json.object("partition", partition.partition(),
                    "leader", partition.leader() == null ? -1 : partition.leader().id()));
        }
        return list;
    }

    private Metadata() {}
}
