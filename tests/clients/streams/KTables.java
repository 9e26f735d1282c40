import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/** Applications of Kafka Streams: tables, joins, windows and sums. Keys and values are text. See ../PROTOCOL.md. */
public final class KTables {
    private static final Map<String, Application> APPLICATIONS = new ConcurrentHashMap<>();
    private static final Duration LIMIT = Duration.ofSeconds(60);
    /** Of an order and its payment. */
    private static final Duration WINDOW = Duration.ofMinutes(5);
    private static final Duration GRACE = Duration.ofDays(1);

    /** One that runs, and how many records each of its stores was restored from. */
    private record Application(KafkaStreams streams, Map<String, Long> restored) {}

    private KTables() {}

    public static void main(String[] arguments) throws Exception {
        Agent.serve(KTables::run);
    }

    private static JsonNode run(JsonNode command) throws Exception {
        String name = command.get("application").asText();
        return switch (command.get("op").asText()) {
            case "start" -> start(name, command);
            case "stores" -> stores(APPLICATIONS.get(name).streams());
            case "stop" -> stop(APPLICATIONS.remove(name).streams());
            default -> throw new IllegalArgumentException("no operation " + command.get("op"));
        };
    }

    /** application, bootstrap, folder; topics are named after the application; gives {store: records restored} */
    private static JsonNode start(String name, JsonNode command) throws Exception {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, command.get("bootstrap").asText());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, command.get("folder").asText());
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // Every change is an output of its own, so that their number is known.
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // What was stored is looked at in the end.
        properties.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, Duration.ofHours(1).toMillis());
        KafkaStreams streams = new KafkaStreams(topology(name), properties);
        Map<String, Long> restored = new ConcurrentHashMap<>();
        streams.setGlobalStateRestoreListener(new Restored(restored));
        APPLICATIONS.put(name, new Application(streams, restored));
        streams.start();
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (streams.state() != KafkaStreams.State.RUNNING) {
            if (streams.state().hasCompletedShutdown() || System.nanoTime() > deadline) {
                throw new IllegalStateException(name + " is " + streams.state());
            }
            TimeUnit.MILLISECONDS.sleep(20);
        }
        return Agent.JSON.valueToTree(restored);
    }

    private static Topology topology(String name) {
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, String> customers = builder.table(name + "-customers", Materialized.as("customers"));
        KStream<String, String> orders = builder.stream(name + "-orders");
        KStream<String, String> payments = builder.stream(name + "-payments");

        KStream<String, String> joined = orders.join(customers, (order, customer) -> customer + " " + order);
        joined.to(name + "-joined");

        JoinWindows window = JoinWindows.ofTimeDifferenceAndGrace(WINDOW, GRACE);
        orders.join(payments, (order, payment) -> order + " " + payment, window,
                        StreamJoined.<String, String, String>as("pairs").withStoreName("pairs"))
                .to(name + "-paid");

        // The first word of a customer is a region, the last of an order an amount.
        joined.selectKey((customer, order) -> order.substring(0, order.indexOf(' ')))
                .groupByKey(Grouped.as("by-region"))
                .aggregate(() -> "0", KTables::sum, Materialized.as("regions"))
                .toStream()
                .to(name + "-totals");
        return builder.build();
    }

    private static String sum(String region, String order, String total) {
        long amount = Long.parseLong(order.substring(order.lastIndexOf(' ') + 1));
        long before = Long.parseLong(total.substring(total.lastIndexOf(' ') + 1));
        return region + " " + (before + amount);
    }

    /** gives {store: {key: value}} of those with keys, {store: {key and time: values}} of those with windows */
    private static JsonNode stores(KafkaStreams streams) {
        ObjectNode result = Agent.JSON.createObjectNode();
        for (String store : new String[] {"customers", "regions"}) {
            Map<String, String> entries = new TreeMap<>();
            var table = streams.store(StoreQueryParameters.fromNameAndType(
                    store, QueryableStoreTypes.<String, String>keyValueStore()));
            try (var all = table.all()) {
                all.forEachRemaining(entry -> entries.put(entry.key, entry.value));
            }
            result.set(store, Agent.JSON.valueToTree(entries));
        }
        for (String store : new String[] {"pairs-this-join-store", "pairs-other-join-store"}) {
            Map<String, ArrayNode> entries = new TreeMap<>();
            var windows = streams.store(StoreQueryParameters.fromNameAndType(
                    store, QueryableStoreTypes.<String, String>windowStore()));
            try (var all = windows.fetchAll(Instant.EPOCH, Instant.now())) {
                all.forEachRemaining(entry -> entries.computeIfAbsent(
                                entry.key.key() + " " + entry.key.window().start(), key -> Agent.JSON.createArrayNode())
                        .add(entry.value));
            }
            result.set(store, Agent.JSON.valueToTree(entries));
        }
        return result;
    }

    private static JsonNode stop(KafkaStreams streams) {
        // Whoever starts next would wait until this member is missed.
        CloseOptions leaving = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        if (!streams.close(leaving.withTimeout(LIMIT))) {
            throw new IllegalStateException("it does not stop");
        }
        return Agent.JSON.createObjectNode();
    }

    /** Counts what stores are restored from. */
    private record Restored(Map<String, Long> counts) implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition partition, String store, long start, long end) {}

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long count) {}

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long total) {
            counts.merge(store, total, Long::sum);
        }
    }
}
