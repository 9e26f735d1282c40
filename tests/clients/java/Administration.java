import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** What an administrator does: topics, leaders, offsets. */
final class Administration {
    private Administration() {}

    static JsonNode run(String operation, JsonNode command) throws Exception {
        try (Admin admin = Admin.create(Options.client(command.get("options")))) {
            return switch (operation) {
                case "create_topics" -> createTopics(admin, command);
                case "delete_topic" -> deleteTopic(admin, command);
                case "allow_writing" -> allowWriting(admin, command);
                case "allow" -> allow(admin, command);
                case "allow_tokens" -> allowTokens(admin, command);
                case "forbid_tokens" -> forbidTokens(admin, command);
                case "set_password" -> setPassword(admin, command);
                case "set_quota" -> setQuota(admin, command);
                case "describe_topics" -> describeTopics(admin, command);
                case "reach" -> reach(admin, command);
                case "describe_cluster" -> describeCluster(admin);
                case "move_leader" -> moveLeader(admin, command);
                case "end_offsets" -> endOffsets(admin, command);
                case "committed_offsets" -> committedOffsets(admin, command);
                case "change_cluster" -> ClusterChanges.run(admin, command);
                default -> throw new IllegalArgumentException("no operation " + operation);
            };
        }
    }

    /** topic */
    private static JsonNode deleteTopic(Admin admin, JsonNode command) throws Exception {
        admin.deleteTopics(List.of(command.get("topic").asText())).all().get();
        return Agent.JSON.createObjectNode();
    }

    /** topic, principal: the only one who may write there from now on; everybody may read */
    private static JsonNode allowWriting(Admin admin, JsonNode command) throws Exception {
        ResourcePattern topic = new ResourcePattern(ResourceType.TOPIC, command.get("topic").asText(), PatternType.LITERAL);
        List<AclBinding> rights = new ArrayList<>();
        rights.add(right(topic, command.get("principal").asText(), AclOperation.WRITE));
        rights.add(right(topic, "User:*", AclOperation.READ));
        admin.createAcls(rights).all().get();
        return Agent.JSON.createObjectNode();
    }

    /** principal, prefix: of topics, groups and transactional ids with which it may do everything */
    private static JsonNode allow(Admin admin, JsonNode command) throws Exception {
        List<AclBinding> rights = new ArrayList<>();
        for (ResourceType type : List.of(ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)) {
            ResourcePattern resource = new ResourcePattern(type, command.get("prefix").asText(), PatternType.PREFIXED);
            rights.add(right(resource, command.get("principal").asText(), AclOperation.ALL));
        }
        admin.createAcls(rights).all().get();
        return Agent.JSON.createObjectNode();
    }

    /** principal, owner: for whom it may have delegation tokens made */
    private static JsonNode allowTokens(Admin admin, JsonNode command) throws Exception {
        admin.createAcls(List.of(tokensRight(command))).all().get();
        return Agent.JSON.createObjectNode();
    }

    /** principal, owner: no longer */
    private static JsonNode forbidTokens(Admin admin, JsonNode command) throws Exception {
        admin.deleteAcls(List.of(tokensRight(command).toFilter())).all().get();
        return Agent.JSON.createObjectNode();
    }

    private static AclBinding tokensRight(JsonNode command) {
        ResourcePattern owner = new ResourcePattern(ResourceType.USER, command.get("owner").asText(), PatternType.LITERAL);
        return right(owner, command.get("principal").asText(), AclOperation.CREATE_TOKENS);
    }

    /** user, password: by SCRAM with either hash */
    private static JsonNode setPassword(Admin admin, JsonNode command) throws Exception {
        // Not twice a user in one request.
        for (ScramMechanism mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
            ScramCredentialInfo info = new ScramCredentialInfo(mechanism, 4096);
            UserScramCredentialAlteration change = new UserScramCredentialUpsertion(
                command.get("user").asText(), info, command.get("password").asText());
            admin.alterUserScramCredentials(List.of(change)).all().get();
        }
        return Agent.JSON.createObjectNode();
    }

