//! Which ticks a window holds, which of them it keeps a total of, and which slots make up a span of ticks.

use crate::tuning::{SLOT_WIDTHS_S, WINDOWS};
use std::ops::Range;

/// The shortest window, which follows every tick.
pub(crate) const RECENT: usize = 0;
/// By this window a key is judged that has too few requests for the shortest one.
pub(crate) const TRICKLE: usize = 2;
/// The longest window; what it keeps is what a key is usually like.
pub(crate) const LONGEST: usize = WINDOWS.len() - 1;
/// An anomaly shall not be part of what it is measured against: the longest window keeps nothing of the last minute.
pub(crate) const UNUSUAL_S: i64 = 60;

/// The first tick a window holds when `open_tick` is the first open one.
pub(crate) fn tail_tick(window: usize, open_tick: i64) -> i64 {
    let spec = &WINDOWS[window];
    (open_tick - spec.length_s).div_euclid(spec.slot_s) * spec.slot_s
}

/// The ticks whose total a window keeps when `open_tick` is the first open one; besides the shortest one the window
/// `said` follows every tick, unless it is the longest.
pub(crate) fn kept(window: usize, open_tick: i64, said: usize) -> Range<i64> {
    let (tail, tens) = (tail_tick(window, open_tick), open_tick.div_euclid(10) * 10);
    let end = match window {
        RECENT => open_tick,
        LONGEST => tens - UNUSUAL_S,
        _ if window == said => open_tick,
        _ if WINDOWS[window].slot_s > 1 => tens,
        _ => tail,
    };
    tail..end
}

/// What a key of a short history is compared with when `open_tick` is the first open one: what the longest window keeps and
/// up to ten seconds more, by whole slots.
pub(crate) fn young(open_tick: i64) -> Range<i64> {
    tail_tick(LONGEST, open_tick)..(open_tick - UNUSUAL_S + 9).div_euclid(10) * 10
}

/// The widest closed slots that make up `ticks`, as (index in [`SLOT_WIDTHS_S`], slot number).
pub(crate) fn cover(ticks: Range<i64>) -> impl Iterator<Item = (usize, i64)> {
    let mut tick = ticks.start;
    std::iter::from_fn(move || {
        let fits = |width_s: &i64| tick.rem_euclid(*width_s) == 0 && tick + width_s <= ticks.end;
        let width = SLOT_WIDTHS_S.iter().rposition(fits)?;
        let number = tick.div_euclid(SLOT_WIDTHS_S[width]);
        tick += SLOT_WIDTHS_S[width];
        Some((width, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_spans_begin_where_their_window_does_and_move_by_whole_slots() {
        for open_tick in 1_795_246_400..1_795_246_400 + 7_300 {
            for (window, said) in (0..WINDOWS.len()).flat_map(|window| [(window, RECENT), (window, window)]) {
                let spec = &WINDOWS[window];
                let (old, new) = (kept(window, open_tick - 1, said), kept(window, open_tick, said));
                assert_eq!(new.start, tail_tick(window, open_tick));
                assert!(new.end <= open_tick && old.end <= new.end);
                let width_s = |(width, _): (usize, i64)| SLOT_WIDTHS_S[width];
                assert!(cover(old.start..new.start).all(|slot| width_s(slot) == spec.slot_s));
                assert_eq!(cover(new.end..open_tick).map(width_s).sum::<i64>(), open_tick - new.end);
            }
        }
    }
}
