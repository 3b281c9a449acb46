package peers;

import java.util.Arrays;

/** Requests, errors and latencies of a key: a list of buckets while there are few, counts by bucket when there are many. */
public final class Histogram {
    private static final int FEW = 64;

    long requests;
    long errors;
    private char[] few = new char[8];
    /** Counts of the buckets from {@code first} on; none while the list will do. */
    private int[] many;
    private int first;

    void add(int bucket, boolean isError) {
        if (many != null) {
            count(bucket);
        } else if (requests < FEW) {
            if (requests == few.length) {
                few = Arrays.copyOf(few, few.length * 2);
            }
            few[(int) requests] = (char) bucket;
        } else {
            many = new int[0];
            for (char one : few) {
                count(one);
            }
            count(bucket);
            few = null;
        }
        requests++;
        errors += isError ? 1 : 0;
    }

    void add(Histogram other) {
        long sumErrors = errors + other.errors;
        for (int i = 0; other.many == null && i < other.requests; i++) {
            add(other.few[i], false);
        }
        for (int i = 0; other.many != null && i < other.many.length; i++) {
            for (int n = 0; n < other.many[i]; n++) {
                add(other.first + i, false);
            }
        }
        errors = sumErrors;
    }

    private void count(int bucket) {
        if (many.length == 0) {
            first = Math.max(0, bucket - 8);
            many = new int[64];
        } else if (bucket < first) {
            int lower = Math.max(0, bucket - 8);
            int[] wider = new int[many.length + first - lower];
            System.arraycopy(many, 0, wider, first - lower, many.length);
            first = lower;
            many = wider;
        }
        if (bucket - first >= many.length) {
            many = Arrays.copyOf(many, Math.max(bucket - first + 1, many.length * 3 / 2));
        }
        many[bucket - first]++;
    }

    long p99() {
        if (requests == 0) {
            return 0;
        }
        long above = Buckets.above(requests);
        if (many == null) {
            char[] sorted = Arrays.copyOf(few, (int) requests);
            Arrays.sort(sorted);
            return Buckets.middle(sorted[(int) (requests - 1 - above)]);
        }
        int at = many.length - 1;
        for (long seen = many[at]; seen <= above; seen += many[at]) {
            at--;
        }
        return Buckets.middle(first + at);
    }
}
