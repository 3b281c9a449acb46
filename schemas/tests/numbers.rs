//! The tally is a group, quantiles keep their error bound, varints and tallies survive the trip.
#![expect(clippy::unwrap_used, reason = "tests")]

use evenkeel_schemas::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;

/// Seeds are printed with a failure; nothing is written to disk.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn varints_beyond_64_bits_are_refused() {
    let ten = |last: u8| [[0xff; 9].as_slice(), &[last]].concat();
    assert_eq!(read_varint(&mut ten(1).as_slice()), Some(u64::MAX));
    assert_eq!(read_varint(&mut ten(2).as_slice()), None);
    assert_eq!(read_varint(&mut ten(0x81).as_slice()), None);
}

#[test]
fn buckets_that_do_not_exist_are_refused() {
    // No requests, errors, sum; one bucket after so many others, counted once.
    let add = |skipped: u64| {
        let mut bytes = vec![0, 0, 0, 1, 0xf1];
        write_varint(&mut bytes, skipped - 15);
        Tally::default().add_encoded(&mut bytes.as_slice(), 1)
    };
    let last = u64::from(BUCKETS - 1);
    assert_eq!([last, last + 1, 1 << 16, u64::MAX].map(add), [Some(()), None, None, None]);
    // Two buckets, the second one after the last there is.
    let bytes = [0, 0, 0, 2, 0xf1, 0xb0, 0x0f, 0x01];
    assert_eq!(Tally::default().add_encoded(&mut bytes.as_slice(), 1), None);
    assert_eq!(Tally::default().add_encoded(&mut [&[0, 0, 0, 1], &bytes[4..]].concat().as_slice(), 1), Some(()));
}

/// Latencies over all magnitudes, not just the large ones that a uniform draw gives.
fn latency() -> impl Strategy<Value = u32> {
    (0..=MAX_LATENCY_US, 0u32..32).prop_map(|(value, shift)| value >> shift)
}

fn tally() -> impl Strategy<Value = Tally> {
    let counted = vec((latency(), any::<bool>()), 0..40).prop_map(|requests| {
        let mut tally = Tally::default();
        requests.iter().for_each(|(latency_us, is_error)| tally.count(*latency_us, *is_error));
        tally
    });
    let wild = (any::<[i64; 3]>(), vec((0..BUCKETS, any::<i64>()), 0..10)).prop_map(|(numbers, buckets)| {
        let [requests, errors, latency_sum_us] = numbers;
        let mut tally = Tally { requests, errors, latency_sum_us, ..Tally::default() };
        buckets.iter().for_each(|(bucket, count)| tally.histogram.add(*bucket, *count));
        tally
    });
    prop_oneof![3 => counted, 1 => wild]
}

