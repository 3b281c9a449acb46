//! Times as RFC 3339 has them.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::temporal_conversions::timestamp_us_to_datetime;

/// A time in µs since the Unix epoch as RFC 3339, UTC, with milliseconds.
pub fn rfc3339(us: i64) -> String {
    format(us, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// The same as RSS wants it (RFC 822, four-digit year).
pub fn rfc822(us: i64) -> String {
    format(us, "%a, %d %b %Y %H:%M:%S +0000")
}

fn format(us: i64, pattern: &str) -> String {
    let time = timestamp_us_to_datetime(us).unwrap_or_default();
    time.format(pattern).to_string()
}

/// µs since the Unix epoch of a time in RFC 3339; `None` if it is none.
pub fn parse(text: &str) -> Option<i64> {
    string_to_timestamp_nanos(text).ok().map(|nanos| nanos.div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(rfc3339(1_767_225_666_166_599), "2026-01-01T00:01:06.166Z");
        assert_eq!(rfc822(1_767_225_666_166_599), "Thu, 01 Jan 2026 00:01:06 +0000");
        assert_eq!(parse("2026-01-01T00:01:06.166Z"), Some(1_767_225_666_166_000));
        assert_eq!(parse("2026-01-01T01:01:06+01:00"), Some(1_767_225_666_000_000));
        assert_eq!(parse("tomorrow"), None);
    }
}
