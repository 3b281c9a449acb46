package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** The job as Flink's documentation writes such jobs: a key, a sliding window, an aggregate function. */
public final class FlinkIdiomatic {
    private FlinkIdiomatic() {}

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = Sources.environment(false);
        DataStream<String> lines =
                Job.BROKERS == null
                        ? env.fromSource(Sources.files(new TextLineInputFormat()), WatermarkStrategy.noWatermarks(), "lines")
                        : env.fromSource(
                                Sources.topic(new SimpleStringSchema()), WatermarkStrategy.noWatermarks(), "lines");
        lines.map(new Parse())
                .assignTimestampsAndWatermarks(
                        WatermarkStrategy.<Request>forMonotonousTimestamps()
                                .withTimestampAssigner((request, before) -> request.eventTimeUs / 1000))
                .keyBy(request -> request.service + "|" + request.route)
                .window(SlidingEventTimeWindows.of(Duration.ofSeconds(Job.WINDOW_S), Duration.ofSeconds(1)))
                .aggregate(new Count(), new Say())
                .sinkTo(new DiscardingSink<>());
        env.execute("idiomatic");
    }

    static final class Parse extends RichMapFunction<String, Request> {
        private transient ObjectMapper mapper;

        @Override
        public void open(OpenContext context) {
            mapper = new ObjectMapper();
        }

        @Override
        public Request map(String line) throws Exception {
            return mapper.readValue(line, Request.class);
        }
    }

    static final class Count implements AggregateFunction<Request, Histogram, Histogram> {
        @Override
        public Histogram createAccumulator() {
            return new Histogram();
        }

        @Override
        public Histogram add(Request request, Histogram to) {
            to.add(Buckets.of(request.latencyUs), request.status >= 500);
            return to;
        }

        @Override
        public Histogram getResult(Histogram it) {
            return it;
        }

        @Override
        public Histogram merge(Histogram one, Histogram other) {
            one.add(other);
            return one;
        }
    }

    /** Writes rows itself, so that no sink's buffers are lost when the job ends by {@link Job.Rows}. */
    static final class Say extends ProcessWindowFunction<Histogram, String, String, TimeWindow> {
        private transient Job.Rows rows;

        @Override
        public void open(OpenContext context) {
            rows = new Job.Rows(getRuntimeContext().getTaskInfo().getIndexOfThisSubtask());
        }

        @Override
        public void process(String key, Context context, Iterable<Histogram> windows, Collector<String> out) {
            for (Histogram it : windows) {
                rows.window(context.window().getEnd() / 1000, key, it.requests, it.errors, it.p99());
            }
        }
    }
}
