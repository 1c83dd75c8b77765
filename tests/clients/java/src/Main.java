import java.util.Map;
import java.util.TreeMap;

/** A thin driver for kafka-clients: {@code Main BOOTSTRAP SCENARIO [key=value ...]}, see the README above. */
final class Main {
    private interface Scenario {
        void run(Options options) throws Exception;
    }

    private static final Map<String, Scenario> SCENARIOS = new TreeMap<>(Map.of(
            "metadata", Metadata::brokers,
            "list", Metadata::topics,
            "produce", Produce::run,
            "consume", Consume::run,
            "transaction", Transactions::run,
            "kip848", ConsumerGroup::run,
            "share", ShareGroup::run,
            "streams", StreamsGroup::run,
            "admin", AdminRound::run,
            "warm-up", WarmUp::run));

    public static void main(String[] arguments) {
        int code = 0;
        try {
            Options options = new Options(arguments);
            Scenario scenario = SCENARIOS.get(options.scenario);
            if (scenario == null) {
                throw new Failure("this client has no scenario " + options.scenario + "; it has " + SCENARIOS.keySet());
            }
            scenario.run(options);
        } catch (Failure failure) {
            System.err.println("error: " + failure.getMessage());
            code = 1;
        } catch (Exception error) {
            error.printStackTrace();
            System.err.println("error: " + sentence(error));
            code = 1;
        }
        System.out.flush();
        // halt, because a scenario that failed may leave client threads that an orderly exit would wait for.
        Runtime.getRuntime().halt(code);
    }

    private static String sentence(Throwable error) {
        if (error instanceof java.util.concurrent.ExecutionException && error.getCause() != null) {
            return sentence(error.getCause());
        }
        return error.getCause() == null ? error.toString() : error + ": " + sentence(error.getCause());
    }

    private Main() {}
}
