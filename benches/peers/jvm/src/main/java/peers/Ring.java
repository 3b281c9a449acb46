package peers;

import java.util.ArrayDeque;
import java.util.Arrays;

/**
 * The minute of a key: what came in second by second, and the running sum of the seconds in the window. A second joins
 * the sum when it is complete and leaves it a minute later, so a window's end costs what two seconds hold, and no more.
 */
final class Ring {
    /** A minute, and room for seconds that are not complete yet: for what one partition is ahead of another. */
    private static final int SECONDS = 128;

    final String key;
    /** Everything before is in the sum, or was. */
    long nextS;
    long requests;
    private long errors;
    private final char[][] buckets = new char[SECONDS][];
    private final int[] counts = new int[SECONDS];
    private final int[] errorCounts = new int[SECONDS];
    private int pending;
    /** What came in before the ring had room for it. */
    private final ArrayDeque<long[]> ahead = new ArrayDeque<>(0);
    /** Of the window, the counts of the buckets from {@code first} on. */
    private int[] sum = new int[0];
    private int first;

    Ring(String key, long nextS) {
        this.key = key;
        this.nextS = nextS;
    }

    boolean isIdle() {
        return requests == 0 && pending == 0;
    }

    void add(long second, long latencyUs, boolean isError) {
        pending++;
        if (second - nextS >= SECONDS - Job.WINDOW_S) {
            ahead.add(new long[] {second, latencyUs, isError ? 1 : 0});
        } else {
            keep(second, latencyUs, isError);
        }
    }

    private void keep(long second, long latencyUs, boolean isError) {
        int at = (int) (second % SECONDS);
        char[] list = buckets[at];
        if (list == null) {
            list = buckets[at] = new char[4];
        } else if (list.length == counts[at]) {
            list = buckets[at] = Arrays.copyOf(list, list.length * 2);
        }
        list[counts[at]++] = (char) Buckets.of(latencyUs);
        errorCounts[at] += isError ? 1 : 0;
    }

    /** The second {@code nextS} is complete: brings the window to its end, and says it. */
    void close(Job.Rows rows) {
        int in = (int) (nextS % SECONDS);
        int out = (int) ((nextS - Job.WINDOW_S) % SECONDS);
        for (int i = 0; i < counts[in]; i++) {
            count(buckets[in][i]);
        }
        pending -= counts[in];
        for (int i = 0; i < counts[out]; i++) {
            sum[buckets[out][i] - first]--;
        }
        requests += counts[in] - counts[out];
        errors += errorCounts[in] - errorCounts[out];
        counts[out] = 0;
        errorCounts[out] = 0;
        nextS++;
        while (!ahead.isEmpty() && ahead.peek()[0] - nextS < SECONDS - Job.WINDOW_S) {
            long[] sample = ahead.poll();
            keep(sample[0], sample[1], sample[2] > 0);
        }
        if (requests > 0) {
            rows.window(nextS, key, requests, errors, p99());
        }
    }

    private void count(int bucket) {
        if (sum.length == 0) {
            first = Math.max(0, bucket - 32);
            sum = new int[64];
        } else if (bucket < first) {
            int lower = Math.max(0, bucket - 32);
            int[] wider = new int[sum.length + first - lower];
            System.arraycopy(sum, 0, wider, first - lower, sum.length);
            first = lower;
            sum = wider;
        }
        if (bucket - first >= sum.length) {
            sum = Arrays.copyOf(sum, bucket - first + 32);
        }
        sum[bucket - first]++;
    }

    private long p99() {
        long above = Buckets.above(requests);
        int at = sum.length - 1;
        for (long seen = sum[at]; seen <= above; seen += sum[at]) {
            at--;
        }
        return Buckets.middle(first + at);
    }
}
