import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import org.apache.kafka.common.security.ssl.SslPrincipalMapper;

/**
 * What a broker makes of certificates: for each line of standard input, with everything in hexadecimal digits, one of
 * standard output.
 *
 * <p>{@code certificate DER} is answered by its subject's name. {@code rules TEXT NAME} (an empty one is {@code -}) is
 * answered by {@code = NAME}, {@code none} where no rule fits, {@code refused} where the rules cannot be used, or
 * {@code failed} where that only shows when they are.
 */
public final class Principals {
    private Principals() {}

    public static void main(String[] arguments) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("certificate")) {
                ByteArrayInputStream der = new ByteArrayInputStream(HexFormat.of().parseHex(words[1]));
                X509Certificate certificate = (X509Certificate) certificates.generateCertificate(der);
                System.out.println("= " + hex(certificate.getSubjectX500Principal().getName()));
            } else {
                System.out.println(mapped(text(words[1]), text(words[2])));
            }
        }
    }

    private static String mapped(String rules, String name) {
        SslPrincipalMapper mapper;
        try {
            mapper = SslPrincipalMapper.fromRules(rules);
        } catch (RuntimeException refused) {
            return "refused";
        }
        try {
            return "= " + hex(mapper.getName(name));
        } catch (IOException none) {
            return "none";
        } catch (RuntimeException failed) {
            return "failed";
        }
    }

    private static String text(String hex) {
        return hex.equals("-") ? "" : new String(HexFormat.of().parseHex(hex), StandardCharsets.UTF_8);
    }

    private static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }
}
