//! [`Sender`]: tells one receiver, over HTTP.

use super::decision::Due;
use super::receiver::{Kind, Receiver, Receivers};
use super::signature::hmac_sha256;
use super::wording;
use crate::ports::PortError;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take; the other receivers wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Alerts of one request to an Alertmanager.
const MAX_ALERTS_OF_REQUEST: usize = 500;

/// First and longest pause after a receiver could not be told, µs; it doubles in between.
const PAUSES_US: (i64, i64) = (1_000_000, 60_000_000);

/// Why a receiver was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// It may be told later.
    Retry(String),
    /// It would refuse the same again.
    Refused(String),
}

/// A receiver, and when it may be asked.
pub struct Sender {
    /// Who.
    pub receiver: Receiver,
    agent: ureq::Agent,
    external_url: String,
    pause_us: i64,
    next_us: i64,
}

impl Sender {
    /// One for each receiver.
    ///
    /// # Errors
    /// `Fatal` if an `https` receiver is given and the trusted certificates cannot be read.
    pub fn all(receivers: &Receivers) -> Result<Vec<Self>, PortError> {
        let is_secure = receivers.all.iter().any(|receiver| receiver.url.starts_with("https://"));
        let mut config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        if is_secure {
            config = config.tls_config(tls(receivers)?);
        }
        let agent = ureq::Agent::from(config.build());
        let sender = |receiver: &Receiver| {
            let (receiver, external_url) = (receiver.clone(), receivers.external_url.clone());
            Self { receiver, agent: agent.clone(), external_url, pause_us: 0, next_us: i64::MIN }
        };
        Ok(receivers.all.iter().map(sender).collect())
    }

    /// Whether it may be asked, or is left alone for a while.
    pub fn is_ready(&self, now_us: i64) -> bool {
        now_us >= self.next_us
    }

    /// How many of those that are due go into one request.
    pub fn batch(&self, due: &[Due]) -> usize {
        if self.receiver.kind == Kind::Alertmanager { due.len().min(MAX_ALERTS_OF_REQUEST) } else { due.len().min(1) }
    }

    /// Tells all of `due`, as many as [`Sender::batch`] says.
    ///
    /// # Errors
    /// Says whether it is worth another try; pauses if so.
    pub fn send(&mut self, due: &[Due], now_us: i64) -> Result<(), Undelivered> {
        let sent = self.post(due, now_us);
        if let Err(Undelivered::Retry(_)) = sent {
            self.pause_us = (self.pause_us * 2).clamp(PAUSES_US.0, PAUSES_US.1);
            self.next_us = now_us + self.pause_us;
        } else {
            self.pause_us = 0;
        }
        sent
    }

    fn post(&self, due: &[Due], now_us: i64) -> Result<(), Undelivered> {
        let Some(first) = due.first() else { return Ok(()) };
        let Receiver { kind, url, secret, resend_us, .. } = &self.receiver;
        let (url, body) = match kind {
            Kind::Alertmanager => {
                let body = wording::alertmanager(due, *resend_us, &self.external_url, now_us);
                (format!("{url}/api/v2/alerts"), body)
            }
            Kind::Pagerduty => (format!("{url}/v2/enqueue"), wording::pagerduty(first, secret, &self.external_url)),
            Kind::Slack => (url.clone(), wording::slack(first, &self.external_url)),
            Kind::Webhook => (url.clone(), wording::cloud_event(first, &self.external_url)),
        };
        let body = body.to_string();
        let mut request = self.agent.post(&url);
        if *kind == Kind::Webhook {
            let signature = format!("sha256={}", hmac_sha256(secret.as_bytes(), body.as_bytes()));
            request = request.header("content-type", "application/cloudevents+json; charset=utf-8");
            request = request.header("x-evenkeel-signature", signature);
            request = request.header("idempotency-key", wording::message_id(first));
        } else {
            request = request.header("content-type", "application/json");
        }
        // A URL may hold a secret, as Slack's do: it is not said.
        let mut answer = request.send(body).map_err(|error| Undelivered::Retry(error.to_string()))?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let said = answer.body_mut().with_config().limit(4_096).read_to_string().unwrap_or_default();
        let why = format!("HTTP {status}: {}", said.trim());
        Err(if status == 408 || status == 429 || status >= 500 {
            Undelivered::Retry(why)
        } else {
            Undelivered::Refused(why)
        })
    }
}

fn tls(receivers: &Receivers) -> Result<ureq::tls::TlsConfig, PortError> {
    let path = &receivers.ca_file;
    let failed = |why: String| PortError::Fatal(format!("ca_file {}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut trusted = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            trusted.push(certificate);
        }
    }
    if trusted.is_empty() {
        return Err(failed("no certificate is in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = ureq::tls::RootCerts::Specific(Arc::new(trusted));
    Ok(ureq::tls::TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build())
}
