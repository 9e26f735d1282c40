import com.fasterxml.jackson.databind.JsonNode;
import java.util.Properties;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Translates the protocol's options to the properties of the Java client. */
final class Options {
    private Options() {}

    static Properties producer(JsonNode options) {
        Properties properties = client(options);
        properties.put("key.serializer", ByteArraySerializer.class.getName());
        properties.put("value.serializer", ByteArraySerializer.class.getName());
        copy(options, "acks", properties, "acks");
        copy(options, "codec", properties, "compression.type");
        copy(options, "idempotent", properties, "enable.idempotence");
        copy(options, "transactional_id", properties, "transactional.id");
        copy(options, "linger_ms", properties, "linger.ms");
        copy(options, "batch_bytes", properties, "batch.size");
        copy(options, "record_bytes_max", properties, "max.request.size");
        copy(options, "back_off_ms", properties, "retry.backoff.ms");
        copy(options, "back_off_ms", properties, "retry.backoff.max.ms");
        if ("0".equals(properties.get("acks")) || "1".equals(properties.get("acks"))) {
            properties.putIfAbsent("enable.idempotence", "false");
        }
        return withExtra(options, properties);
    }

    static Properties consumer(JsonNode options) {
        Properties properties = client(options);
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        copy(options, "group", properties, "group.id");
        copy(options, "group_protocol", properties, "group.protocol");
        copy(options, "isolation", properties, "isolation.level");
        copy(options, "reset", properties, "auto.offset.reset");
        return withExtra(options, properties);
    }

    /** Connection properties alone, as an admin client takes them. */
    static Properties client(JsonNode options) {
        Properties properties = new Properties();
        copy(options, "bootstrap", properties, "bootstrap.servers");
        copy(options, "client_id", properties, "client.id");
        JsonNode sasl = options.path("sasl");
        JsonNode tls = options.path("tls");
        properties.put("security.protocol", (sasl.isObject() ? "SASL_" : "") + (tls.isObject() ? "SSL" : "PLAINTEXT"));
        if (tls.isObject()) {
            store(tls, "ca", properties, "truststore");
            store(tls, "identity", properties, "keystore");
            if (tls.path("version_max").isTextual()) {
                properties.put("ssl.enabled.protocols", "TLSv" + tls.get("version_max").asText());
            }
        }
        if (sasl.isObject()) {
            String mechanism = sasl.get("mechanism").asText();
            if (sasl.path("token_file").isTextual()) {
                bearer("file://" + sasl.get("token_file").asText(), properties);
                return properties;
            }
            String user = sasl.get("user").asText();
            String password = sasl.path("password").asText();
            properties.put("sasl.mechanism", mechanism);
            properties.put("sasl.jaas.config", jaas(mechanism, user, password));
        }
        return properties;
    }

    private static void store(JsonNode tls, String name, Properties properties, String store) {
        if (tls.path(name).isTextual()) {
            properties.put("ssl." + store + ".type", "PEM");
            properties.put("ssl." + store + ".location", tls.get(name).asText());
        }
    }

    private static Properties withExtra(JsonNode options, Properties properties) {
        options.path("extra").fields().forEachRemaining(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
        return properties;
    }

    private static final String ALLOWED = "org.apache.kafka.sasl.oauthbearer.allowed.urls";

    /** What a service of its own would set that gets its tokens from a file. */
    private static synchronized void bearer(String url, Properties properties) {
        // Of the whole program: other clients have theirs.
        String allowed = System.getProperty(ALLOWED);
        System.setProperty(ALLOWED, allowed == null ? url : allowed + "," + url);
        String oauthbearer = "org.apache.kafka.common.security.oauthbearer.";
        properties.put("sasl.mechanism", "OAUTHBEARER");
        properties.put("sasl.jaas.config", oauthbearer + "OAuthBearerLoginModule required;");
        properties.put("sasl.login.callback.handler.class", oauthbearer + "OAuthBearerLoginCallbackHandler");
        properties.put("sasl.oauthbearer.token.endpoint.url", url);
    }

    private static String jaas(String mechanism, String user, String password) {
        String security = "org.apache.kafka.common.security.";
        return switch (mechanism) {
            case "PLAIN" -> credentials(security + "plain.PlainLoginModule", user, password);
            case "SCRAM-SHA-256", "SCRAM-SHA-512" -> credentials(security + "scram.ScramLoginModule", user, password);
            case "OAUTHBEARER" -> security + "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\""
                    + user + "\";";
            default -> throw new IllegalArgumentException("no SASL mechanism " + mechanism);
        };
    }

    private static String credentials(String module, String user, String password) {
        return module + " required username=\"" + user + "\" password=\"" + password + "\";";
    }

    private static void copy(JsonNode options, String name, Properties properties, String property) {
        JsonNode value = options.path(name);
        if (!value.isMissingNode() && !value.isNull()) {
            properties.put(property, value.asText());
        }
    }
}
