import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Whether SIGTERM asked to finish; only scenarios that call {@link #onSignal} finish in an orderly way. */
final class Stop {
    private static final CountDownLatch ASKED = new CountDownLatch(1);

    /** The JVM is going down once a hook runs, so the hook waits: the scenario's end halts it, at the latest `run` does. */
    static void onSignal() {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            ASKED.countDown();
            try {
                Thread.currentThread().join();
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    static boolean asked() {
        return ASKED.getCount() == 0;
    }

    /** Waits for that long, or until SIGTERM; true when SIGTERM came. */
    static boolean within(long nanoseconds) throws InterruptedException {
        return ASKED.await(Math.max(0, nanoseconds), TimeUnit.NANOSECONDS);
    }

    private Stop() {}
}
