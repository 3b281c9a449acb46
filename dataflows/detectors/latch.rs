//! m-of-n hysteresis: what must persist before it is said, and be gone for good before it is unsaid.

use serde::{Deserialize, Serialize};

/// The last judgements of one rule about one key, and whether it fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch<T> {
    /// One bit a judged tick, the newest lowest; 1 where the limit was passed.
    bits: u32,
    /// What was said when it fired; `None` while it does not.
    said: Option<T>,
    /// The guard that holds it back, once that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

impl<T> Default for Latch<T> {
    fn default() -> Self {
        Self { bits: 0, said: None, held: None }
    }
}

/// What a judgement changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// It fires from now on.
    Fire,
    /// It no longer fires; this was said when it began.
    Clear(T),
    /// The limit was passed, and it did not fire: not often enough yet.
    Pending,
    /// Nothing to say.
    Quiet,
}

impl<T: Clone> Latch<T> {
    /// What was said when it fired, if it does.
    pub fn said(&self) -> Option<&T> {
        self.said.as_ref()
    }

    /// Takes in a judgement: fires at `persist` of the last `of` judgements, clears when none of them passed the limit.
    pub fn judge(&mut self, passed: bool, persist: u32, of: u32) -> Turn<T> {
        let mask = u32::MAX >> (32 - of.clamp(1, 32));
        self.bits = (self.bits << 1 | u32::from(passed)) & mask;
        match &self.said {
            None if self.bits.count_ones() >= persist => Turn::Fire,
            None if passed => Turn::Pending,
            Some(_) if self.bits == 0 => self.clear().map_or(Turn::Quiet, Turn::Clear),
            _ => Turn::Quiet,
        }
    }

    /// Remembers what was said about the anomaly that began; from now on `of` quiet judgements end it.
    pub fn fire(&mut self, said: T) {
        self.bits = u32::MAX;
        self.said = Some(said);
        self.held = None;
    }

    /// Whether the newest judgement passed the limit.
    pub fn passed(&self) -> bool {
        self.bits & 1 == 1
    }

    /// Puts other words in the place of what was said when it fired, if it does.
    pub fn reword(&mut self, said: T) {
        if let Some(before) = &mut self.said {
            *before = said;
        }
    }

    /// Whether a guard is worth a word: it holds the rule back, and was not the one that did so last.
    pub fn hold(&mut self, guard: Option<&str>) -> bool {
        let news = guard.is_some() && self.held.as_deref() != guard;
        self.held = guard.map(str::to_owned);
        news
    }

    /// Ends the anomaly, if there is one; returns what was said when it began.
    pub fn clear(&mut self) -> Option<T> {
        (self.bits, self.held) = (0, None);
        self.said.take()
    }
}
