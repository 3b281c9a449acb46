package peers;

import java.util.Arrays;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.StreamFormat;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** What both Flink jobs read, and on what they run. */
final class Sources {
    private Sources() {}

    static StreamExecutionEnvironment environment(boolean reuseObjects) {
        Configuration settings = new Configuration();
        // A reader has one split here, so aligning readers is enough; a reader of files cannot pause a split alone.
        settings.set(PipelineOptions.ALLOW_UNALIGNED_SOURCE_SPLITS, true);
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        env.setParallelism(Job.WORKERS);
        env.setMaxParallelism(128);
        if (reuseObjects) {
            env.getConfig().enableObjectReuse();
        }
        return env;
    }

    static <T> FileSource<T> files(StreamFormat<T> format) {
        Path[] paths = Arrays.stream(Job.FILES).map(Path::new).toArray(Path[]::new);
        return FileSource.forRecordStreamFormat(format, paths).build();
    }

    static <T> KafkaSource<T> topic(DeserializationSchema<T> values) {
        return KafkaSource.<T>builder()
                .setBootstrapServers(Job.BROKERS)
                .setTopics(Job.TOPIC)
                .setGroupId("flink-" + System.nanoTime())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setProperty("max.poll.records", "5000")
                .setProperty("fetch.max.bytes", "16777216")
                .setProperty("max.partition.fetch.bytes", "8388608")
                .setValueOnlyDeserializer(values)
                .build();
    }
}
