//! [`ObjectsStore`]: values as objects below a prefix.
//!
//! # Decision
//! * A value is put by one request, so that it is there whole or not at all, and the condition is part of it
//!   (`If-None-Match: *`, `If-Match: ETAG`). Multi-part uploads save nothing: a segment is in memory anyway, and far below
//!   the 5 GiB that one request may bring.
//! * What the client gives up on is asked again here, as it knows some broken connections by no kind and tries those once:
//!   a put without a condition may be done twice, and of one with a condition it is looked up what became of it.
//! * Whether a store keeps to the conditions is tried out before anything is written ([`ObjectsStore::probe`]): one that
//!   passes over them would let two writers undo each other's work, and nobody would hear of it.

use crate::address::parse;
use evenkeel::cold::ColdStore;
use evenkeel::ports::PortError;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::error::Error as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Most bytes of a value: what S3 takes in one request.
pub const MAX_VALUE_BYTES: usize = 5 << 30;

/// How long to wait each time before a request that failed is made again.
const WAITS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(2), Duration::from_secs(5)];

/// The object on which it is tried out whether conditions count.
const PROBE: &str = "conditions-are-kept";

/// A cold store in an object store.
#[derive(Debug)]
pub struct ObjectsStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: Runtime,
}

impl ObjectsStore {
    /// The store of a URL: `s3://BUCKET/PREFIX`, with `?endpoint=URL&region=NAME` where it is not Amazon's; `gs://`, `az://`.
    /// Credentials come from the environment. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// `Fatal` if the URL is none of these, or the environment lacks what its store needs.
    pub fn open(url: &str) -> Result<Self, PortError> {
        let (store, prefix) = parse(url)?;
        Ok(Self::new(store, prefix))
    }

    /// The values below `prefix` in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self { store, prefix, runtime: runtime.expect("a thread may wait for sockets") }
    }

    /// Makes sure that the store keeps to the conditions of a put, by an object of its own.
    ///
    /// # Errors
    /// `Fatal` if it does not, or does not let anybody write. `Retry` if it cannot be reached now.
    pub fn probe(&self) -> Result<(), PortError> {
        let text = b"a put that says so must fail while this is here";
        let elsewhere = UpdateVersion { e_tag: Some("\"no-version\"".to_owned()), version: Some("0".to_owned()) };
        let refuses = |mode| self.put_if(PROBE, text, mode).map(|put| put == Put::Refused);
        // Of two in a row the second finds the first one's, if not an older one.
        let creates = refuses(PutMode::Create)? || refuses(PutMode::Create)?;
        let kept = creates && refuses(PutMode::Update(elsewhere))?;
        kept.then_some(()).ok_or_else(|| {
            PortError::Fatal(
                "this store took a put whose condition did not hold (If-None-Match or If-Match): two compactors would undo \
                 each other's work; use a store with conditional writes"
                    .to_owned(),
            )
        })
    }

    fn path(&self, name: &str) -> Result<Path, PortError> {
        let whole = if self.prefix.as_ref().is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        let path = Path::parse(&whole).ok().filter(|path| path.as_ref() == whole && !name.is_empty());
        path.ok_or_else(|| PortError::Fatal(format!("{name:?} names no object")))
    }

    fn put_if(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Put, PortError> {
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(PortError::Fatal(format!("{name} has {} bytes, one put takes {MAX_VALUE_BYTES}", bytes.len())));
        }
        let (path, payload) = (self.path(name)?, PutPayload::from(bytes.to_vec()));
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.runtime.block_on(self.store.put_opts(&path, payload, options)) {
            Ok(_) => Ok(Put::Done),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Refused),
            Err(error) => Err(port_error("put", name, &error)),
        }
    }

    /// A value, and which version of the object it is.
    fn get_version(&self, name: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>, PortError> {
        let path = self.path(name)?;
        let read = self.runtime.block_on(async {
            let found = self.store.get(&path).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok::<(Vec<u8>, UpdateVersion), Error>((found.bytes().await?.into(), version))
        });
        match read {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(port_error("get", name, &error)),
        }
    }
}

/// What became of a put with a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    /// The condition did not hold.
    Refused,
}

impl ColdStore for ObjectsStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        patiently(|| self.put_if(name, bytes, PutMode::Overwrite).map(drop))
    }

    fn replace(&self, name: &str, before: Option<&[u8]>, bytes: &[u8]) -> Result<(), PortError> {
        let mut asked = false;
        patiently(|| {
            let there = self.get_version(name)?;
            let mode = match (before, there) {
                (_, Some((there, _))) if asked && there == bytes => return Ok(()),
                (None, None) => PutMode::Create,
                (Some(before), Some((there, version))) if there == before => PutMode::Update(version),
                _ => return Err(PortError::Fenced),
            };
            asked = true;
            // The client itself asks again, too, and is then refused by what it did: the next run finds that.
            match self.put_if(name, bytes, mode)? {
                Put::Done => Ok(()),
                Put::Refused => Err(PortError::Fenced),
            }
        })
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(patiently(|| self.get_version(name))?.map(|(bytes, _)| bytes))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        // Stores list whole folders.
        let folder = prefix.rsplit_once('/').map(|(folder, _)| folder);
        let below = folder.map_or_else(|| Ok(self.prefix.clone()), |folder| self.path(folder))?;
        let objects = patiently(|| {
            let objects = self.runtime.block_on(self.store.list(Some(&below)).try_collect::<Vec<_>>());
            objects.map_err(|error| port_error("list", prefix, &error))
        })?;
        let inside = |path: &Path| match self.prefix.as_ref() {
            "" => Some(path.to_string()),
            own => Some(path.as_ref().strip_prefix(own)?.strip_prefix('/')?.to_owned()),
        };
        let names = objects.into_iter().filter_map(|object| inside(&object.location));
        let mut names = names.filter(|name| name.starts_with(prefix) && name != PROBE).collect::<Vec<_>>();
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), PortError> {
        let path = self.path(name)?;
        patiently(|| match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(port_error("remove", name, &error)),
        })
    }
}

/// The answer to a request that may be made any number of times, after a while if it cannot be had now.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, PortError>) -> Result<T, PortError> {
    for wait in WAITS {
        match ask() {
            Err(PortError::Retry(why)) => tracing::warn!(why, "the store did not answer; it is asked again"),
            answer => return answer,
        }
        thread::sleep(wait);
    }
    ask()
}

/// What a store said, as an error of a port. What it was asked again and again for may go well later.
fn port_error(doing: &str, name: &str, error: &Error) -> PortError {
    let mut what = format!("{doing} {name}: {error}");
    let mut cause = error.source();
    while let Some(of) = cause {
        what = format!("{what}: {of}");
        cause = of.source();
    }
    match error {
        Error::Generic { .. } | Error::JoinError { .. } => PortError::Retry(what),
        _ => PortError::Fatal(format!("{what}; look at the bucket's name, the region and the credentials")),
    }
}
