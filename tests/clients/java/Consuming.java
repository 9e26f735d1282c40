import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** `consume`: reads until there are enough records or time is up, then commits if it is in a group; `read_to_end`. */
final class Consuming {
    private static final Duration POLL = Duration.ofMillis(200);

    private Consuming() {}

    static JsonNode run(JsonNode command) throws Exception {
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode records = result.putArray("records");
        int count = command.get("count").asInt();
        JsonNode options = command.get("options");
        long deadline = System.currentTimeMillis() + command.get("timeout_ms").asLong();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(Options.consumer(options))) {
            attach(consumer, command);
            try {
                while (records.size() < count && System.currentTimeMillis() < deadline) {
                    take(consumer, records);
                }
            } catch (KafkaException refused) {
                if (!command.path("until_error").asBoolean()) {
                    throw refused;
                }
                result.put("error", refused + (refused.getCause() == null ? "" : "; " + refused.getCause()));
                return result;
            }
            long settled = System.currentTimeMillis() + command.path("settle_ms").asLong(0);
            while (System.currentTimeMillis() < settled) {
                take(consumer, records);
            }
            if (options.path("group").isTextual()) {
                consumer.commitSync();
            }
        }
        return result;
    }

    /** partitions: all that they hold when this is asked; Java's registries of schemas start so */
    static JsonNode toEnd(JsonNode command) {
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode records = result.putArray("records");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(Options.consumer(command.get("options")))) {
            attach(consumer, command);
            Map<TopicPartition, Long> ends = consumer.endOffsets(consumer.assignment());
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                take(consumer, records);
            }
        }
        return result;
    }

    static void attach(KafkaConsumer<byte[], byte[]> consumer, JsonNode command) {
        JsonNode partitions = command.path("partitions");
        if (partitions.isArray()) {
            List<TopicPartition> assigned = new ArrayList<>();
            for (JsonNode partition : partitions) {
                assigned.add(new TopicPartition(partition.get(0).asText(), partition.get(1).asInt()));
            }
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
        } else {
            List<String> topics = new ArrayList<>();
            command.get("topics").forEach(topic -> topics.add(topic.asText()));
            consumer.subscribe(topics);
        }
    }

    private static void take(KafkaConsumer<byte[], byte[]> consumer, ArrayNode records) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
            records.add(Records.toJson(record));
        }
    }
}
