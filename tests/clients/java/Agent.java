import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Reads commands, runs each on a thread of its own, writes the answers. The protocol is in ../PROTOCOL.md. */
public final class Agent {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream ANSWERS = System.out;

    /** What a program does with its commands. */
    interface Operations {
        JsonNode run(JsonNode command) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        serve(Agent::run);
    }

    static void serve(Operations operations) throws Exception {
        // Libraries that print must not break the line protocol.
        System.setOut(System.err);
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = JSON.readTree(line);
            threads.execute(() -> answer(command, operations));
        }
        // The test has gone: whatever still runs has nobody to report to.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(JsonNode command, Operations operations) {
        ObjectNode answer = JSON.createObjectNode();
        answer.set("id", command.get("id"));
        try {
            answer.set("result", operations.run(command));
            answer.put("ok", true);
        } catch (Throwable failure) {
            failure.printStackTrace();
            answer.put("ok", false);
            answer.put("error", failure.toString() + (failure.getCause() == null ? "" : "; " + failure.getCause()));
        }
        synchronized (ANSWERS) {
            byte[] line = (answer + "\n").getBytes(StandardCharsets.UTF_8);
            ANSWERS.write(line, 0, line.length);
            ANSWERS.flush();
        }
    }

    private static JsonNode run(JsonNode command) throws Exception {
        String operation = command.get("op").asText();
        return switch (operation) {
            case "produce" -> Producing.run(command);
            case "consume" -> Consuming.run(command);
            case "read_to_end" -> Consuming.toEnd(command);
            case "copy" -> Copying.run(command);
            case "decompress_lz4" -> Frames.decompressLz4(command);
            case "stream_produce" -> Streams.produce(command);
            case "stream_consume" -> Streams.consume(command);
            case "stream_status" -> Streams.status(command);
            case "stream_stop" -> Streams.stop(command);
            default -> Administration.run(operation, command);
        };
    }
}
