import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** `copy`: consume, and produce with the consumer's offsets in one transaction for each poll, as Kafka Streams does. */
final class Copying {
    private Copying() {}

    static JsonNode run(JsonNode command) throws Exception {
        JsonNode options = command.get("options");
        String target = command.get("target").asText();
        int count = command.get("count").asInt();
        int copied = 0;
        long deadline = System.currentTimeMillis() + command.get("timeout_ms").asLong();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(Options.consumer(options));
                KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(Options.producer(options))) {
            producer.initTransactions();
            consumer.subscribe(List.of(command.get("source").asText()));
            while (copied < count && System.currentTimeMillis() < deadline) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    producer.send(new ProducerRecord<>(
                            target, null, record.timestamp(), record.key(), record.value(), record.headers()));
                    offsets.put(
                            new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
                copied += records.count();
            }
        }
        ObjectNode result = Agent.JSON.createObjectNode();
        result.put("records", copied);
        return result;
    }
}
