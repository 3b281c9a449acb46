//! The cold store in S3, and in stores like it: a crate of its own, so that the main build needs no client of them.
//!
//! `evenkeel-objects compact | verify | replay | restore` are evenkeel's own commands; where they take a cold directory,
//! they take a URL here, too ([`open`] says which).

mod address;
mod store;

pub use store::ObjectsStore;

use evenkeel::cli::{Access, open_directory};
use evenkeel::cold::ColdStore;
use evenkeel::ports::PortError;

/// A cold store by its name: a URL as [`ObjectsStore::open`] takes it, or a directory.
///
/// # Errors
/// As [`ObjectsStore::open`] and [`evenkeel::cold::DirectoryStore::open`].
pub fn open(name: &str, access: Access) -> Result<Box<dyn ColdStore>, PortError> {
    if !name.contains("://") {
        return open_directory(name, access);
    }
    let store = ObjectsStore::open(name)?;
    if access == Access::Write {
        store.probe()?;
    }
    Ok(Box::new(store))
}
