//! Reads whole epochs out of a source: the records between two cuts, neither more nor less.

use crate::ports::{PortError, Share, Source};
use evenkeel_dataflows::{Batch, Engine};
use evenkeel_schemas::{Binding, Cut};
use std::time::{Duration, Instant};

/// Records asked for at a time.
const POLL_RECORDS: usize = 50_000;

/// Records that a binding names are gone if they do not come within.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads epochs in order; holds what was polled and lies beyond the last cut.
pub struct EpochReader<'s, S> {
    source: &'s mut S,
    /// Polled batches, and how many of their records were given out.
    held: Vec<(Batch, usize)>,
    at: Cut,
}

impl<'s, S: Source> EpochReader<'s, S> {
    /// Starts at a cut.
    ///
    /// # Errors
    /// What the source says.
    pub fn new(source: &'s mut S, from: &Cut) -> Result<Self, PortError> {
        source.seek(from)?;
        Ok(Self { source, held: Vec::new(), at: from.clone() })
    }

    /// Gives every record up to `upper` to `each`.
    ///
    /// # Errors
    /// What the source or `each` says; `Fatal` if the records are no longer there.
    pub fn read(&mut self, upper: &Cut, mut each: impl FnMut(Batch) -> Result<(), PortError>) -> Result<(), PortError> {
        let started = Instant::now();
        loop {
            self.give(upper, &mut each)?;
            let mut missing = upper.0.iter().filter(|(partition, next)| self.at.next_offset(**partition) < **next);
            let Some((partition, next)) = missing.next() else { return Ok(()) };
            if started.elapsed() > PATIENCE {
                let what = format!("records of {} before offset {next} are gone", partition.topic.name());
                return Err(PortError::Fatal(format!(
                    "{what}, and a binding names them: keep inputs as long as bindings"
                )));
            }
            let polled = self.source.poll(POLL_RECORDS, Duration::from_millis(100))?;
            self.held.extend(polled.batches.into_iter().map(|batch| (batch, 0)));
        }
    }

    /// Gives out what is held below `upper`.
    fn give(&mut self, upper: &Cut, each: &mut impl FnMut(Batch) -> Result<(), PortError>) -> Result<(), PortError> {
        for (batch, given) in &mut self.held {
            let to = batch.count_below(upper.next_offset(batch.partition));
            if to > *given {
                let part = batch.slice(*given, to - *given);
                self.at.0.extend(part.next_offset().map(|next| (part.partition, next)));
                each(part)?;
                *given = to;
            }
        }
        self.held.retain(|(batch, given)| *given < batch.len());
        Ok(())
    }
}

/// Feeds the records of `bindings` after the first one again, each epoch exactly as it was.
pub(super) fn reread(
    source: &mut impl Source,
    engine: &mut Engine,
    bindings: &[Binding],
    share: Share,
) -> Result<(), PortError> {
    let Some((first, rest)) = bindings.split_first() else { return Ok(()) };
    let mut reader = EpochReader::new(source, &share.part(&first.upper))?;
    for binding in rest {
        reader.read(&share.part(&binding.upper), |batch| Ok(engine.push(batch)?))?;
        engine.close(binding.clone())?;
    }
    Ok(())
}
