//! [`DryRun`]: writes requests down, one file a command: what would be done is seen before it is done.

use super::{Requests, is_name};
use crate::act::book::Book;
use crate::act::executor::{Executor, Undone};
use crate::embedded::disk::{make_directory, replace_file};
use crate::ports::PortError;
use evenkeel_schemas::Command;
use std::path::PathBuf;

/// Writes requests down, as JSON: `method`, `path` with its query, `content_type` and `body`.
#[derive(Debug)]
pub struct DryRun {
    directory: PathBuf,
    requests: Requests,
}

impl DryRun {
    /// One that writes into `directory`.
    ///
    /// # Errors
    /// `Retry` if the directory cannot be made.
    pub fn new(directory: PathBuf, requests: Requests) -> Result<Self, PortError> {
        make_directory(&directory)?;
        Ok(Self { directory, requests })
    }
}

impl Executor for DryRun {
    fn concern(&self, command: &Command) -> Option<String> {
        Requests::concern(command)
    }

    fn execute(&mut self, command: &Command, _book: &mut Book) -> Result<String, Undone> {
        let request = self.requests.of(command)?;
        if !is_name(&command.command_id.to_lowercase()) {
            return Err(Undone::Refused("its id is no name for a file".to_owned()));
        }
        let path = self.directory.join(format!("{}.json", command.command_id));
        let bytes = serde_json::to_vec_pretty(&request).expect("a request of ours is JSON");
        // A crash here leaves it to be written again, the same.
        replace_file(&path, &path.with_extension("draft"), &bytes)?;
        Ok(format!("written down: {} {}", request.method, path.display()))
    }
}
