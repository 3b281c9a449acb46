package peers;

/** A log-linear histogram's buckets: 64 to every power of two, so that their middle is off by 1/128 at most. */
final class Buckets {
    private Buckets() {}

    static int of(long value) {
        if (value < 64) {
            return (int) value;
        }
        int power = 63 - Long.numberOfLeadingZeros(value);
        return 64 * (power - 5) + (int) (value >> (power - 6) & 63);
    }

    static long middle(int bucket) {
        if (bucket < 64) {
            return bucket;
        }
        int power = (bucket - 64) / 64;
        return (64L + (bucket - 64) % 64 << power) + (1L << power) / 2;
    }

    /** How many values are above the 99th percentile, which is the nearest rank, ⌈0.99 n⌉. */
    static long above(long count) {
        return count - (count * 99 + 99) / 100;
    }
}
