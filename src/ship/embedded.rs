//! Lines into the embedded log, for runs without a broker.

use super::sink::{Delivery, Progress, Sink};
use crate::embedded::InputWriter;
use crate::ports::{Clock, SystemClock};
use evenkeel_schemas::{Partition, Topic};
use std::path::Path;
use std::time::Duration;

/// Lines as records of partition 0 of one topic.
pub struct EmbeddedSink {
    inputs: InputWriter,
    partition: Partition,
    written: u64,
    progress: Progress,
}

impl EmbeddedSink {
    /// Lines go into the data directory `directory`.
    pub fn new(directory: &Path, topic: Topic) -> Self {
        let (inputs, partition) = (InputWriter::new(directory), Partition { topic, partition: 0 });
        Self { inputs, partition, written: 0, progress: Progress::default() }
    }
}

impl Sink for EmbeddedSink {
    fn send(&mut self, line: &[u8]) -> Delivery {
        // Flushed line by line: at low rates nobody else would.
        let appended = self.inputs.append(self.partition, SystemClock.now_us(), b"", line);
        match appended.and_then(|()| self.inputs.flush()) {
            Ok(()) => {
                self.written += 1;
                Delivery::Taken
            }
            Err(error) => {
                tracing::warn!(%error, "a line was refused");
                Delivery::Refused
            }
        }
    }

    fn progress(&mut self) -> Progress {
        self.progress.delivered = self.written;
        self.progress
    }

    fn flush(&mut self, _within: Duration) {
        if let Err(error) = self.inputs.sync() {
            tracing::warn!(%error, "writing lines");
        }
        self.progress.delivered = self.written;
    }
}
