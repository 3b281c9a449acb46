//! Memory in small pages.
//!
//! # Decision
//! The allocator asks for huge pages. The kernel clears each of them at once, 2 MiB, while whoever touched it first waits,
//! and most of one is never used. Without them (`MIMALLOC_ALLOW_THP=0` and `1`, one after the other): a third less memory
//! for an active key (`benches/memory.rs`), a tenth more events a second at 100,000 keys, a quarter more with the audit
//! chain at work (`benches/engine.rs`); epochs in which memory grows cost a tenth more (`benches/epoch.rs`).

/// Has this process use small pages only, from now on. Where the system does not know how, nothing happens.
pub fn small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
