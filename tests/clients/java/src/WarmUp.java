import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;

/** Loads the classes of every kind of client without a broker: `install` makes the class archive from this run. */
final class WarmUp {
    static void run(Options options) throws Exception {
        try (Admin admin = Admin.create(options.client());
                KafkaProducer<String, String> producer = new KafkaProducer<>(options.producer());
                KafkaConsumer<String, String> classic = new KafkaConsumer<>(options.consumer("group.id", "warm-up"))) {
            Stop.within(300_000_000);
        }
        Json.emit("done", true);
        // Leaves by an orderly exit, at which the JVM writes the archive.
        System.exit(0);
    }

    private WarmUp() {}
}
