//! One dataflow over several processes: who is in the run, how they meet, what they say to each other.
//!
//! | file | holds |
//! |---|---|
//! | [`mod@place`] | which process this is, and where the others are |
//! | [`mod@line`] | a connection that carries messages, both ways, in order |
//! | [`mod@message`] | what the leader and its followers say |
//! | [`mod@meeting`] | makes the connections: nobody goes on before everybody is there |
//! | [`mod@followers`] | what the leader knows of the others |
//! | [`mod@life`] | runs a process of the cluster; after an error it begins a new life |
//!
//! Terms. Process 0 is the *leader*, every other one a *follower*. Each reads its share of the input partitions and has
//! its share of the workers. The leader decides when an epoch closes and at which present (`Close`); a follower closes
//! the same epoch and answers what it put into it (`Closed`). All outputs go to the leader through the dataflow.
//!
//! # Decision
//! One process commits. Each could commit its own outputs under a binding written first: but transactions of two
//! producers are not atomic together, so after a crash between them the state of one would be an epoch ahead of the
//! other's; going on would need a redo log of states, a second path of recovery, and another one whenever the number of
//! processes changes. With one committer an epoch stays one transaction, recovery stays what it is, and a run moves
//! between one process and many at any restart, for bindings and state say nothing of processes. The price is that all
//! outputs cross to the leader. They are few: what is counted leaves as slots and rollups, once for all its requests.
//!
//! timely cannot put a lost process back into a running dataflow, nor end its network threads without the other side.
//! So whatever breaks, everybody starts anew from what is committed, and a process does that by executing itself again:
//! the same arguments and process number, and no thread or socket of the life before.

pub mod followers;
pub mod life;
pub mod line;
pub mod meeting;
pub mod message;
pub mod place;

pub use followers::Followers;
pub use life::Cluster;
pub use line::{Alarm, Line};
pub use meeting::{Meeting, Met};
pub use place::Place;
