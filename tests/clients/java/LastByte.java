import java.util.Map;

import org.apache.kafka.clients.producer.Partitioner;
import org.apache.kafka.common.Cluster;

/** A partitioner of an application's own: by the last byte of the key. */
public final class LastByte implements Partitioner {
    @Override
    public int partition(
            String topic, Object key, byte[] keyBytes, Object value, byte[] valueBytes, Cluster cluster) {
        return Byte.toUnsignedInt(keyBytes[keyBytes.length - 1]) % cluster.partitionCountForTopic(topic);
    }

    @Override
    public void configure(Map<String, ?> configs) {}

    @Override
    public void close() {}
}
