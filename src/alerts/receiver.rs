//! [`Receiver`]: who is told, as a `Receiver` document says it.

use super::alert::Alert;
use super::condition::Condition;
use super::mail::{Mail, Server};
use super::silence::Matcher;
use std::path::PathBuf;

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alertmanager's API v2.
    Alertmanager,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// An incoming webhook of Slack.
    Slack,
    /// CloudEvents 1.0 as JSON, signed.
    Webhook,
    /// Mail through SMTP.
    Email,
}

impl Kind {
    /// Whether it shows a thing once that it was told twice, by a key.
    pub fn is_keyed(self) -> bool {
        !matches!(self, Self::Slack | Self::Email)
    }
}

/// Where a text is that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Here: it is none.
    Here(String),
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Environment(String),
}

impl Source {
    /// The text, as it is now: a secret that is replaced needs no restart.
    ///
    /// # Errors
    /// Says why it cannot be read, or that it is empty.
    pub fn read(&self) -> Result<String, String> {
        let (text, place) = match self {
            Self::Here(text) => return Ok(text.clone()),
            Self::File(path) => {
                let place = path.display().to_string();
                (std::fs::read_to_string(path).map_err(|error| format!("reading {place}: {error}"))?, place)
            }
            Self::Environment(name) => {
                (std::env::var(name).map_err(|error| format!("${name}: {error}"))?, name.clone())
            }
        };
        let text = text.trim().to_owned();
        if text.is_empty() { Err(format!("{place} is empty")) } else { Ok(text) }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name, unique.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// Where it is.
    pub url: Source,
    /// PagerDuty's routing key, a webhook's signing key, or a password for mail.
    pub secret: Option<Source>,
    /// All must hold for an alert to concern it.
    pub matchers: Vec<Matcher>,
    /// So must this.
    pub when: Option<Condition>,
    /// It is told once nobody took an alert on for so long, µs by the log's time of the page; 0: at once.
    pub after_us: i64,
    /// Messages an hour that may wake somebody; what is beyond is told together.
    pub pages_an_hour: Option<u32>,
    /// It is told again after so long, µs, while an alert is open; 0: never.
    pub resend_us: i64,
    /// Who of the roster is told with it: the team, and the tier, from 1.
    pub on_call: Option<(String, usize)>,
    /// From whom and to whom mail goes; of [`Kind::Email`] alone.
    pub mail: Option<Mail>,
}

impl Receiver {
    /// Whether an alert concerns it.
    pub fn concerns(&self, alert: &Alert) -> bool {
        self.matchers.iter().all(|matcher| matcher.holds(&alert.labels))
            && self.when.as_ref().is_none_or(|condition| condition.holds(&alert.facts()))
    }

    /// Its URL and its secret, which is empty if it has none.
    ///
    /// # Errors
    /// Says what cannot be read, or is no URL.
    pub fn access(&self) -> Result<(String, String), String> {
        let url = self.url.read()?;
        if self.kind == Kind::Email {
            Server::parse(&url)?;
        } else if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("its URL does not begin with http:// or https://".to_owned());
        }
        let secret = self.secret.as_ref().map(Source::read).transpose()?.unwrap_or_default();
        Ok((url.trim_end_matches('/').to_owned(), secret))
    }
}

/// Whether what is at a URL is reached with TLS, and so by certificates.
pub fn is_secure(url: &str) -> bool {
    !url.starts_with("http://") && !url.starts_with("smtp://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_read_where_it_is_and_is_never_empty() {
        let path = std::env::temp_dir().join(format!("evenkeel-secret-{}", std::process::id()));
        let source = Source::File(path.clone());
        assert!(source.read().is_err());
        for (text, found) in [(" a key\n", Some("a key")), ("\n", None), ("another", Some("another"))] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(source.read().ok().as_deref(), found);
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(Source::Environment("EVENKEEL_NO_SUCH_VARIABLE".to_owned()).read().is_err());
        assert_eq!(Source::Here("x".to_owned()).read().as_deref(), Ok("x"));
    }
}
