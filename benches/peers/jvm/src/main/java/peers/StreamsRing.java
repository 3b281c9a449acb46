package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.StoreBuilder;

/**
 * Kafka Streams: a processor with a ring per key in a state store of objects in memory, without a changelog. The stores
 * that come with it keep bytes: they would encode a ring twice a record. The topic is partitioned by service, so nothing
 * has to be repartitioned.
 */
public final class StreamsRing {
    private static final AtomicLong UNREAD = new AtomicLong(Job.EVENTS);
    private static final JsonFactory JSON = new JsonFactory();

    private StreamsRing() {}

    public static void main(String[] args) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "peers-" + System.nanoTime());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Job.BROKERS);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Job.WORKERS);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEERS_OUT") + "-state");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_BYTES_CONFIG), 16 << 20);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8 << 20);
        Topology topology = new Topology();
        topology.addSource("requests", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), Job.TOPIC);
        topology.addProcessor("minute", Minute::new, "requests");
        topology.addStateStore(new Rings.Builder(), "minute");
        new KafkaStreams(topology, settings).start();
    }

    /** The rings of one partition. */
    static final class Rings implements StateStore {
        static final String NAME = "rings";
        final Map<String, Ring> byKey = new HashMap<>();

        @Override
        public String name() {
            return NAME;
        }

        @Override
        public void init(StateStoreContext context, StateStore root) {
            context.register(root, (key, value) -> {});
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}

        @Override
        public boolean persistent() {
            return false;
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        static final class Builder implements StoreBuilder<Rings> {
            @Override
            public StoreBuilder<Rings> withCachingEnabled() {
                return this;
            }

            @Override
            public StoreBuilder<Rings> withCachingDisabled() {
                return this;
            }

            @Override
            public StoreBuilder<Rings> withLoggingEnabled(Map<String, String> config) {
                return this;
            }

            @Override
            public StoreBuilder<Rings> withLoggingDisabled() {
                return this;
            }

            @Override
            public Rings build() {
                return new Rings();
            }

            @Override
            public Map<String, String> logConfig() {
                return Map.of();
            }

            @Override
            public boolean loggingEnabled() {
                return false;
            }

            @Override
            public String name() {
                return NAME;
            }
        }
    }

    /** The partition's own time closes the seconds of all its keys. */
    static final class Minute implements Processor<String, byte[], Void, Void> {
        private Map<String, Ring> rings;
        private Job.Rows rows;
        private long openS;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            rings = context.<Rings>getStateStore(Rings.NAME).byKey;
            rows = new Job.Rows(context.taskId().partition());
        }

        @Override
        public void process(Record<String, byte[]> record) {
            try (JsonParser json = JSON.createParser(record.value())) {
                add(record.key(), json);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            if (UNREAD.decrementAndGet() == 0) {
                Runtime.getRuntime().halt(0);
            }
        }

        private void add(String key, JsonParser json) throws IOException {
            long second = 0;
            int latencyUs = 0;
            boolean isError = false;
            if (json.nextToken() != JsonToken.START_OBJECT) {
                throw new IOException("not an object");
            }
            for (String name = json.nextFieldName(); name != null; name = json.nextFieldName()) {
                json.nextToken();
                switch (name) {
                    case "event_time_us" -> second = json.getLongValue() / 1_000_000;
                    case "status" -> isError = json.getIntValue() >= 500;
                    case "latency_us" -> latencyUs = json.getIntValue();
                    default -> {}
                }
            }
            if (second > openS) {
                closeUntil(second);
            }
            long first = second;
            rings.computeIfAbsent(key, name -> new Ring(name, first)).add(second, latencyUs, isError);
        }

        private void closeUntil(long second) {
            for (; openS > 0 && openS < second; openS++) {
                rings.values().forEach(ring -> ring.close(rows));
                rings.values().removeIf(Ring::isIdle);
            }
            openS = second;
            if (second >= Job.END_S) {
                rows.close();
            }
        }
    }
}
