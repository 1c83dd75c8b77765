import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A client whose every event is written down: Load BOOTSTRAP TOPIC RECORDS-PER-SECOND [KEY=VALUE…].
 * It produces and consumes until its standard input ends, then reads the topic from its beginning.
 *
 * <p>One event a line on standard output: `acked N PARTITION OFFSET MS` and `failed N ERROR` for
 * what was sent, `read N PARTITION OFFSET` for what the consumer group got meanwhile, `stored N
 * PARTITION OFFSET` for what is there at the end, `ready` once the first record was acknowledged and read,
 * `end` when all is over.
 *
 * <p>`Load wait` does nothing until it is killed: for a pod in which others are started.
 */
public class Load {
    private static final Duration POLL = Duration.ofMillis(200);
    private static final Duration LAST_READ = Duration.ofSeconds(120);
    private static final int PARTITIONS = 6;
    private static final int KEYS = 12;

    private final String topic;
    private final int rate;
    private final Properties common = new Properties();
    private final AtomicBoolean isOver = new AtomicBoolean();
    /** When the group has had time enough to read the rest; 0 while there is still sent. */
    private volatile long lastRead;
    /** What was acknowledged, and what the group has read, by number. */
    private final Set<Long> acked = ConcurrentHashMap.newKeySet();
    private final Set<Long> read = ConcurrentHashMap.newKeySet();

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("wait")) {
            Thread.sleep(Long.MAX_VALUE);
        }
        Load load = new Load(arguments);
        load.createTopic();
        load.run();
        System.exit(0);
    }

    private Load(String[] arguments) {
        topic = arguments[1];
        rate = Integer.parseInt(arguments[2]);
        common.put("bootstrap.servers", arguments[0]);
        for (String property : List.of(arguments).subList(3, arguments.length)) {
            String[] sides = property.split("=", 2);
            common.put(sides[0], sides[1]);
        }
    }

    private void run() throws Exception {
        Thread sender = new Thread(this::produce, "produce");
        Thread reader = new Thread(this::consume, "consume");
        sender.start();
        reader.start();
        while (System.in.read() >= 0) {
            // Only the end counts.
        }
        isOver.set(true);
        sender.join();
        lastRead = System.nanoTime() + LAST_READ.toNanos();
        reader.join();
        readAll();
        say("end");
    }

    private void createTopic() throws Exception {
        try (Admin admin = Admin.create(common)) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) -1))).all().get();
        } catch (ExecutionException error) {
            if (!(error.getCause() instanceof TopicExistsException)) {
                throw error;
            }
        }
    }

    private void produce() {
        Properties settings = with(Map.of(
                "acks", "all",
                "delivery.timeout.ms", "240000",
                "request.timeout.ms", "10000",
                "key.serializer", StringSerializer.class.getName(),
                "value.serializer", StringSerializer.class.getName()));
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            for (long number = 0; !isOver.get(); number++) {
                send(producer, number);
                Thread.sleep(1000 / rate);
            }
        } catch (Exception error) {
            say("broken produce " + error);
        }
    }

    private void send(KafkaProducer<String, String> producer, long number) {
        long sent = System.nanoTime();
        String key = Long.toString(number % KEYS);
        ProducerRecord<String, String> record =
                new ProducerRecord<>(topic, key, Long.toString(number));
        producer.send(record, (place, error) -> {
            if (error != null) {
                say("failed " + number + " " + error.getClass().getSimpleName());
                return;
            }
            long took = (System.nanoTime() - sent) / 1_000_000;
            acked.add(number);
            say("acked " + number + " " + place.partition() + " " + place.offset() + " " + took);
        });
    }

    /** Reads as a member of a group, until it has read all that was acknowledged. */
    private void consume() {
        boolean isReady = false;
        Properties settings = reading(Map.of("group.id", topic + "-group"));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe(List.of(topic));
            while (lastRead == 0 || isBehind()) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    say("read " + place(record));
                    read.add(Long.parseLong(record.value()));
                    if (!isReady && !acked.isEmpty()) {
                        isReady = true;
                        say("ready");
                    }
                }
            }
        } catch (Exception error) {
            say("broken consume " + error);
        }
    }

    private boolean isBehind() {
        return System.nanoTime() < lastRead && !read.containsAll(acked);
    }

    /** What is in the topic, from beginning to end. */
    private void readAll() {
        long deadline = System.nanoTime() + LAST_READ.toNanos();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(reading(Map.of()))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(part -> new TopicPartition(topic, part.partition()))
                    .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(partitions));
            List<TopicPartition> left = new ArrayList<>(partitions);
            while (!left.isEmpty() && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    say("stored " + place(record));
                }
                left.removeIf(part -> consumer.position(part) >= ends.get(part));
            }
            if (!left.isEmpty()) {
                say("broken read-all NotReadToItsEnd: " + left);
            }
        } catch (Exception error) {
            say("broken read-all " + error);
        }
    }

    private Properties reading(Map<String, String> more) {
        Properties settings = with(more);
        settings.put("auto.offset.reset", "earliest");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", StringDeserializer.class.getName());
        return settings;
    }

    private Properties with(Map<String, String> more) {
        Properties all = new Properties();
        all.putAll(common);
        all.putAll(more);
        return all;
    }

    private static String place(ConsumerRecord<String, String> record) {
        return record.value() + " " + record.partition() + " " + record.offset();
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
