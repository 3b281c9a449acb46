//! The table against the chain and against what was copied: the same rule for a row, a page, the whole.

use evenkeel_schemas::audit::{Break, Chain, Hash};
use evenkeel_schemas::mirror::Row;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The partition.
    pub partition: u32,
    /// The row's number.
    pub seq: u64,
    /// What was found, a code: `missing`, `tamper`, `forged`.
    pub op: &'static str,
    /// The same in words.
    pub what: &'static str,
}

/// Follows the rows of one partition.
pub struct Check {
    partition: u32,
    chain: Chain,
}

impl Check {
    /// From the first row on.
    pub fn new(origin: &str, partition: u32) -> Self {
        Self { partition, chain: Chain::new(origin, partition) }
    }

    /// The number that the next row must have.
    pub fn next_seq(&self) -> u64 {
        self.chain.next_seq()
    }

    /// Takes in the next row; what is wrong with it, if something is. Then goes on as if the row were right, so that one
    /// change is told once, where it was made.
    pub fn row(&mut self, row: &Result<Row, u64>) -> Option<Wrong> {
        let Ok(row) = row else {
            let seq = *row.as_ref().expect_err("just seen");
            let wrong = self.wrong(seq, "tamper", "a column holds what no entry can");
            self.chain = Chain::resume(self.partition, seq + 1, Hash::default());
            return Some(wrong);
        };
        let (seq, head) = (row.entry.seq, self.chain.head());
        // After a row without a hash nobody can say what was before.
        let knows_head = head != Hash::default();
        let linked = self.chain.follow(&row.entry, knows_head.then_some(&row.current_hash));
        let wrong = match linked {
            Ok(()) if knows_head && row.previous_hash != head => {
                Some(self.wrong(seq, "tamper", "its previous hash is not the hash before"))
            }
            Ok(()) => None,
            Err(Break::Sequence) => Some(self.wrong(self.next_seq(), "missing", "rows are missing from here on")),
            Err(Break::Link | Break::Partition) => {
                Some(self.wrong(seq, "tamper", "its hash is not that of its columns and the hash before"))
            }
        };
        self.chain = Chain::resume(self.partition, seq + 1, row.current_hash);
        wrong
    }

    /// After the last row: what is wrong with the end, if `next_seq` and `head` are what was copied.
    pub fn end(&self, next_seq: u64, head: Hash) -> Option<Wrong> {
        let (found, of) = (self.next_seq(), next_seq);
        if found < of {
            Some(self.wrong(found, "missing", "the last rows are missing from here on"))
        } else if found > of {
            Some(self.wrong(of, "forged", "nobody copied this row: the log has no such entry yet"))
        } else if self.chain.head() != head && of > 0 {
            Some(self.wrong(of - 1, "tamper", "the rows follow one another, and end in another hash than the log"))
        } else {
            None
        }
    }

    fn wrong(&self, seq: u64, op: &'static str, what: &'static str) -> Wrong {
        Wrong { partition: self.partition, seq, op, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::audit::{Entry, genesis, link};

    fn rows(count: u64) -> Vec<Row> {
        let (mut previous_hash, mut rows) = (genesis("evenkeel", 3), Vec::new());
        for seq in 0..count {
            let entry = Entry { partition: 3, seq, actor: format!("a{seq}"), payload: vec![1], ..Entry::default() };
            let current_hash = link(&entry.envelope(), &previous_hash);
            rows.push(Row { entry, previous_hash, current_hash });
            previous_hash = current_hash;
        }
        rows
    }

    /// Where something is wrong, when the log holds ten entries.
    fn found(rows: &[Row]) -> Vec<(u64, &'static str)> {
        let (mut check, head) = (Check::new("evenkeel", 3), self::rows(10)[9].current_hash);
        let mut wrong = rows.iter().filter_map(|row| check.row(&Ok(row.clone()))).collect::<Vec<_>>();
        wrong.extend(check.end(10, head));
        wrong.iter().map(|wrong| (wrong.seq, wrong.op)).collect()
    }

    #[test]
    fn what_is_whole_is_whole() {
        assert_eq!(found(&rows(10)), []);
    }

    #[test]
    fn every_change_of_a_row_is_found_where_it_was_made() {
        let changes: [fn(&mut Row); 5] = [
            |row| row.entry.actor.push('x'),
            |row| row.entry.payload[0] = 2,
            |row| row.entry.ts_us += 1,
            |row| row.previous_hash[0] ^= 1,
            |row| row.entry.epoch += 1,
        ];
        for change in changes {
            for at in 0..10 {
                let mut rows = rows(10);
                change(&mut rows[at]);
                assert_eq!(found(&rows), [(at as u64, "tamper")]);
            }
        }
        let mut other_hash = rows(10);
        other_hash[4].current_hash[0] ^= 1;
        assert_eq!(found(&other_hash), [(4, "tamper"), (5, "tamper")]);
    }

    #[test]
    fn rows_that_are_missing_forged_or_linked_anew_are_found() {
        let (mut missing, more) = (rows(10), rows(11));
        missing.remove(4);
        assert_eq!(found(&missing), [(4, "missing")]);
        assert_eq!(found(&rows(7)), [(7, "missing")]);
        assert_eq!(found(&[]), [(0, "missing")]);
        assert_eq!(found(&more), [(10, "forged")]);
        let mut linked_anew = rows(10);
        linked_anew[6].entry.actor.push('x');
        let mut previous_hash = linked_anew[5].current_hash;
        for row in &mut linked_anew[6..] {
            row.previous_hash = previous_hash;
            row.current_hash = link(&row.entry.envelope(), &previous_hash);
            previous_hash = row.current_hash;
        }
        assert_eq!(found(&linked_anew), [(9, "tamper")], "only the log can tell");
    }

    #[test]
    fn a_row_that_cannot_be_one_is_told_alone() {
        let (mut check, rows) = (Check::new("evenkeel", 3), rows(4));
        let all = [Ok(rows[0].clone()), Err(1), Ok(rows[2].clone()), Ok(rows[3].clone())];
        let wrong = all.iter().filter_map(|row| check.row(row)).collect::<Vec<_>>();
        assert_eq!(wrong.iter().map(|wrong| wrong.seq).collect::<Vec<_>>(), [1]);
    }
}
