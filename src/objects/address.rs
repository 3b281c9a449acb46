//! URLs of stores: which store, where in it, and what little a URL may say beside.
//!
//! | URL | credentials |
//! |---|---|
//! | `s3://BUCKET/PREFIX?endpoint=URL&region=NAME` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`; web identity, container and instance credentials; not the files in `~/.aws` |
//! | `gs://BUCKET/PREFIX` | `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_APPLICATION_CREDENTIALS`, or the machine's own |
//! | `az://CONTAINER/PREFIX` | `AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY`, a token, or the machine's own |
//! | `memory:///` | none: gone with the process |
//!
//! # Decision
//! A URL is logged and lies in shell histories: it takes no secrets, only where the store is.

use evenkeel::ports::PortError;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How often a request is tried again at most, and for how long: then the caller hears of it.
const RETRIES: usize = 5;
const RETRY_FOR: Duration = Duration::from_secs(60);

/// How long a connection may take, and a request with its answer: a segment at 1 MB/s.
const CONNECT_FOR: Duration = Duration::from_secs(5);
const REQUEST_FOR: Duration = Duration::from_secs(120);

/// The store of a URL, and the path in it under which all names lie.
pub fn parse(text: &str) -> Result<(Arc<dyn ObjectStore>, Path), PortError> {
    // A second one is refused, and as good as the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refuse = |why: String| PortError::Fatal(format!("{text}: {why}"));
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    let prefix = Path::from_url_path(url.path()).map_err(|error| refuse(error.to_string()))?;
    let bucket = || {
        let host = url.host_str().filter(|host| !host.is_empty());
        host.ok_or_else(|| refuse("no bucket: write it as s3://BUCKET/PREFIX".to_owned()))
    };
    let (retry, options) = (retry(), ClientOptions::new());
    let options = options.with_connect_timeout(CONNECT_FOR).with_timeout(REQUEST_FOR);
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "s3" => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket()?).with_retry(retry);
            let mut options = options;
            for (key, value) in url.query_pairs() {
                builder = match &*key {
                    "endpoint" => {
                        options = options.with_allow_http(value.starts_with("http://"));
                        builder.with_endpoint(value)
                    }
                    "region" => builder.with_region(value),
                    _ => return Err(refuse(format!("it may say endpoint and region, not {key:?}"))),
                };
            }
            Arc::new(builder.with_client_options(options).build().map_err(|error| refuse(error.to_string()))?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket()?);
            let built = builder.with_retry(retry).with_client_options(options).build();
            Arc::new(built.map_err(|error| refuse(error.to_string()))?)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket()?);
            let built = builder.with_retry(retry).with_client_options(options).build();
            Arc::new(built.map_err(|error| refuse(error.to_string()))?)
        }
        "memory" => Arc::new(InMemory::new()),
        other => return Err(refuse(format!("{other}:// is no store; there are s3://, gs:// and az://"))),
    };
    if url.scheme() != "s3" && url.query().is_some() {
        return Err(refuse("only an s3:// URL says more than where".to_owned()));
    }
    Ok((store, prefix))
}

fn retry() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(10), base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_FOR }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_url_says_where_and_no_secrets() {
        for wrong in [
            "s3://bucket/prefix?secret_access_key=1",
            "s3://bucket/prefix?endpoint=http://127.0.0.1:1&x=1",
            "s3:///prefix",
            "ftp://bucket/prefix",
            "memory:///?region=here",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let (_, prefix) = parse("s3://bucket/a/b/?endpoint=http://127.0.0.1:1&region=here").expect("a store");
        assert_eq!(prefix.as_ref(), "a/b");
    }
}
