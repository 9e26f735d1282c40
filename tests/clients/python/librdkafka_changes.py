"""Whatever changes a cluster, one after the other, as far as librdkafka can."""

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)


def changes(admin, command):
    """topic (is there), other (is not), group; gives {what: the error's name, or "done"}"""
    topic, other = command["topic"], command["other"]
    right = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:x", "*", AclOperation.READ)
    binding = AclBinding(*right, AclPermissionType.ALLOW)
    retention = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[retention])
    bound = AclBindingFilter(*right, AclPermissionType.ALLOW)
    partition = TopicPartition(topic, 0, 0)
    tries = {
        "createTopics": lambda: admin.create_topics([NewTopic(other, 1, 1)]),
        "createPartitions": lambda: admin.create_partitions([NewPartitions(topic, 3)]),
        "incrementalAlterConfigs": lambda: admin.incremental_alter_configs([resource]),
        "deleteRecords": lambda: admin.delete_records([partition]),
        "electLeaders": lambda: {topic: admin.elect_leaders(ElectionType.PREFERRED, [partition])},
        "createAcls": lambda: admin.create_acls([binding]),
        "describeAcls": lambda: {topic: admin.describe_acls(bound)},
        "deleteAcls": lambda: admin.delete_acls([bound]),
        "deleteConsumerGroups": lambda: admin.delete_consumer_groups([command["group"]]),
        "deleteTopics": lambda: admin.delete_topics([topic]),
    }
    return {what: outcome(change) for what, change in tries.items()}


def outcome(change):
    try:
        for future in change().values():
            future.result(timeout=20)
    except KafkaException as failure:
        return failure.args[0].name()
    return "done"
