//! [`Links`]: what joins the workers of several processes into one dataflow, over connections that the shell made.

use timely::communication::Hooks;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::allocator::TcpBuilder;
use timely::communication::allocator::zero_copy::initialize::{CommsGuard, initialize_networking_from_sockets};
use timely::communication::allocator::zero_copy::stream::Stream;

/// Connections to every other process of a run, and the threads that serve them.
///
/// A connection that breaks ends its threads with a panic whose message begins with `timely communication error:`, and
/// then every worker that uses it: [`Stopped`](crate::Stopped) says so to the engine's caller.
pub struct Links(Option<(Vec<TcpBuilder>, CommsGuard)>);

impl Links {
    /// Takes one connection to each other process, in their order, and `None` in the place of this one.
    ///
    /// Every process must have the same number of workers.
    ///
    /// # Errors
    /// If a connection cannot be shared by two threads, or threads cannot be started.
    pub fn new(sockets: Vec<Option<impl Stream + 'static>>, workers: usize) -> std::io::Result<Self> {
        let own = sockets.iter().position(Option::is_none).expect("one place is that of this process");
        let hooks = Hooks::default();
        let inner = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) = initialize_networking_from_sockets(inner, sockets, own, workers, hooks)?;
        Ok(Self(Some((builders, guard))))
    }

    /// What builds the workers, and what waits for the connections to end when it is dropped.
    pub(crate) fn take(mut self) -> (Vec<TcpBuilder>, CommsGuard) {
        self.0.take().expect("taken once, for this consumes it")
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Nobody used the connections: nobody ends them, and waiting for that would be for ever.
        std::mem::forget(self.0.take());
    }
}
