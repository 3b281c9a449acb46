//! Who else is in the run, as a pipeline sees it: nobody, the followers that it leads, or the leader.

use super::ready::Ready;
use super::{Committer, Outlook, Pace, Pipeline};
use crate::cluster::Followers;
use crate::cluster::message::ToFollower;
use crate::ports::{Clock, Committed, PortError, Share, Source};
use evenkeel_dataflows::{Changes, Engine, Links, Tuning};
use evenkeel_schemas::Epoch;
use std::time::{Duration, Instant};

/// How long the others are waited for at a time while they recover.
const PATIENCE: Duration = Duration::from_millis(20);

/// A place in a dataflow of several processes.
pub struct Joined {
    /// What joins the workers.
    pub links: Links,
    /// The partitions that are read here.
    pub share: Share,
}

/// Who else is in the run.
pub(super) enum Others {
    Nobody,
    /// This pipeline leads; whether the source's waits end when one of them speaks.
    Followers(Box<Followers>, bool),
    /// Another process leads; the same.
    Leader(bool),
}

impl<S: Source, C: Committer, K: Clock> Pipeline<S, C, K> {
    /// As [`Pipeline::open`], as the process that leads others and commits for them.
    ///
    /// # Errors
    /// What the source says; `Retry` if a follower is gone.
    pub fn lead(
        source: S,
        committed: Committed,
        (committer, clock): (C, K),
        (tuning, pace): (&Tuning, Pace),
        (joined, followers): (Joined, Followers),
    ) -> Result<Self, PortError> {
        let Joined { links, share } = joined;
        let others = Others::Followers(Box::new(followers), source.waker().is_some());
        let engine = |resume| Engine::in_cluster(tuning, links, resume);
        let ports = (committer, clock);
        let mut pipeline = Self::start(source, committed, ports, (tuning, pace), engine, (share, others))?;
        loop {
            pipeline.hear_others()?;
            match &pipeline.others {
                Others::Followers(followers, _) if !followers.are_ready() => drop(pipeline.engine.wait(PATIENCE)?),
                _ => break,
            }
        }
        pipeline.begin_unless_begun()?;
        Ok(pipeline)
    }

    /// Takes in what others said: epochs may be whole now, and records elsewhere make the open one wait as those here do.
    pub(super) fn hear_others(&mut self) -> Result<(), PortError> {
        let Others::Followers(followers, _) = &mut self.others else { return Ok(()) };
        followers.listen()?;
        if followers.any(self.next, |report| report.stirred) {
            self.first_record.get_or_insert_with(Instant::now);
        }
        std::iter::from_fn(|| followers.next_whole()).for_each(|changes| self.ready.add(changes));
        Ok(())
    }

    /// What is known of the partitions of every process.
    pub(super) fn outlook(&self) -> Outlook {
        let own = self.present.outlook(&self.backlog);
        match &self.others {
            Others::Followers(followers, _) => followers.outlook().map_or(own, |theirs| own.and(theirs)),
            Others::Nobody | Others::Leader(_) => own,
        }
    }
}

impl Others {
    fn followers(&self) -> Option<&Followers> {
        match self {
            Self::Followers(followers, _) => Some(followers),
            Self::Nobody | Self::Leader(_) => None,
        }
    }

    /// Whether another process decides when epochs close.
    pub fn lead(&self) -> bool {
        matches!(self, Self::Leader(_))
    }

    /// Whether a wait for records ends when one of them speaks, if anybody does.
    pub fn can_wake(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Followers(_, wake) | Self::Leader(wake) => *wake,
        }
    }

    /// When the oldest record that waits elsewhere came in, µs.
    pub fn first_us(&self) -> Option<i64> {
        self.followers().and_then(Followers::first_us)
    }

    /// Whether records wait elsewhere that the open epoch may not hold.
    pub fn wait(&self) -> bool {
        self.followers().is_some_and(Followers::wait)
    }

    /// Whether closed epochs are not whole.
    pub fn are_closing(&self) -> bool {
        self.followers().is_some_and(Followers::are_closing)
    }

    /// Whether another epoch may close by now.
    pub fn may_close(&self) -> bool {
        self.followers().is_none_or(Followers::may_close)
    }

    /// Whether the open epoch holds an error elsewhere.
    pub fn are_urgent(&self, open: Epoch) -> bool {
        self.followers().is_some_and(|followers| followers.any(open, |report| report.urgent))
    }

    /// Whether the open epoch holds as much as it may elsewhere.
    pub fn are_full(&self, open: Epoch) -> bool {
        self.followers().is_some_and(|followers| followers.any(open, |report| report.full))
    }

    /// Closes an epoch elsewhere, too.
    pub fn close(&mut self, epoch: Epoch, now_us: i64, full: bool) -> Result<(), PortError> {
        match self {
            Self::Followers(followers, _) => followers.close(epoch, now_us, full),
            Self::Nobody | Self::Leader(_) => Ok(()),
        }
    }

    /// Says that this process stops, if it leads.
    pub fn bid_farewell(&mut self) {
        if let Self::Followers(followers, _) = self {
            // If that does not reach one, it sees the connection end.
            let _ = followers.tell(&ToFollower::Bye);
        }
    }

    /// Takes in a complete epoch; gives on what is whole.
    pub fn complete(&mut self, changes: Changes, whole: &mut Ready) {
        match self {
            Self::Followers(followers, _) => {
                followers.complete(changes);
                std::iter::from_fn(|| followers.next_whole()).for_each(|changes| whole.add(changes));
            }
            Self::Nobody => whole.add(changes),
            // Its outputs are the leader's to commit.
            Self::Leader(_) => {}
        }
    }
}
