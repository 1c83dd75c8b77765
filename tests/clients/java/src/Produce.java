import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.producer.KafkaProducer;

/** Sends the records of a tag, at a rate if one is given, until the count is reached or SIGTERM comes. */
final class Produce {
    static void run(Options options) throws Exception {
        Stop.onSignal();
        String topic = options.need("topic");
        String tag = options.need("tag");
        int count = options.countOrEndless();
        double rate = Double.parseDouble(options.get("rate", "0"));
        // A record that cannot be delivered has to be reported as failed before the deadline.
        long deliveryMilliseconds = Math.max(2000, options.remaining().toMillis());
        KafkaProducer<String, String> producer = new KafkaProducer<>(options.producer(
                "delivery.timeout.ms", String.valueOf(deliveryMilliseconds),
                "request.timeout.ms", String.valueOf(Math.min(30_000, deliveryMilliseconds - 100)),
                "max.block.ms", String.valueOf(deliveryMilliseconds)));
        AtomicInteger acked = new AtomicInteger();
        AtomicInteger failed = new AtomicInteger();
        long began = System.nanoTime();
        int sent = 0;
        for (; sent < count && !options.timeIsUp() && !Stop.asked(); sent++) {
            if (rate > 0 && Stop.within(began + (long) (sent / rate * 1e9) - System.nanoTime())) {
                break;
            }
            String key = tag + "-" + sent;
            producer.send(Records.record(topic, tag, sent), (metadata, error) -> {
                if (error == null) {
                    acked.incrementAndGet();
                    Json.emit("key", key, "partition", metadata.partition(), "offset", metadata.offset());
                } else {
                    failed.incrementAndGet();
                    Json.emit("key", key, "error", error.toString());
                }
            });
        }
        // close fails what is not delivered by then, which completes the reports.
        producer.close(options.remaining().plus(Duration.ofSeconds(2)));
        Json.emit("done", true, "count", acked.get(), "failed", failed.get());
        Failure.unlessEqual(sent, acked.get() + failed.get(), "the number of reported records");
        Failure.unless(failed.get() == 0, failed.get() + " records failed");
        Failure.unless(sent == count || Stop.asked(), "the time was up after " + sent + " records");
    }

    private Produce() {}
}
