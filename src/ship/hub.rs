//! What all inputs of one run share: the sink, the counts, and how long a full sink is waited for.

use super::lines::{Framed, Framer};
use super::sink::{Delivery, Sink};
use super::{Report, ShipOptions};
use crate::mask::Masks;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A full sink that delivered nothing for this long is taken for down.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// How often a full sink is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(2);

/// What an input does while the sink is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Waits: a file does not run away.
    Endless,
    /// Waits while lines are delivered, as that makes room; drops lines while nothing is, so that the sender goes on.
    WhileDelivering,
}

pub(super) struct Hub {
    max_line_bytes: usize,
    shared: Mutex<Shared>,
}

struct Shared {
    masks: Masks,
    sink: Box<dyn Sink>,
    counts: Report,
    /// How much was delivered when that was last found to have grown, and when.
    delivering: (u64, Instant),
}

impl Hub {
    pub(super) fn new(sink: Box<dyn Sink>, options: ShipOptions) -> Self {
        let ShipOptions { max_line_bytes, masks } = options;
        let shared = Shared { masks, sink, counts: Report::default(), delivering: (0, Instant::now()) };
        Self { max_line_bytes, shared: Mutex::new(shared) }
    }

    pub(super) fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.shared().counts);
    }

    /// The counts as of now.
    pub(super) fn report(&self) -> Report {
        let mut shared = self.shared();
        let progress = shared.sink.progress();
        let masked = shared.masks.counts().map(|(_, count)| count).sum();
        Report { delivered: progress.delivered, lost: progress.lost, masked, ..shared.counts }
    }

    /// Logs how often each rule found something.
    pub(super) fn log_masks(&self) {
        self.shared().masks.counts().for_each(|(rule, found)| tracing::info!(rule, found, "masked"));
    }

    pub(super) fn flush(&self, within: Duration) {
        self.shared().sink.flush(within);
    }

    /// Offers every line that ends in `input`.
    pub(super) async fn offer_all(&self, framer: &mut Framer, mut input: &[u8], patience: Patience) {
        while let Some(framed) = framer.next(&mut input) {
            self.offer(framed, patience).await;
        }
    }

    /// Offers what came after the last line end.
    pub(super) async fn offer_rest(&self, framer: &mut Framer, patience: Patience) {
        if let Some(framed) = framer.finish() {
            self.offer(framed, patience).await;
        }
    }

    async fn offer(&self, framed: Framed<'_>, patience: Patience) {
        let line = match framed {
            Framed::Line([]) => return,
            Framed::Line(line) => line,
            Framed::TooLong => {
                return self.count(|counts| {
                    counts.lines += 1;
                    counts.too_long += 1;
                });
            }
        };
        self.count(|counts| counts.lines += 1);
        let line = self.shared().masks.apply(line);
        while !self.settled(&line, patience) {
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// Whether the line was taken, refused or dropped; if not, it is to be offered again.
    fn settled(&self, line: &[u8], patience: Patience) -> bool {
        let mut shared = self.shared();
        match shared.sink.send(line) {
            Delivery::Taken => {}
            Delivery::Refused => shared.counts.refused += 1,
            Delivery::Full if patience == Patience::Endless || !shared.stalled() => return false,
            Delivery::Full => shared.counts.dropped += 1,
        }
        true
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics while holding it")
    }
}

impl Shared {
    /// Whether nothing was delivered for a while.
    fn stalled(&mut self) -> bool {
        let delivered = self.sink.progress().delivered;
        if delivered != self.delivering.0 {
            self.delivering = (delivered, Instant::now());
        }
        self.delivering.1.elapsed() >= STALLED_AFTER
    }
}
