//! The table of orders: how its changes look in Debezium's envelope.

use super::random::{Quantiles, Random};
use std::collections::VecDeque;

/// Orders that may still change; older ones rest.
const LIVE_ORDERS: usize = 64;

/// Mean gap between changes, µs.
const MEAN_GAP_US: u64 = 250_000;

const STATUSES: [&str; 3] = ["new", "paid", "shipped"];

#[derive(Clone, Debug)]
struct Order {
    id: u64,
    customer: u64,
    total_cents: u64,
    status: usize,
}

impl Order {
    fn json(&self) -> String {
        let Self { id, customer, total_cents, status } = self;
        let status = STATUSES[*status];
        format!(r#"{{"order_id":{id},"customer_id":{customer},"total_cents":{total_cents},"status":"{status}"}}"#)
    }
}

/// The orders table and who changes it.
pub(super) struct Orders {
    random: Random,
    gaps: Quantiles,
    live: VecDeque<Order>,
    next_id: u64,
    transaction: u64,
}

/// A change: the record's key and value; a deletion is followed by a tombstone with the same key.
pub(super) struct OrderChange {
    pub key: String,
    pub value: String,
    pub tombstone: bool,
}

impl Orders {
    pub fn new(seed: u64) -> Self {
        let (random, gaps) = (Random::new(seed, 3), Quantiles::exponential());
        Self { random, gaps, live: VecDeque::new(), next_id: 1001, transaction: 7001 }
    }

    /// How long until the next change, µs.
    pub fn gap_us(&mut self) -> i64 {
        self.gaps.draw(self.random.next(), MEAN_GAP_US).max(1) as i64
    }

    /// The next change: of ten, five are new orders, four move on, one is withdrawn.
    pub fn change(&mut self, now_us: i64) -> OrderChange {
        let choice = self.random.below(10);
        let picked = self.random.below(self.live.len().max(1) as u64) as usize;
        let (id, before, after) = match self.live.get_mut(picked) {
            Some(order) if (5..9).contains(&choice) && order.status + 1 < STATUSES.len() => {
                let before = order.json();
                order.status += 1;
                (order.id, Some(before), Some(order.json()))
            }
            Some(_) if choice == 9 => {
                let order = self.live.remove(picked).expect("picked from the live ones");
                (order.id, Some(order.json()), None)
            }
            _ => {
                let order = self.open();
                (order.id, None, Some(order.json()))
            }
        };
        self.transaction += 1;
        let tombstone = after.is_none();
        OrderChange {
            key: format!(r#"{{"order_id":{id}}}"#),
            value: envelope(before, after, self.transaction, now_us),
            tombstone,
        }
    }

    fn open(&mut self) -> Order {
        let customer = 1 + self.random.below(500);
        let total_cents = 500 + self.random.below(20_000);
        let order = Order { id: self.next_id, customer, total_cents, status: 0 };
        self.next_id += 1;
        self.live.push_back(order.clone());
        if self.live.len() > LIVE_ORDERS {
            self.live.pop_front();
        }
        order
    }
}

fn envelope(before: Option<String>, after: Option<String>, transaction: u64, now_us: i64) -> String {
    let op = match (&before, &after) {
        (None, _) => "c",
        (Some(_), Some(_)) => "u",
        (Some(_), None) => "d",
    };
    let row = |row: Option<String>| row.unwrap_or_else(|| "null".to_owned());
    let (before, after, now_ms) = (row(before), row(after), now_us / 1000);
    format!(
        concat!(
            r#"{{"before":{},"after":{},"source":{{"version":"3.0.0.Final","connector":"postgresql","name":"shop","#,
            r#""ts_ms":{},"ts_us":{},"db":"shop","schema":"public","table":"orders","txId":{}}},"op":"{}","ts_ms":{}}}"#
        ),
        before, after, now_ms, now_us, transaction, op, now_ms
    )
}
