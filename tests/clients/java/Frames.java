import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.util.zip.CRC32;
import net.jpountz.lz4.LZ4FrameInputStream;

/** Frames by lz4-java's own reader; Kafka uses that library for the blocks and has its own reader of frames. */
final class Frames {
    private Frames() {}

    /** frame; gives bytes and crc of what it decompresses to */
    static JsonNode decompressLz4(JsonNode command) throws Exception {
        byte[] frame = command.get("frame").binaryValue();
        try (LZ4FrameInputStream input = new LZ4FrameInputStream(new ByteArrayInputStream(frame))) {
            byte[] text = input.readAllBytes();
            CRC32 crc = new CRC32();
            crc.update(text);
            return Agent.JSON.createObjectNode().put("bytes", text.length).put("crc", crc.getValue());
        }
    }
}
