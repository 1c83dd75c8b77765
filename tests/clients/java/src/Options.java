import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The arguments {@code BOOTSTRAP SCENARIO [key=value ...]}, and client settings made from them. */
final class Options {
    private static final String TIMEOUT_SECONDS_DEFAULT = "60";

    final String bootstrap;
    final String scenario;
    private final Map<String, String> values = new HashMap<>();
    private final long ends;

    Options(String[] arguments) throws Failure {
        Failure.unless(arguments.length >= 2, "usage: BOOTSTRAP SCENARIO [key=value ...]");
        bootstrap = arguments[0];
        scenario = arguments[1];
        for (int i = 2; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            Failure.unless(pair.length == 2, arguments[i] + " is no key=value");
            values.put(pair[0], pair[1]);
        }
        ends = System.nanoTime() + (long) (Double.parseDouble(get("timeout", TIMEOUT_SECONDS_DEFAULT)) * 1e9);
    }

    String get(String name, String otherwise) {
        return values.getOrDefault(name, otherwise);
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    String need(String name) throws Failure {
        Failure.unless(has(name), "scenario " + scenario + " needs " + name + "=");
        return values.get(name);
    }

    int count() throws Failure {
        return Integer.parseInt(need("count"));
    }

    /** Without a count, a scenario that can goes on until SIGTERM. */
    int countOrEndless() {
        return Integer.parseInt(get("count", String.valueOf(Integer.MAX_VALUE)));
    }

    Duration remaining() {
        return Duration.ofNanos(Math.max(0, ends - System.nanoTime()));
    }

    boolean timeIsUp() {
        return remaining().isZero();
    }

    /** Settings of a client; more are key, value, key, value ... */
    Properties client(Object... more) throws Failure {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", "narrows-test-java");
        String protocol = get("security", "PLAINTEXT");
        settings.put("security.protocol", protocol);
        if (protocol.endsWith("SSL")) {
            settings.put("ssl.truststore.type", "PEM");
            settings.put("ssl.truststore.location", need("cafile"));
            if (has("certfile")) {
                settings.put("ssl.keystore.type", "PEM");
                settings.put("ssl.keystore.certificate.chain", text(need("certfile")));
                settings.put("ssl.keystore.key", text(need("keyfile")));
            }
        }
        if (protocol.startsWith("SASL_")) {
            String mechanism = get("mechanism", "PLAIN");
            String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            settings.put("sasl.mechanism", mechanism);
            settings.put("sasl.jaas.config", "org.apache.kafka.common.security." + module + " required username=\""
                    + need("username") + "\" password=\"" + need("password") + "\";");
        }
        for (int i = 0; i < more.length; i += 2) {
            settings.put(more[i], more[i + 1]);
        }
        return settings;
    }

    private static String text(String file) throws Failure {
        try {
            return Files.readString(Path.of(file));
        } catch (IOException error) {
            throw new Failure(file + " can't be read: " + error);
        }
    }

    Properties admin() throws Failure {
        long milliseconds = Math.max(1000, remaining().toMillis());
        return client("default.api.timeout.ms", String.valueOf(milliseconds),
                "request.timeout.ms", String.valueOf(Math.min(30_000, milliseconds)));
    }

    Properties producer(Object... more) throws Failure {
        String acks = get("acks", "all");
        Properties settings = client(more);
        settings.put("key.serializer", StringSerializer.class);
        settings.put("value.serializer", StringSerializer.class);
        settings.put("acks", acks);
        settings.put("enable.idempotence", String.valueOf(acks.equals("all") || acks.equals("-1")));
        settings.put("linger.ms", "5");
        return settings;
    }

    Properties consumer(Object... more) throws Failure {
        Properties settings = client("enable.auto.commit", "false", "auto.offset.reset", "earliest");
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        for (int i = 0; i < more.length; i += 2) {
            settings.put(more[i], more[i + 1]);
        }
        return settings;
    }
}
