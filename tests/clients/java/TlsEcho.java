import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * One end of one TLS connection as the JDK has it, which sends back what it is sent until the other end says goodbye.
 *
 * <p>{@code client VERSION FOLDER IDENTITY SERVER PORT} connects to 127.0.0.1, for the name SERVER; {@code server
 * VERSION FOLDER IDENTITY demanded|open} prints the port that it listens on. FOLDER has ca.pem, IDENTITY.pem and
 * IDENTITY.key, an EC key in PKCS #8; IDENTITY may be {@code none}.
 */
final class TlsEcho {
    private static final char[] PASSWORD = new char[0];

    public static void main(String[] arguments) throws Exception {
        SSLContext context = context(Path.of(arguments[2]), arguments[3]);
        String[] versions = {arguments[1]};
        try (SSLSocket socket = arguments[0].equals("client")
                ? connect(context, arguments[4], Integer.parseInt(arguments[5]))
                : accept(context, arguments[4].equals("demanded"), versions)) {
            socket.setEnabledProtocols(versions);
            socket.startHandshake();
            echo(socket);
        }
    }

    private static void echo(SSLSocket socket) throws Exception {
        InputStream input = socket.getInputStream();
        OutputStream output = socket.getOutputStream();
        byte[] chunk = new byte[32 * 1024];
        for (int count = input.read(chunk); count >= 0; count = input.read(chunk)) {
            output.write(chunk, 0, count);
        }
    }

    private static SSLSocket connect(SSLContext context, String server, int port) throws Exception {
        Socket plain = new Socket(InetAddress.getLoopbackAddress(), port);
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, server, port, true);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        return socket;
    }

    private static SSLSocket accept(SSLContext context, boolean demands, String[] versions) throws Exception {
        InetAddress here = InetAddress.getLoopbackAddress();
        try (SSLServerSocket listening =
                (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 1, here)) {
            listening.setNeedClientAuth(demands);
            System.out.println(listening.getLocalPort());
            return (SSLSocket) listening.accept();
        }
    }

    private static SSLContext context(Path folder, String identity) throws Exception {
        KeyStore own = empty();
        if (!identity.equals("none")) {
            Certificate[] chain = certificates(folder.resolve(identity + ".pem"));
            own.setKeyEntry("own", key(folder.resolve(identity + ".key")), PASSWORD, chain);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, PASSWORD);
        KeyStore believed = empty();
        believed.setCertificateEntry("ca", certificates(folder.resolve("ca.pem"))[0]);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(believed);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static KeyStore empty() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, PASSWORD);
        return store;
    }

    private static Certificate[] certificates(Path file) throws Exception {
        ByteArrayInputStream pem = new ByteArrayInputStream(Files.readAllBytes(file));
        return CertificateFactory.getInstance("X.509").generateCertificates(pem).toArray(new Certificate[0]);
    }

    private static PrivateKey key(Path file) throws Exception {
        String body = Files.readString(file).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }
}
