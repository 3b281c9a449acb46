//! [`Sender`]: tells one receiver, over HTTP or by mail, and with it who is on call.

use super::decision::Due;
use super::mail::{self, Server};
use super::receiver::{Kind, Receiver, is_secure};
use super::wording;
use crate::ports::PortError;
use crate::post::{Client, Undelivered};
use evenkeel_dataflows::Roster;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take; the other receivers wait meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Alerts of one request to an Alertmanager.
const MAX_ALERTS_OF_REQUEST: usize = 500;

/// First and longest pause after a receiver could not be told, µs; it doubles in between.
const PAUSES_US: (i64, i64) = (1_000_000, 60_000_000);

/// How long a receiver that is one no more may take to hear the end of what it was told of, µs.
pub const FAREWELL_US: i64 = 600_000_000;

/// A receiver, and when it may be asked.
pub struct Sender {
    /// Who.
    pub receiver: Receiver,
    /// Who is on call.
    pub roster: Arc<Roster>,
    /// If it is a receiver no more: until when it may still be told the end, µs by the machine's clock.
    pub leaves_us: Option<i64>,
    /// Made for the first message; whether for TLS.
    client: Option<(bool, Client)>,
    ca_file: PathBuf,
    external_url: String,
    pause_us: i64,
    next_us: i64,
}

impl Sender {
    /// One for each receiver; alerts link to `external_url`, certificates of `ca_file` (PEM) are trusted.
    ///
    /// # Errors
    /// `Fatal` if a receiver is spoken to with TLS, as far as can be said now, and the trusted certificates cannot be read.
    pub fn all(receivers: &[Receiver], ca_file: &Path, external_url: &str) -> Result<Vec<Self>, PortError> {
        if receivers.iter().any(|it| it.access().is_ok_and(|(url, _)| is_secure(&url))) {
            Client::new(TIMEOUT, Some(ca_file))?;
        }
        let sender = |receiver: &Receiver| Self {
            receiver: receiver.clone(),
            roster: Arc::default(),
            leaves_us: None,
            client: None,
            ca_file: ca_file.to_owned(),
            external_url: external_url.trim_end_matches('/').to_owned(),
            pause_us: 0,
            next_us: i64::MIN,
        };
        Ok(receivers.iter().map(sender).collect())
    }

    /// Whether it may be asked, or is left alone for a while.
    pub fn is_ready(&self, now_us: i64) -> bool {
        now_us >= self.next_us
    }

    /// How many of those that are due go into one request.
    pub fn batch(&self, due: &[Due]) -> usize {
        if self.receiver.kind == Kind::Alertmanager { due.len().min(MAX_ALERTS_OF_REQUEST) } else { due.len().min(1) }
    }

    /// Tells all of `due`, as many as [`Sender::batch`] says; says whom it did not reach if it reached only some.
    ///
    /// # Errors
    /// Says whether it is worth another try; pauses if so.
    pub fn send(&mut self, due: &[Due], now_us: i64) -> Result<Option<String>, Undelivered> {
        let due = due.iter().map(|due| self.addressed(due)).collect::<Vec<_>>();
        let sent = self.post(&due, now_us);
        if let Err(Undelivered::Retry(_)) = sent {
            self.pause_us = (self.pause_us * 2).clamp(PAUSES_US.0, PAUSES_US.1);
            self.next_us = now_us + self.pause_us;
        } else {
            self.pause_us = 0;
        }
        sent
    }

    /// Who is on call for an alert at this receiver, and their contact: whoever was when its turn came, by the log's time of
    /// the page. So it stays the same person until it ends, over hand-overs and restarts.
    pub fn on_call(&self, due: &Due) -> Option<(&str, &str)> {
        let (team, tier) = self.receiver.on_call.as_ref()?;
        let at_us = due.alert.paged_us.unwrap_or(due.alert.opened_us) + self.receiver.after_us;
        self.roster.on_call(team, *tier, at_us).map(|(name, person)| (name, person.contact.as_str()))
    }

    /// With who is on call among what is known of it.
    fn addressed(&self, due: &Due) -> Due {
        let mut due = due.clone();
        if let Some((name, contact)) = self.on_call(&due) {
            let name = if contact.is_empty() { name.to_owned() } else { format!("{name} <{contact}>") };
            due.alert.annotations.insert("on_call".to_owned(), name);
        }
        due
    }

    fn post(&mut self, due: &[Due], now_us: i64) -> Result<Option<String>, Undelivered> {
        let Some(first) = due.first() else { return Ok(None) };
        let (url, secret) = self.receiver.access().map_err(Undelivered::Retry)?;
        let answer = match self.receiver.kind {
            Kind::Alertmanager => {
                let body = wording::alertmanager(due, self.receiver.resend_us, &self.external_url, now_us);
                self.client(&url)?.json(&format!("{url}/api/v2/alerts"), &body)
            }
            Kind::Pagerduty => {
                let body = wording::pagerduty(first, &secret, &self.external_url);
                self.client(&url)?.json(&format!("{url}/v2/enqueue"), &body)
            }
            Kind::Slack => self.client(&url)?.json(&url, &wording::slack(first, &self.external_url)),
            Kind::Webhook => {
                let body = wording::cloud_event(first, &self.external_url);
                self.client(&url)?.cloud_event(&url, (&secret, &wording::message_id(first)), &body)
            }
            Kind::Email => return self.mail(&url, &secret, first, now_us),
        };
        answer.map(|_| None)
    }

    fn client(&mut self, url: &str) -> Result<Client, Undelivered> {
        let is_secure = is_secure(url);
        if let Some((_, client)) = self.client.as_ref().filter(|(was_secure, _)| *was_secure == is_secure) {
            return Ok(client.clone());
        }
        let made = Client::new(TIMEOUT, is_secure.then_some(self.ca_file.as_path()));
        let client = made.map_err(|error| Undelivered::Retry(error.to_string()))?;
        self.client = Some((is_secure, client.clone()));
        Ok(client)
    }

    fn mail(&self, url: &str, password: &str, due: &Due, now_us: i64) -> Result<Option<String>, Undelivered> {
        let Receiver { name, mail: Some(mail), .. } = &self.receiver else {
            return Err(Undelivered::Refused("it has no addresses".to_owned()));
        };
        let server = Server::parse(url).map_err(Undelivered::Retry)?;
        let contact = self.on_call(due).map(|(_, contact)| contact);
        let letter = mail::letter((name, mail), contact, due, (&self.external_url, now_us));
        server.send(&letter.map_err(Undelivered::Refused)?, (mail.user.as_deref(), password), &self.ca_file)
    }
}

#[cfg(test)]
#[path = "on_call_tests.rs"]
mod tests;
