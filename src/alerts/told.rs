//! [`Told`]: what a receiver was told of an alert.

use super::decision::Reason;
use serde::{Deserialize, Serialize};

/// What a receiver was told of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Pages that were told; 0: it knows nothing of it.
    pub pages: u32,
    /// How many messages it had.
    #[serde(default)]
    pub messages: u32,
    /// When it was told last.
    pub at_us: i64,
    /// It knows, or need not know, that it is over.
    pub is_ended: bool,
    pub is_acknowledged: bool,
    /// It was told with others.
    pub is_grouped: bool,
    /// Why it was not told, the last time that was decided.
    pub reason: Option<Reason>,
}

impl Told {
    /// It was over before the receiver was one.
    pub const OVER: Self = Self {
        pages: 0,
        messages: 0,
        at_us: 0,
        is_ended: true,
        is_acknowledged: false,
        is_grouped: false,
        reason: Some(Reason::BeforeStart),
    };

    /// Whether it knows of an alert, and not of its end.
    pub fn is_unfinished(&self) -> bool {
        self.pages > 0 && !self.is_ended
    }
}
