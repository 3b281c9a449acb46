//! The shop on its own thread: writes what it says into the embedded log, and carries out commands.

use crate::embedded::InputWriter;
use crate::ports::{Clock, PortError};
use crate::shop::{FaultStatus, Shop};
use evenkeel_schemas::{Command, Partition, Topic};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The shop's time: it begins at the start of its plan and runs faster than the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct ShopClock {
    begun: Instant,
    start_us: i64,
    speed: f64,
}

impl ShopClock {
    /// A clock that shows `start_us` now.
    pub fn new(start_us: i64, speed: f64) -> Self {
        Self { begun: Instant::now(), start_us, speed }
    }
}

impl Clock for ShopClock {
    fn now_us(&mut self) -> i64 {
        self.start_us + (self.begun.elapsed().as_secs_f64() * self.speed * 1e6) as i64
    }
}

/// The shop, running.
pub struct World {
    commands: Sender<Command>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<FaultStatus>, PortError>>,
}

impl World {
    /// Starts the shop; it writes into `directory`.
    pub fn start(shop: Shop, directory: &Path, clock: ShopClock) -> Self {
        let (commands, orders) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let (directory, ending) = (directory.to_owned(), Arc::clone(&ends));
        let thread = std::thread::spawn(move || run(shop, &directory, clock, &orders, &ending));
        Self { commands, ends, thread }
    }

    /// Hands a command to the shop.
    pub fn carry_out(&self, command: Command) {
        // If the shop is gone, `end` says why.
        drop(self.commands.send(command));
    }

    /// Stops the shop, and says what became of its faults.
    ///
    /// # Errors
    /// If it could not write.
    pub fn end(self) -> Result<Vec<FaultStatus>, PortError> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(PortError::Fatal("the shop's thread panicked".to_owned())))
    }
}

fn run(
    mut shop: Shop,
    directory: &Path,
    mut clock: ShopClock,
    orders: &Receiver<Command>,
    ends: &AtomicBool,
) -> Result<Vec<FaultStatus>, PortError> {
    let mut inputs = InputWriter::new(directory);
    while !ends.load(Ordering::Relaxed) {
        let mut written = Ok(());
        let now_us = clock.now_us();
        shop.advance(now_us, &mut |partition, at_us, key: &[u8], payload: &[u8]| {
            if written.is_ok() {
                written = inputs.append(partition, at_us, key, payload);
            }
        });
        written?;
        for command in orders.try_iter() {
            let outcome = shop.apply(&command, now_us);
            let payload = serde_json::to_vec(&outcome).expect("an outcome is JSON");
            let acks = Partition { topic: Topic::Outcomes, partition: 0 };
            inputs.append(acks, now_us, command.command_id.as_bytes(), &payload)?;
        }
        inputs.flush()?;
        std::thread::sleep(Duration::from_millis(2));
    }
    inputs.sync()?;
    Ok(shop.faults().to_vec())
}
