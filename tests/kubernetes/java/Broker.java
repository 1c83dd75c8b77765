import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import kafka.tools.StorageTool;

/**
 * One broker of a StatefulSet, out of an image without a shell. The pod's ordinal is the node id;
 * the first VOTERS pods are controllers as well. An empty folder /data is formatted first.
 *
 * <p>Environment: POD (such as kafka-0), SERVICE (its headless service, with the namespace),
 * VOTERS, ADVERTISED (host:port that clients are told; {pod} stands for the pod's own name).
 */
public class Broker {
    private static final String CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg";
    private static final Path DATA = Path.of("/data");
    private static final Path PROPERTIES = Path.of("/tmp/server.properties");

    public static void main(String[] arguments) throws Exception {
        Files.write(
                PROPERTIES,
                properties(System.getenv()).entrySet().stream()
                        .map(property -> property.getKey() + "=" + property.getValue())
                        .collect(Collectors.toList()));
        if (!isFormatted()) {
            format();
        }
        kafka.Kafka.main(new String[] {PROPERTIES.toString()});
    }

    private static Map<String, String> properties(Map<String, String> environment) {
        String pod = environment.get("POD");
        String service = environment.get("SERVICE");
        String stem = pod.substring(0, pod.lastIndexOf('-') + 1);
        int id = Integer.parseInt(pod.substring(stem.length()));
        int voters = Integer.parseInt(environment.get("VOTERS"));
        boolean isController = id < voters;
        Map<String, String> all = new TreeMap<>();
        all.put("process.roles", isController ? "broker,controller" : "broker");
        all.put("node.id", Integer.toString(id));
        all.put(
                "controller.quorum.voters",
                IntStream.range(0, voters)
                        .mapToObj(other -> other + "@" + stem + other + "." + service + ":9093")
                        .collect(Collectors.joining(",")));
        String vote = isController ? ",VOTE://:9093" : "";
        all.put("listeners", "CLIENTS://:9092,BROKERS://:9094" + vote);
        all.put(
                "advertised.listeners",
                "CLIENTS://" + environment.get("ADVERTISED").replace("{pod}", pod)
                        + ",BROKERS://" + pod + "." + service + ":9094");
        all.put(
                "listener.security.protocol.map",
                "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,VOTE:PLAINTEXT");
        all.put("inter.broker.listener.name", "BROKERS");
        all.put("controller.listener.names", "VOTE");
        all.put("log.dirs", DATA.resolve("log").toString());
        all.put("default.replication.factor", Integer.toString(voters));
        all.put("min.insync.replicas", Integer.toString(Math.max(1, voters - 1)));
        all.put("offsets.topic.replication.factor", Integer.toString(voters));
        all.put("offsets.topic.num.partitions", "5");
        all.put("group.initial.rebalance.delay.ms", "0");
        all.put("num.partitions", "6");
        // A broker that is back leads again within seconds, so that clients have to find it.
        all.put("leader.imbalance.check.interval.seconds", "5");
        all.put("leader.imbalance.per.broker.percentage", "0");
        return all;
    }

    private static boolean isFormatted() {
        return Files.exists(DATA.resolve("log/meta.properties"));
    }

    private static void format() throws IOException {
        String[] command = {"format", "-t", CLUSTER, "-c", PROPERTIES.toString()};
        if (StorageTool.execute(command, System.out) != 0) {
            throw new IOException("the storage could not be formatted");
        }
    }
}
