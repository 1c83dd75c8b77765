import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * The harness's hand on the brokers, past Narrows: one JVM that reads commands on its standard input, one a line, and
 * answers each with one line, `ok ANSWER` or `error WHY`. A command-line tool of Kafka's costs a JVM start each time.
 */
public class AdminConsole {
    private static final long PATIENCE_MS = 90_000;
    private static final long POLL_MS = 50;
    private static final int SOCKET_TIMEOUT_MS = 5_000;

    private final String bootstrapServers;
    private final Admin admin;

    public static void main(String[] args) throws Exception {
        AdminConsole console = new AdminConsole(args[0]);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String answer;
            try {
                answer = "ok " + console.obey(line.split(" "));
            } catch (Exception e) {
                Throwable cause = e.getCause() == null ? e : e.getCause();
                answer = "error " + line + ": " + cause.toString().replace('\n', ' ');
            }
            System.out.println(answer);
            System.out.flush();
        }
        System.exit(0);
    }

    private AdminConsole(String bootstrapServers) {
        this.bootstrapServers = bootstrapServers;
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrapServers);
        properties.put("reconnect.backoff.max.ms", "200");
        properties.put("request.timeout.ms", "5000");
        properties.put("default.api.timeout.ms", "20000");
        this.admin = Admin.create(properties);
    }

    /** Where each partition was put, of those that were moved. */
    private final Map<TopicPartition, List<Integer>> assigned = new HashMap<>();

    private String obey(String[] words) throws Exception {
        return switch (words[0]) {
            case "create" -> create(words[1], Integer.parseInt(words[2]), Short.parseShort(words[3]));
            case "place" -> place(words[1], ids(words[2]));
            case "leader" -> String.valueOf(leader(words[1], Integer.parseInt(words[2])));
            case "move" -> move(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "replicas" -> replicas(words[1], Integer.parseInt(words[2]), ids(words[3]));
            case "whole" -> whole(Integer.parseInt(words[1]));
            case "gone" -> gone(Integer.parseInt(words[1]));
            case "unregister" -> unregister(Integer.parseInt(words[1]));
            case "controller" -> String.valueOf(admin.describeMetadataQuorum().quorumInfo().get().leaderId());
            case "finish-upgrade" -> finishUpgrade();
            case "read" -> read(words[1], words[2]);
            default -> throw new IllegalArgumentException("no such command");
        };
    }

    private String create(String topic, int partitions, short replicas) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, replicas))).all().get();
        return settled(topic, partitions);
    }

    /** Creates a topic of one partition with these replicas, the first of them its leader. */
    private String place(String topic, List<Integer> replicas) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, Map.of(0, replicas)))).all().get();
        return settled(topic, 1);
    }

    /** Creation is answered before every broker knows; tests want a topic that stands. */
    private String settled(String topic, int partitions) throws Exception {
        await("topic " + topic + " to have its leaders", () -> {
            TopicDescription found = describe(topic);
            return found.partitions().size() == partitions
                && found.partitions().stream().allMatch(p -> p.leader() != null && p.leader().id() >= 0)
                && isWithAllReplicas(found);
        });
        return "";
    }

    /** Whether every broker that has a replica of the topic has heard of it: its log is there once its metadata is. */
    private boolean isWithAllReplicas(TopicDescription topic) throws Exception {
        Set<Integer> brokers = new TreeSet<>();
        topic.partitions().forEach(partition -> partition.replicas().forEach(replica -> brokers.add(replica.id())));
        Map<Integer, Map<String, LogDirDescription>> dirs = admin.describeLogDirs(brokers).allDescriptions().get();
        return topic.partitions().stream().allMatch(partition -> partition.replicas().stream().allMatch(replica ->
            dirs.get(replica.id()).values().stream().anyMatch(dir ->
                dir.replicaInfos().containsKey(new TopicPartition(topic.name(), partition.partition())))));
    }

    private int leader(String topic, int partition) throws Exception {
        Node leader = describe(topic).partitions().get(partition).leader();
        return leader == null ? -1 : leader.id();
    }

    /** Makes a replica the preferred leader, elects it and waits until it leads. */
    private String move(String topic, int partition, int to) throws Exception {
        List<Integer> order = new ArrayList<>(replicasOf(topic, partition));
        order.remove(Integer.valueOf(to));
        order.add(0, to);
        reassign(topic, partition, order);
        await(to + " to lead " + topic + "-" + partition, () -> {
            elect(new TopicPartition(topic, partition));
            return leader(topic, partition) == to;
        });
        return "";
    }

    private String replicas(String topic, int partition, List<Integer> replicas) throws Exception {
        reassign(topic, partition, replicas);
        await(topic + "-" + partition + " to be on " + replicas, () -> {
            List<Integer> inSync = new ArrayList<>();
            describe(topic).partitions().get(partition).isr().forEach(node -> inSync.add(node.id()));
            return new TreeSet<>(inSync).equals(new TreeSet<>(replicas));
        });
        return "";
    }

    /** Where the console itself put a partition last; a broker that lags behind may still describe it where it was before. */
    private List<Integer> replicasOf(String topic, int partition) throws Exception {
        List<Integer> known = assigned.get(new TopicPartition(topic, partition));
        return known != null ? known
            : describe(topic).partitions().get(partition).replicas().stream().map(Node::id).toList();
    }

    private void reassign(String topic, int partition, List<Integer> replicas) throws Exception {
        TopicPartition target = new TopicPartition(topic, partition);
        admin.alterPartitionReassignments(Map.of(target, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        assigned.put(target, replicas);
        await("the reassignment of " + target, () -> admin.listPartitionReassignments(Set.of(target))
            .reassignments().get().isEmpty());
    }

    /** An election that is refused passes as well: a replica that has just returned may not be in sync; the caller asks again. */
    private void elect(TopicPartition target) throws Exception {
        admin.electLeaders(ElectionType.PREFERRED, Set.of(target)).partitions().get();
    }

    /** Waits until this many brokers stand and every partition of every topic has all its replicas in sync. */
    private String whole(int brokers) throws Exception {
        await(brokers + " brokers with every replica in sync", () -> {
            Collection<Node> nodes = admin.describeCluster().nodes().get();
            if (nodes.size() != brokers || !allInSync()) {
                return false;
            }
            for (Node node : nodes) {
                if (known(node) != brokers) {
                    return false;
                }
            }
            return true;
        });
        return "";
    }

    /** How many brokers this one has heard of. An admin client asks whomever it likes; this is asked by hand, Metadata v1. */
    private static int known(Node node) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(node.host(), node.port()), SOCKET_TIMEOUT_MS);
            socket.setSoTimeout(SOCKET_TIMEOUT_MS);
            short metadata = 3;
            short version = 1;
            short noClientId = -1;
            int noTopics = 0;
            ByteBuffer request = ByteBuffer.allocate(18).putInt(14).putShort(metadata).putShort(version)
                .putInt(0).putShort(noClientId).putInt(noTopics);
            socket.getOutputStream().write(request.array());
            DataInputStream response = new DataInputStream(socket.getInputStream());
            int sizeAndCorrelationId = 2 * Integer.BYTES;
            response.skipNBytes(sizeAndCorrelationId);
            return response.readInt();
        }
    }

    private boolean allInSync() throws Exception {
        Set<String> topics = admin.listTopics(new ListTopicsOptions().listInternal(true))
            .names().get();
        return admin.describeTopics(topics).allTopicNames().get().values().stream()
            .flatMap(topic -> topic.partitions().stream())
            .allMatch(p -> p.isr().size() == p.replicas().size() && p.leader() != null);
    }

    private String gone(int id) throws Exception {
        await("broker " + id + " to be gone",
            () -> admin.describeCluster().nodes().get().stream().noneMatch(node -> node.id() == id));
        return "";
    }

    private String unregister(int id) throws Exception {
        admin.unregisterBroker(id).all().get();
        return "";
    }

    /** Finalizes the newest metadata version that the nodes support: from here on there is no way back. */
    private String finishUpgrade() throws Exception {
        String feature = "metadata.version";
        short newest = admin.describeFeatures().featureMetadata().get().supportedFeatures().get(feature).maxVersion();
        FeatureUpdate update = new FeatureUpdate(newest, FeatureUpdate.UpgradeType.UPGRADE);
        admin.updateFeatures(Map.of(feature, update), new UpdateFeaturesOptions()).all().get();
        return String.valueOf(newest);
    }

    /** Everything that the brokers hold of a topic, as one JSON array. */
    private String read(String topic, String isolation) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrapServers);
        properties.put("isolation.level", isolation);
        properties.put("auto.offset.reset", "earliest");
        StringBuilder json = new StringBuilder("[");
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PATIENCE_MS);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("could not read " + topic + " to its end");
                }
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    json.append(json.length() > 1 ? "," : "").append(json(record));
                }
            }
        }
        return json.append("]").toString();
    }

    private static String json(ConsumerRecord<String, String> record) {
        return "{\"key\":" + quote(record.key()) + ",\"value\":" + quote(record.value())
            + ",\"partition\":" + record.partition() + ",\"offset\":" + record.offset() + "}";
    }

    private static String quote(String text) {
        return text == null ? "null" : "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }

    private TopicDescription describe(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private static List<Integer> ids(String list) {
        return Arrays.stream(list.split(",")).map(Integer::valueOf).toList();
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    /** Asks until it holds; what goes wrong on the way (a broker is down, a topic not known yet) counts as "not yet". */
    private static void await(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PATIENCE_MS);
        Exception last = null;
        while (System.nanoTime() < deadline) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (ExecutionException | IOException e) {
                last = e;
            }
            Thread.sleep(POLL_MS);
        }
        throw new IllegalStateException("waited " + PATIENCE_MS + " ms in vain for " + what
            + (last == null ? "" : "; last: " + (last.getCause() == null ? last : last.getCause())));
    }
}
