import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.PasswordCallback;
import javax.security.sasl.SaslException;
import org.apache.kafka.common.security.scram.ScramCredential;
import org.apache.kafka.common.security.scram.internals.ScramCredentialUtils;
import org.apache.kafka.common.security.scram.internals.ScramFormatter;
import org.apache.kafka.common.security.scram.internals.ScramMechanism;
import org.apache.kafka.common.security.scram.internals.ScramSaslClient;

/**
 * Kafka's side of SCRAM: for each line of standard input, with everything in hexadecimal digits, one of standard output.
 *
 * <p>{@code credential MECHANISM PASSWORD SALT ITERATIONS} is answered by what a broker keeps. {@code open MECHANISM USER
 * PASSWORD} begins a login and is answered by the client's first message; {@code next MESSAGE} is answered by what the
 * client makes of that: its next message, {@code done}, or {@code failed}.
 */
public final class Scram {
    private Scram() {}

    public static void main(String[] arguments) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        ScramSaslClient client = null;
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "credential" -> System.out.println(credential(words));
                case "open" -> {
                    client = client(words);
                    System.out.println("= " + hex(client.evaluateChallenge(new byte[0])));
                }
                default -> System.out.println(next(client, bytes(words[1])));
            }
            System.out.flush();
        }
    }

    private static String credential(String[] words) throws Exception {
        ScramFormatter formatter = new ScramFormatter(ScramMechanism.forMechanismName(words[1]));
        int iterations = Integer.parseInt(words[4]);
        byte[] salt = bytes(words[3]);
        byte[] salted = formatter.hi(bytes(words[2]), salt, iterations);
        ScramCredential credential = formatter.generateCredential(salt, salted, iterations);
        return "= " + hex(ScramCredentialUtils.credentialToString(credential).getBytes(StandardCharsets.UTF_8));
    }

    private static ScramSaslClient client(String[] words) throws Exception {
        String user = new String(bytes(words[2]), StandardCharsets.UTF_8);
        char[] password = new String(bytes(words[3]), StandardCharsets.UTF_8).toCharArray();
        CallbackHandler handler = callbacks -> {
            for (Callback callback : callbacks) {
                if (callback instanceof NameCallback name) {
                    name.setName(user);
                } else if (callback instanceof PasswordCallback secret) {
                    secret.setPassword(password);
                }
            }
        };
        return new ScramSaslClient(ScramMechanism.forMechanismName(words[1]), handler);
    }

    private static String next(ScramSaslClient client, byte[] message) {
        try {
            byte[] answer = client.evaluateChallenge(message);
            return client.isComplete() ? "done" : "= " + hex(answer);
        } catch (SaslException failed) {
            return "failed";
        }
    }

    private static byte[] bytes(String hex) {
        return HexFormat.of().parseHex(hex);
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }
}
