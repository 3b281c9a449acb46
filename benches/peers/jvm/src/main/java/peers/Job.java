package peers;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/** What is to be done, as the environment tells every peer (see job.py). */
final class Job {
    static final String[] FILES = System.getenv().getOrDefault("PEERS_FILES", "").split(":");
    /** None: the files are read, and not the topic. */
    static final String BROKERS = System.getenv("PEERS_BROKERS");
    static final String TOPIC = System.getenv("PEERS_TOPIC");
    static final long EVENTS = Long.parseLong(System.getenv("PEERS_EVENTS"));
    /** The end of the last window that counts, s. */
    static final long END_S = Long.parseLong(System.getenv("PEERS_END_S"));
    static final int WORKERS = 2;
    static final int WINDOW_S = 60;

    private Job() {}

    /** The rows of one worker, in a file of its own. */
    static final class Rows {
        private static final String ROUTE = System.getenv().getOrDefault("PEERS_ROUTE", "");
        private static final AtomicInteger UNFINISHED = new AtomicInteger(WORKERS);
        private BufferedWriter out;

        Rows(int worker) {
            try {
                out = Files.newBufferedWriter(Path.of(System.getenv("PEERS_OUT") + "." + worker));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Takes every window; those of the routes that are asked for are written. The key is {@code service|route}. */
        void window(long endS, String key, long requests, long errors, long p99Us) {
            if (endS > Job.END_S) {
                // What only the end of the input makes fire is not part of the job: once every worker is there, it is done.
                finish();
            } else if (key.endsWith(ROUTE)) {
                try {
                    out.write(endS + "," + key.replace('|', ',') + "," + requests + "," + errors + "," + p99Us + "\n");
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
        }

        void close() {
            try {
                if (out != null) {
                    out.close();
                }
                out = null;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private void finish() {
            if (out != null) {
                close();
                if (UNFINISHED.decrementAndGet() == 0) {
                    Runtime.getRuntime().halt(0);
                }
            }
        }
    }
}
