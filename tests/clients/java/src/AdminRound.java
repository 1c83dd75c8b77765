import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** A round through the admin client on a topic and a group of its own; each answer is compared with what was asked for. */
final class AdminRound {
    private static final int RECORDS = 40;
    private static final String RETENTION = "retention.ms";
    /** A setting of a broker that may be changed at run time and does no harm. */
    private static final String BROKER_SETTING = "log.segment.delete.delay.ms";

    private final Options options;
    private final Admin admin;
    private final String topic;
    private final String group;
    private Set<Integer> brokers;

    private AdminRound(Options options, Admin admin) {
        this.options = options;
        this.admin = admin;
        // A run that was ended half-way must not stand in the next one's way.
        topic = options.get("topic", "narrows-admin-" + ProcessHandle.current().pid());
        group = topic + "-group";
    }

    static void run(Options options) throws Exception {
        try (Admin admin = Admin.create(options.admin())) {
            AdminRound round = new AdminRound(options, admin);
            round.cluster();
            round.quorum();
            round.createTopic();
            round.topicConfig();
            round.addPartitions();
            for (int broker : round.brokers) {
                round.brokerConfig(broker);
            }
            Records.produceAll(options, round.topic, "admin", RECORDS);
            for (int broker : round.brokers) {
                round.logDirs(broker);
            }
            round.groups();
            round.deleteRecords();
            round.deleteTopic();
            Json.emit("done", true);
        }
    }