fn sum(terms: &[(&Tally, i64)]) -> Tally {
    let mut sum = Tally::default();
    terms.iter().for_each(|(tally, sign)| sum.add(tally, *sign));
    sum
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn random_bytes_are_no_tally_or_exactly_one(bytes in vec(any::<u8>(), 0..100), sign in any::<i64>()) {
        let (mut rest, mut tally) = (bytes.as_slice(), Tally::default());
        if tally.add_encoded(&mut rest, sign).is_some() {
            let (used, mut back) = (&bytes[..bytes.len() - rest.len()], tally.clone());
            back.add_encoded(&mut &*used, sign.wrapping_neg()).unwrap();
            prop_assert!(back.is_zero());
        }
        let _ = (tally.mean_us(), Statistics::from(&tally));
    }

    #[test]
    fn varints_survive(value in any::<u64>(), shift in 0u32..64, after in vec(any::<u8>(), 0..3)) {
        let value = value >> shift;
        let mut bytes = Vec::new();
        write_varint(&mut bytes, value);
        prop_assert_eq!(bytes.len(), (64 - value.leading_zeros()).max(1).div_ceil(7) as usize);
        prop_assert_eq!(read_varint(&mut &bytes[..bytes.len() - 1]), None);
        bytes.extend(&after);
        let mut rest = bytes.as_slice();
        prop_assert_eq!((read_varint(&mut rest), rest), (Some(value), after.as_slice()));
    }

    #[test]
    fn tallies_are_an_abelian_group(a in tally(), b in tally(), c in tally()) {
        prop_assert!(sum(&[(&a, 1), (&b, 1), (&a, -1), (&b, -1)]).is_zero());
        prop_assert_eq!(sum(&[(&a, 1), (&b, 1)]), sum(&[(&b, 1), (&a, 1)]));
        let (left, right) = (sum(&[(&a, 1), (&b, 1)]), sum(&[(&b, 1), (&c, 1)]));
        prop_assert_eq!(sum(&[(&left, 1), (&c, 1)]), sum(&[(&a, 1), (&right, 1)]));
        prop_assert_eq!(sum(&[(&a, 3)]), sum(&[(&a, 1), (&a, 1), (&a, 1)]));
        prop_assert_eq!(&sum(&[(&a, 1), (&Tally::default(), 1)]), &a);
        let difference = sum(&[(&a, 1), (&b, -1)]);
        prop_assert_eq!(a.histogram.minus(&b.histogram), difference.histogram);
    }

    #[test]
    fn tallies_survive(a in tally(), b in tally(), sign in select(&[1i64, -1][..])) {
        let difference = sum(&[(&a, 1), (&b, -1)]);
        let mut bytes = Vec::new();
        difference.encode(&mut bytes);
        let whole = bytes.len();
        a.encode(&mut bytes);
        let (mut rest, mut read) = (bytes.as_slice(), b.clone());
        read.add_encoded(&mut rest, sign).unwrap();
        prop_assert_eq!(read, sum(&[(&b, 1), (&difference, sign)]));
        prop_assert_eq!(rest, &bytes[whole..], "exactly one tally is taken");
        for end in 0..whole {
            prop_assert_eq!(Tally::default().add_encoded(&mut &bytes[..end], 1), None);
        }
    }

    #[test]
    fn histograms_hold_little_more_than_their_range(values in vec(latency(), 1..60)) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(bucket_of(u64::from(*value)), 1));
        let buckets: Vec<_> = values.iter().map(|value| bucket_of(u64::from(*value))).collect();
        let (low, high) = (*buckets.iter().min().unwrap(), *buckets.iter().max().unwrap());
        prop_assert!(histogram.range().contains(&low) && histogram.range().end == high + 1);
        prop_assert!(low - histogram.range().start <= 8);
        histogram.clear();
        prop_assert!(histogram.is_zero() && histogram.quantile(500).is_none());
    }

    #[test]
    fn histograms_count_like_a_map(
        counts in vec((0..300u16, prop_oneof![-3i64..4, -40_000i64..40_000, any::<i64>()]), 0..260)
    ) {
        let (mut histogram, mut map) = (Histogram::default(), BTreeMap::<u16, i64>::new());
        for (bucket, count) in counts {
            histogram.add(bucket, count);
            let sum = map.entry(bucket).or_default();
            *sum = sum.wrapping_add(count);
            prop_assert!(histogram.iter().eq(map.iter().map(|(bucket, sum)| (*bucket, *sum)).filter(|(_, sum)| *sum != 0)));
        }
    }

    #[test]
    fn quantiles_are_found_where_a_walk_over_the_buckets_finds_them(
        counts in vec((0..200u16, -2i64..9), 1..250), times in select(&[1i64, 10_000][..]), q in 0..1001u32
    ) {
        let mut histogram = Histogram::default();
        let counts = counts.into_iter().map(|(bucket, count)| (bucket, count * times)).collect::<Vec<_>>();
        counts.iter().for_each(|(bucket, count)| histogram.add(*bucket, *count));
        let total = counts.iter().map(|(_, count)| count).sum::<i64>();
        let (rank, mut seen) = (((total * i64::from(q) + 999) / 1000).max(1), 0);
        let reaches = |(_, count): &(u16, i64)| {
            seen += count;
            seen >= rank
        };
        let found = histogram.iter().find(reaches).map(|(bucket, _)| value_of(bucket));
        prop_assert_eq!(histogram.quantile(q), found.filter(|_| total > 0));
    }

    #[test]
    fn quantiles_are_within_a_128th(values in vec(latency(), 1..400), mut per_mille in any::<[Index; 3]>()) {
        let mut tally = Tally::default();
        values.iter().for_each(|value| tally.count(*value, false));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        per_mille.sort_by_key(|q| q.index(1001));
        let per_mille = per_mille.map(|q| q.index(1001) as u32);
        let estimates = tally.histogram.quantiles(per_mille).unwrap();
        for (q, estimate) in per_mille.into_iter().zip(estimates) {
            let rank = (values.len() * q as usize).div_ceil(1000).max(1);
            let exact = u64::from(sorted[rank - 1]);
            prop_assert!(estimate.abs_diff(exact) * 128 <= exact, "{q} ‰: {estimate} for {exact}");
            prop_assert_eq!(tally.histogram.quantile(q), Some(estimate));
        }
        let total: i64 = values.iter().map(|value| i64::from(*value)).sum();
        prop_assert_eq!(tally.mean_us(), total / values.len() as i64);
    }
}

#[test]
fn buckets_cover_everything_once_and_in_order() {
    let edges = (0..40).flat_map(|power| (0..130u64).map(move |step| (1 << power) + ((step << power) >> 7)));
    let mut values: Vec<_> = (0..5000).chain(edges).chain([u64::MAX]).collect();
    values.sort_unstable();
    assert!(values.is_sorted_by_key(|value| bucket_of(*value)));
    for bucket in 0..BUCKETS {
        assert_eq!(bucket_of(value_of(bucket)), bucket, "a bucket's middle lies in it");
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    assert_eq!(value_of(u16::MAX), value_of(BUCKETS - 1));
}