    /** user, producer_byte_rate */
    private static JsonNode setQuota(Admin admin, JsonNode command) throws Exception {
        ClientQuotaEntity user =
                new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, command.get("user").asText()));
        ClientQuotaAlteration.Op rate = new ClientQuotaAlteration.Op(
                "producer_byte_rate", command.get("producer_byte_rate").asDouble());
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(user, List.of(rate)))).all().get();
        return Agent.JSON.createObjectNode();
    }

    private static AclBinding right(ResourcePattern topic, String principal, AclOperation operation) {
        return new AclBinding(topic, new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW));
    }

    /** timeout_ms */
    private static JsonNode reach(Admin admin, JsonNode command) throws Exception {
        admin.listTopics(new ListTopicsOptions().timeoutMs(command.get("timeout_ms").asInt())).names().get();
        return Agent.JSON.createObjectNode();
    }

    /** topics: [{name, partitions, replicas, configs}] */
    private static JsonNode createTopics(Admin admin, JsonNode command) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (JsonNode topic : command.get("topics")) {
            Map<String, String> configs = new HashMap<>();
            topic.path("configs").fields().forEachRemaining(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
            topics.add(new NewTopic(
                            topic.get("name").asText(),
                            topic.get("partitions").asInt(),
                            (short) topic.get("replicas").asInt())
                    .configs(configs));
        }
        admin.createTopics(topics).all().get();
        return Agent.JSON.createObjectNode();
    }

    /** topics: [name]; gives {name: [{leader, replicas, isr}]}, in order of partition; leader -1 when there is none */
    private static JsonNode describeTopics(Admin admin, JsonNode command) throws Exception {
        ObjectNode result = Agent.JSON.createObjectNode();
        for (TopicDescription topic : admin.describeTopics(names(command)).allTopicNames().get().values()) {
            ArrayNode partitions = result.putArray(topic.name());
            for (TopicPartitionInfo partition : topic.partitions()) {
                ObjectNode json = partitions.addObject();
                json.put("leader", partition.leader() == null ? -1 : partition.leader().id());
                putIds(json.putArray("replicas"), partition.replicas());
                putIds(json.putArray("isr"), partition.isr());
            }
        }
        return result;
    }

    /** gives {nodes: [{id, host, port}]} */
    private static JsonNode describeCluster(Admin admin) throws Exception {
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode nodes = result.putArray("nodes");
        for (Node node : admin.describeCluster().nodes().get()) {
            nodes.addObject().put("id", node.id()).put("host", node.host()).put("port", node.port());
        }
        return result;
    }

    /** topic, partition, replicas: the first becomes preferred, and is then elected */
    private static JsonNode moveLeader(Admin admin, JsonNode command) throws Exception {
        TopicPartition partition =
                new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        List<Integer> replicas = new ArrayList<>();
        command.get("replicas").forEach(replica -> replicas.add(replica.asInt()));
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas))))
                .all()
                .get();
        while (!admin.listPartitionReassignments(Set.of(partition)).reassignments().get().isEmpty()) {
            Thread.sleep(50);
        }
        Map<TopicPartition, Optional<Throwable>> outcome =
                admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get();
        ObjectNode result = Agent.JSON.createObjectNode();
        outcome.values().forEach(failure -> failure.ifPresent(text -> result.put("note", text.toString())));
        return result;
    }

    /** partitions: [[topic, index]]; gives {offsets: [n]} in the same order */
    private static JsonNode endOffsets(Admin admin, JsonNode command) throws Exception {
        List<TopicPartition> partitions = new ArrayList<>();
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        for (JsonNode partition : command.get("partitions")) {
            TopicPartition named = new TopicPartition(partition.get(0).asText(), partition.get(1).asInt());
            partitions.add(named);
            wanted.put(named, OffsetSpec.latest());
        }
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode offsets = result.putArray("offsets");
        var found = admin.listOffsets(wanted);
        for (TopicPartition partition : partitions) {
            offsets.add(found.partitionResult(partition).get().offset());
        }
        return result;
    }

    /** group; gives {offsets: [[topic, partition, offset]]} */
    private static JsonNode committedOffsets(Admin admin, JsonNode command) throws Exception {
        ObjectNode result = Agent.JSON.createObjectNode();
        ArrayNode offsets = result.putArray("offsets");
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(
                        command.get("group").asText())
                .partitionsToOffsetAndMetadata()
                .get();
        committed.forEach((partition, offset) ->
                offsets.addArray().add(partition.topic()).add(partition.partition()).add(offset.offset()));
        return result;
    }

    private static List<String> names(JsonNode command) {
        List<String> names = new ArrayList<>();
        command.get("topics").forEach(topic -> names.add(topic.asText()));
        return names;
    }

    private static void putIds(ArrayNode array, List<Node> nodes) {
        nodes.forEach(node -> array.add(node.id()));
    }
}
