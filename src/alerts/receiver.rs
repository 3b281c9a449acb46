//! Who is told: the receivers' file, TOML.

use super::silence::Matcher;
use crate::ports::PortError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Receivers at most.
const MAX_RECEIVERS: usize = 64;

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Alertmanager's API v2.
    Alertmanager,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// An incoming webhook of Slack.
    Slack,
    /// CloudEvents 1.0 as JSON, signed.
    Webhook,
}

impl Kind {
    /// Whether it shows a thing once that it was told twice, by a key.
    pub fn is_keyed(self) -> bool {
        self != Self::Slack
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReceivers {
    /// A file of certificates (PEM) that are trusted.
    #[serde(default)]
    ca_file: Option<PathBuf>,
    /// Where alerts link to.
    #[serde(default)]
    external_url: Option<String>,
    receiver: Vec<RawReceiver>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReceiver {
    name: String,
    kind: Kind,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    url_file: Option<PathBuf>,
    #[serde(default)]
    secret_file: Option<PathBuf>,
    #[serde(default, rename = "match")]
    matchers: Vec<String>,
    #[serde(default)]
    after_minutes: u32,
    #[serde(default)]
    pages_an_hour: Option<u32>,
    #[serde(default)]
    resend_seconds: Option<u32>,
}

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its name, unique.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// Where it is.
    pub url: String,
    /// PagerDuty's routing key, or a webhook's signing key.
    pub secret: String,
    /// All must hold for an alert to concern it.
    pub matchers: Vec<Matcher>,
    /// It is told once nobody took an alert on for so long, µs by the log's time of the page; 0: at once.
    pub after_us: i64,
    /// Messages an hour that may wake somebody; what is beyond is told together.
    pub pages_an_hour: Option<u32>,
    /// It is told again after so long, µs, while an alert is open; 0: never.
    pub resend_us: i64,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Receivers {
    /// In the order of the file.
    pub all: Vec<Receiver>,
    /// Certificates (PEM) that are trusted.
    pub ca_file: PathBuf,
    /// Where alerts link to.
    pub external_url: String,
}

impl Receivers {
    /// Reads the file.
    ///
    /// # Errors
    /// `Fatal`: says what is wrong, syntax with line and column.
    pub fn read(path: &Path) -> Result<Self, PortError> {
        let text = file(path)?;
        Self::parse(&text).map_err(|why| PortError::Fatal(format!("receivers {}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let raw = toml::from_str::<RawReceivers>(text).map_err(|error| error.to_string())?;
        if raw.receiver.is_empty() || raw.receiver.len() > MAX_RECEIVERS {
            return Err(format!("there are 1 to {MAX_RECEIVERS} receivers"));
        }
        let all = raw.receiver.into_iter().map(Receiver::checked).collect::<Result<Vec<_>, _>>()?;
        let names = all.iter().map(|receiver| receiver.name.as_str()).collect::<BTreeSet<_>>();
        if names.len() < all.len() {
            return Err("two receivers have the same name".to_owned());
        }
        let ca_file = raw.ca_file.unwrap_or_else(|| PathBuf::from("/etc/ssl/certs/ca-certificates.crt"));
        let external_url = raw.external_url.unwrap_or_else(|| "http://127.0.0.1:9095".to_owned());
        Ok(Self { all, ca_file, external_url: external_url.trim_end_matches('/').to_owned() })
    }
}

impl Receiver {
    fn checked(raw: RawReceiver) -> Result<Self, String> {
        let RawReceiver { name, kind, .. } = raw;
        let wrong = |what: &str| format!("receiver {name:?}: {what}");
        if name.is_empty() || name.len() > 64 {
            return Err(wrong("its name has 1 to 64 bytes"));
        }
        let read =
            |path: &PathBuf| file(path).map(|text| text.trim().to_owned()).map_err(|error| wrong(&error.to_string()));
        let url = match (raw.url, &raw.url_file, kind) {
            (Some(url), None, _) => url,
            (None, Some(path), _) => read(path)?,
            (None, None, Kind::Pagerduty) => "https://events.pagerduty.com".to_owned(),
            _ => return Err(wrong("give url or url_file, one of them")),
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(wrong("its URL begins with http:// or https://"));
        }
        let secret = raw.secret_file.as_ref().map(read).transpose()?.unwrap_or_default();
        if secret.is_empty() && matches!(kind, Kind::Pagerduty | Kind::Webhook) {
            return Err(wrong("it needs secret_file: PagerDuty's routing key, or what a webhook is signed with"));
        }
        if raw.pages_an_hour == Some(0) || raw.resend_seconds.is_some_and(|seconds| seconds > 86_400) {
            return Err(wrong("pages_an_hour is at least 1, resend_seconds at most 86400"));
        }
        let (resend_s, budget) = if kind == Kind::Alertmanager { (60, None) } else { (0, Some(20)) };
        let resend_s = raw.resend_seconds.unwrap_or(resend_s);
        if kind == Kind::Alertmanager && resend_s == 0 {
            return Err(wrong("an Alertmanager forgets what it is not told again: resend_seconds is at least 1"));
        }
        let matchers = raw.matchers.iter().map(|text| Matcher::parse(text)).collect::<Result<_, _>>();
        Ok(Self {
            matchers: matchers.map_err(|why| wrong(&why))?,
            url: url.trim_end_matches('/').to_owned(),
            secret,
            after_us: i64::from(raw.after_minutes) * 60_000_000,
            pages_an_hour: raw.pages_an_hour.or(budget),
            resend_us: i64::from(resend_s) * 1_000_000,
            name,
            kind,
        })
    }
}

fn file(path: &Path) -> Result<String, PortError> {
    std::fs::read_to_string(path).map_err(|error| PortError::Fatal(format!("reading {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_checked_once() {
        let good =
            "[[receiver]]\nname='ops'\nkind='alertmanager'\nurl='http://127.0.0.1:9093/'\nmatch=['severity=critical']";
        let all = Receivers::parse(good).expect("a receiver").all;
        assert_eq!(
            (all[0].url.as_str(), all[0].resend_us, all[0].pages_an_hour),
            ("http://127.0.0.1:9093", 60_000_000, None)
        );
        let twice = format!("{good}\n{good}");
        let wrong = [
            "receiver=[]",
            twice.as_str(),
            "[[receiver]]\nname='a'\nkind='slack'",
            "[[receiver]]\nname='a'\nkind='slack'\nurl='ftp://x'",
            "[[receiver]]\nname='a'\nkind='slack'\nurl='http://x'\npages_an_hour=0",
            "[[receiver]]\nname='a'\nkind='webhook'\nurl='http://x'",
            "[[receiver]]\nname='a'\nkind='slack'\nurl='http://x'\ncolour='red'",
            "[[receiver]]\nname='a'\nkind='slack'\nurl='http://x'\nmatch=['severity']",
        ];
        for text in wrong {
            assert!(Receivers::parse(text).is_err(), "{text}");
        }
    }
}
