import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;

/** Producers and consumers that run while a test does something to the cluster or to the proxy. */
final class Streams {
    private static final Map<Integer, Stream> RUNNING = new ConcurrentHashMap<>();
    private static final AtomicInteger IDS = new AtomicInteger();

    private Streams() {}

    static JsonNode produce(JsonNode command) {
        Properties properties = Options.producer(command.get("options"));
        KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties);
        boolean transactional = properties.containsKey("transactional.id");
        if (transactional) {
            producer.initTransactions();
            producer.beginTransaction();
        }
        return start(producer::metrics, stream -> {
            try (producer) {
                send(stream, producer, command);
                if (transactional) {
                    end(producer, stream.outcome);
                }
            }
        });
    }

    static JsonNode consume(JsonNode command) {
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(Options.consumer(command.get("options")));
        Consuming.attach(consumer, command);
        boolean group = command.get("options").path("group").isTextual();
        return start(consumer::metrics, stream -> {
            try (consumer) {
                while (!stream.stopping) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                        long sequence = Long.parseLong(new String(record.key(), StandardCharsets.UTF_8));
                        stream.entry(record.partition(), record.offset(), sequence);
                    }
                    if (group) {
                        consumer.commitAsync();
                    }
                }
            }
        });
    }

    static JsonNode status(JsonNode command) {
        Stream stream = RUNNING.get(command.get("stream").asInt());
        ObjectNode result = Agent.JSON.createObjectNode();
        synchronized (stream) {
            result.put("count", stream.entries.size());
        }
        result.put("connections", total(stream, "connection-creation-total"));
        result.put("reauthentications", total(stream, "successful-reauthentication-total"));
        return result;
    }

    static JsonNode stop(JsonNode command) throws InterruptedException {
        Stream stream = RUNNING.remove(command.get("stream").asInt());
        stream.outcome = command.path("outcome").asText();
        stream.stopping = true;
        stream.thread.join();
        ObjectNode result = Agent.JSON.createObjectNode();
        synchronized (stream) {
            result.set("entries", stream.entries);
            result.set("failures", stream.failures);
        }
        return result;
    }

    private static void send(Stream stream, KafkaProducer<byte[], byte[]> producer, JsonNode command)
            throws InterruptedException {
        String topic = command.get("topic").asText();
        int partitions = command.get("partitions").asInt();
        long rate = command.get("rate").asLong();
        int valueBytes = command.get("value_bytes").asInt();
        long start = System.nanoTime();
        for (long sequence = 0; !stream.stopping; sequence++) {
            long due = sequence * 1_000_000_000L / rate - (System.nanoTime() - start);
            if (due > 0) {
                Thread.sleep(due / 1_000_000L, (int) (due % 1_000_000L));
            }
            long number = sequence;
            byte[] key = Long.toString(sequence).getBytes(StandardCharsets.UTF_8);
            byte[] value = Arrays.copyOf(key, Math.max(key.length, valueBytes));
            producer.send(
                    new ProducerRecord<>(topic, (int) (sequence % partitions), key, value),
                    (metadata, failure) -> delivered(stream, number, metadata, failure));
        }
        producer.flush();
    }

    /** An outcome that the client does not reach is a failure of the stream. */
    private static void end(KafkaProducer<byte[], byte[]> producer, String outcome) {
        switch (outcome) {
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> throw new IllegalArgumentException("no outcome " + outcome);
        }
    }

    private static void delivered(Stream stream, long sequence, RecordMetadata metadata, Exception failure) {
        if (failure == null) {
            stream.entry(metadata.partition(), metadata.offset(), sequence);
        } else {
            stream.failure(sequence, failure.toString());
        }
    }

    private static double total(Stream stream, String metric) {
        return stream.metrics.get().entrySet().stream()
                .filter(entry -> entry.getKey().name().equals(metric))
                .mapToDouble(entry -> (Double) entry.getValue().metricValue())
                .sum();
    }

    private static JsonNode start(Supplier<Map<MetricName, ? extends Metric>> metrics, Work work) {
        Stream stream = new Stream();
        stream.metrics = metrics;
        int id = IDS.incrementAndGet();
        RUNNING.put(id, stream);
        stream.thread = new Thread(() -> {
            try {
                work.run(stream);
            } catch (Throwable failure) {
                failure.printStackTrace();
                stream.failure(-1, failure.toString());
            }
        });
        stream.thread.start();
        return Agent.JSON.createObjectNode().put("stream", id);
    }

    private interface Work {
        void run(Stream stream) throws Exception;
    }

    private static final class Stream {
        private final ArrayNode entries = Agent.JSON.createArrayNode();
        private final ArrayNode failures = Agent.JSON.createArrayNode();
        private volatile String outcome;
        private volatile boolean stopping;
        private Thread thread;
        private Supplier<Map<MetricName, ? extends Metric>> metrics;

        private synchronized void entry(int partition, long offset, long sequence) {
            entries.addArray().add(partition).add(offset).add(sequence);
        }

        private synchronized void failure(long sequence, String text) {
            failures.addArray().add(sequence).add(text);
        }
    }
}
