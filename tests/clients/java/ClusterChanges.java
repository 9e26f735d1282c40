import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** Whatever changes a cluster, one after the other. */
final class ClusterChanges {
    private final Admin admin;
    private final ObjectNode outcomes = Agent.JSON.createObjectNode();

    private ClusterChanges(Admin admin) {
        this.admin = admin;
    }

    /** topic (is there), other (is not), group, node; gives {what: the exception's name, or "done"} */
    static JsonNode run(Admin admin, JsonNode command) {
        ClusterChanges changes = new ClusterChanges(admin);
        changes.ofTopics(command.get("topic").asText(), command.get("other").asText(), command.get("node").asInt());
        changes.ofTheCluster(command.get("topic").asText(), command.get("group").asText());
        return changes.outcomes;
    }

    private void ofTopics(String topic, String other, int node) {
        TopicPartition partition = new TopicPartition(topic, 0);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp retention =
                new AlterConfigOp(new ConfigEntry("retention.ms", "86400000"), AlterConfigOp.OpType.SET);
        note("createTopics", () -> admin.createTopics(List.of(new NewTopic(other, 1, (short) 1))).all());
        note("createPartitions", () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
        note("incrementalAlterConfigs", () -> admin.incrementalAlterConfigs(Map.of(resource, List.of(retention))).all());
        note("deleteRecords", () -> admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(0))).all());
        note("electLeaders", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all());
        note("alterPartitionReassignments", () -> admin.alterPartitionReassignments(
                        Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(node)))))
                .all());
        note("alterReplicaLogDirs", () -> admin.alterReplicaLogDirs(
                        Map.of(new TopicPartitionReplica(topic, 0, node), "/no/such/folder"))
                .all());
        note("deleteTopics", () -> admin.deleteTopics(List.of(topic)).all());
    }

    private void ofTheCluster(String topic, String group) {
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        AclBinding binding = new AclBinding(
                pattern, new AccessControlEntry("User:x", "*", AclOperation.READ, AclPermissionType.ALLOW));
        ClientQuotaAlteration quota = new ClientQuotaAlteration(
                new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "x")),
                List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e9)));
        note("createAcls", () -> admin.createAcls(List.of(binding)).all());
        note("describeAcls", () -> admin.describeAcls(AclBindingFilter.ANY).values());
        note("deleteAcls", () -> admin.deleteAcls(List.of(binding.toFilter())).all());
        note("alterClientQuotas", () -> admin.alterClientQuotas(List.of(quota)).all());
        note("deleteConsumerGroups", () -> admin.deleteConsumerGroups(List.of(group)).all());
        note("deleteConsumerGroupOffsets", () -> admin.deleteConsumerGroupOffsets(
                        group, Set.of(new TopicPartition(topic, 0)))
                .all());
        note("unregisterBroker", () -> admin.unregisterBroker(999).all());
        note("describeUserScramCredentials", () -> admin.describeUserScramCredentials().all());
    }

    private void note(String what, Callable<? extends KafkaFuture<?>> change) {
        String outcome = "done";
        try {
            change.call().get();
        } catch (ExecutionException failure) {
            outcome = failure.getCause().getClass().getSimpleName() + ": " + failure.getCause().getMessage();
        } catch (Exception failure) {
            outcome = failure.getClass().getSimpleName() + ": " + failure.getMessage();
        }
        outcomes.put(what, outcome);
    }
}
