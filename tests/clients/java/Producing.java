import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.RecordMetadata;

/** `produce`: one producer, any number of transactions, every delivery reported. */
final class Producing {
    private Producing() {}

    static JsonNode run(JsonNode command) throws Exception {
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode deliveries = result.putArray("deliveries");
        Properties properties = Options.producer(command.get("options"));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties)) {
            if (properties.containsKey("transactional.id")) {
                producer.initTransactions();
            }
            for (JsonNode transaction : command.get("transactions")) {
                perform(producer, transaction, deliveries);
            }
            result.put("throttled_ms", throttled(producer));
        }
        return result;
    }

    /** The longest that a broker has asked it to wait. */
    private static double throttled(KafkaProducer<byte[], byte[]> producer) {
        return producer.metrics().values().stream()
                .filter(metric -> metric.metricName().name().equals("produce-throttle-time-max"))
                .mapToDouble(metric -> (double) metric.metricValue())
                .filter(longest -> !Double.isNaN(longest))
                .max()
                .orElse(0);
    }

    private static void perform(KafkaProducer<byte[], byte[]> producer, JsonNode transaction, ArrayNode deliveries)
            throws Exception {
        JsonNode outcome = transaction.path("outcome");
        boolean transactional = outcome.isTextual();
        if (transactional) {
            producer.beginTransaction();
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<String> topics = new ArrayList<>();
        for (JsonNode record : transaction.get("records")) {
            topics.add(record.get("topic").asText());
            sent.add(producer.send(Records.fromJson(record)));
        }
        producer.flush();
        if (transactional) {
            if (outcome.asText().equals("commit")) {
                producer.commitTransaction();
            } else {
                producer.abortTransaction();
            }
        }
        for (int index = 0; index < sent.size(); index++) {
            deliveries.add(delivery(topics.get(index), sent.get(index)));
        }
    }

    private static ObjectNode delivery(String topic, Future<RecordMetadata> sent) throws InterruptedException {
        ObjectNode delivery = Agent.JSON.createObjectNode();
        delivery.put("topic", topic);
        try {
            RecordMetadata metadata = sent.get();
            delivery.put("partition", metadata.partition());
            delivery.put("offset", metadata.hasOffset() ? metadata.offset() : -1);
            delivery.putNull("error");
        } catch (ExecutionException failure) {
            delivery.put("partition", -1);
            delivery.put("offset", -1);
            delivery.put("error", failure.getCause().toString());
        }
        return delivery;
    }
}