    private void cluster() throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        Collection<Node> nodes = cluster.nodes().get();
        Failure.unless(!nodes.isEmpty(), "the cluster has no broker");
        Failure.unless(cluster.clusterId().get() != null, "the cluster has no id");
        brokers = new TreeSet<>();
        nodes.forEach(node -> brokers.add(node.id()));
        Failure.unless(brokers.contains(cluster.controller().get().id()), "the controller is not among the brokers " + brokers);
        Json.emit("step", "describeCluster", "cluster_id", cluster.clusterId().get(), "brokers", brokers,
                "addresses", nodes.stream().map(node -> node.host() + ":" + node.port()).toList());
    }

    private void quorum() throws Exception {
        QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
        Failure.unless(quorum.leaderId() >= 0 && !quorum.voters().isEmpty(), "the quorum has no leader or no voter: " + quorum);
        Json.emit("step", "describeMetadataQuorum", "leader", quorum.leaderId(), "voters", quorum.voters().size());
    }

    private void createTopic() throws Exception {
        NewTopic wish = new NewTopic(topic, Optional.of(2), Optional.empty()).configs(Map.of(RETENTION, "3600000"));
        Failure.unlessEqual(2, admin.createTopics(List.of(wish)).numPartitions(topic).get(), "the number of partitions answered");
        Topics.eventually(options, topic + " is listed", () -> admin.listTopics().names().get().contains(topic));
        expectPartitions(2);
        Json.emit("step", "createTopics", "topic", topic);
    }

    private void addPartitions() throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
        expectPartitions(6);
        Json.emit("step", "createPartitions", "partitions", 6);
    }

    private void expectPartitions(int count) throws Exception {
        Topics.eventually(options, topic + " has " + count + " partitions with leaders among the brokers", () -> {
            TopicDescription found = Topics.describe(admin, topic);
            return found != null && found.partitions().size() == count && found.partitions().stream().allMatch(partition ->
                    partition.leader() != null && brokers.contains(partition.leader().id())
                            && brokers.containsAll(partition.replicas().stream().map(Node::id).toList()));
        });
    }

    private void topicConfig() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Failure.unlessEqual("3600000", value(resource, RETENTION), RETENTION + " after the creation");
        change(resource, RETENTION, "7200000", AlterConfigOp.OpType.SET);
        Topics.eventually(options, RETENTION + " is changed", () -> value(resource, RETENTION).equals("7200000"));
        Json.emit("step", "incrementalAlterConfigs topic", RETENTION, "7200000");
    }

    /** Only the broker itself answers for a BROKER resource, so its own node.id shows who was asked. */
    private void brokerConfig(int broker) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(broker));
        Failure.unlessEqual(String.valueOf(broker), value(resource, "node.id"), "node.id in the configuration of broker " + broker);
        change(resource, BROKER_SETTING, String.valueOf(61_000 + broker), AlterConfigOp.OpType.SET);
        Topics.eventually(options, BROKER_SETTING + " is changed on broker " + broker,
                () -> value(resource, BROKER_SETTING).equals(String.valueOf(61_000 + broker)));
        change(resource, BROKER_SETTING, null, AlterConfigOp.OpType.DELETE);
        Topics.eventually(options, BROKER_SETTING + " is as before on broker " + broker,
                () -> !value(resource, BROKER_SETTING).equals(String.valueOf(61_000 + broker)));
        Json.emit("step", "describeConfigs and incrementalAlterConfigs broker", "broker", broker);
    }

    private void logDirs(int broker) throws Exception {
        Map<String, LogDirDescription> found = admin.describeLogDirs(List.of(broker)).descriptions().get(broker).get();
        Failure.unless(!found.isEmpty(), "broker " + broker + " has no log directory");
        long replicas = found.values().stream().flatMap(dir -> dir.replicaInfos().keySet().stream())
                .filter(partition -> partition.topic().equals(topic)).count();
        long expected = Topics.describe(admin, topic).partitions().stream()
                .filter(partition -> partition.replicas().stream().anyMatch(node -> node.id() == broker)).count();
        Failure.unlessEqual(expected, replicas, "the number of replicas of " + topic + " in the log directories of broker " + broker);
        Json.emit("step", "describeLogDirs", "broker", broker, "dirs", found.keySet(), "replicas", replicas);
    }

    private void groups() throws Exception {
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(options.consumer("group.id", group))) {
            consumer.subscribe(List.of(topic));
            int[] read = {0};
            Topics.eventually(options, RECORDS + " records are read", () ->
                    (read[0] += consumer.poll(Duration.ofMillis(200)).count()) >= RECORDS);
            consumer.commitSync();
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
            Failure.unlessEqual(1, described.members().size(), "the number of members");
            Failure.unless(brokers.contains(described.coordinator().id()), "the coordinator is not among the brokers");
        }
        Failure.unless(admin.listGroups().all().get().stream().anyMatch(listed -> listed.groupId().equals(group)), group + " is not listed");
        long committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values().stream()
                .mapToLong(offset -> offset.offset()).sum();
        Failure.unlessEqual((long) RECORDS, committed, "the sum of the committed offsets");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Failure.unless(admin.listGroups().all().get().stream().noneMatch(listed -> listed.groupId().equals(group)), group + " is still listed");
        Json.emit("step", "groups", "group", group);
    }

    private void deleteRecords() throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        long end = offset(partition, OffsetSpec.latest());
        Failure.unlessEqual(end, admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(end)))
                .lowWatermarks().get(partition).get().lowWatermark(), "the low watermark");
        Failure.unlessEqual(end, offset(partition, OffsetSpec.earliest()), "the earliest offset");
        Json.emit("step", "deleteRecords", "before", end);
    }

    private void deleteTopic() throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        Topics.eventually(options, topic + " is gone", () -> !admin.listTopics().names().get().contains(topic));
        Json.emit("step", "deleteTopics", "topic", topic);
    }

    private long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        ListOffsetsResultInfo found = admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        return found.offset();
    }

    private String value(ConfigResource resource, String name) throws Exception {
        List<Config> found = new ArrayList<>();
        Topics.eventually(options, "the broker asked knows " + resource, () -> {
            try {
                return found.add(admin.describeConfigs(List.of(resource)).all().get().get(resource));
            } catch (ExecutionException error) {
                if (error.getCause() instanceof UnknownTopicOrPartitionException) {
                    return false;
                }
                throw error;
            }
        });
        ConfigEntry entry = found.get(0).get(name);
        Failure.unless(entry != null, "the configuration of " + resource + " has no " + name);
        return entry.value();
    }

    private void change(ConfigResource resource, String name, String value, AlterConfigOp.OpType how) throws Exception {
        Collection<AlterConfigOp> operations = List.of(new AlterConfigOp(new ConfigEntry(name, value), how));
        admin.incrementalAlterConfigs(Map.of(resource, operations)).all().get();
    }
}
