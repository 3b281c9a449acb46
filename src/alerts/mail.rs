//! Mail: a receiver reached through SMTP (RFC 5321). One alert is one thread: the identity of its first message follows from
//! the alert, and those after it refer to it (RFC 5322, section 3.6.4). Sent again, a message has the same identity.
//!
//! # Decision
//! * A connection fault is told later, and so is whatever a server says before it was given a message: who may send, and with
//!   which password, is mended at the server. 4xx is told later, 5xx is refused for good.
//! * Whoever of several the server takes gets the message at once, and of the others it is said that they did not: one address
//!   that is gone must not keep all others from being told, and none is told twice because another has to wait.
//! * Names of services come from events. Each piece of text is one line of bounded length before it goes into a message.

use super::decision::{Action, Due};
use super::time::rfc3339;
use super::wording::{self, FACTS, cut, escaped, link, title};
use crate::post::Undelivered;
use axum::http::Uri;
use evenkeel_schemas::audit::hex;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as Sent, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use sha2::{Digest, Sha256};
use std::error::Error as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Addresses of a receiver at most.
pub const MAX_TO: usize = 16;

/// Longest piece of text of a message, bytes, markup written out; by it a message has at most 64 KiB.
const MAX_TEXT_BYTES: usize = 1_000;

/// Longest part of a subject, bytes.
const MAX_SUBJECT_BYTES: usize = 140;

/// How long a server may take to answer a command.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take for the message, which many look through first; who gives up sooner sends it twice.
const TIMEOUT_OF_MESSAGE: Duration = Duration::from_secs(30);

/// A server that wants a password before it takes a message (RFC 4954): it has not seen the message.
const NOT_ADMITTED: u16 = 530;

/// From whom and to whom mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who sends it.
    pub from: Address,
    /// Who always gets it.
    pub to: Vec<Address>,
    /// The name at the server, if it wants one; the password is the receiver's secret.
    pub user: Option<String>,
}

/// A server, as its URL says: `smtps://`, `smtp+starttls://` or, on this machine, `smtp://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
    secured: Secured,
}

/// How a connection is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secured {
    /// Not at all: to this machine alone.
    Never,
    /// It is upgraded (STARTTLS, RFC 3207), or not used.
    Upgraded,
    /// From the first byte on.
    Always,
}

impl Server {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong =
            || "its URL is not smtps://HOST, smtp+starttls://HOST or, on this machine, smtp://127.0.0.1".to_owned();
        let uri = url.parse::<Uri>().map_err(|_| wrong())?;
        let (secured, port) = match uri.scheme_str() {
            Some("smtp") => (Secured::Never, 25),
            Some("smtp+starttls") => (Secured::Upgraded, 587),
            Some("smtps") => (Secured::Always, 465),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|it| !it.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
            return Err(wrong());
        }
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if secured == Secured::Never && !is_here {
            return Err(format!("mail to {host} would travel unencrypted"));
        }
        Ok(Self { port: authority.port_u16().unwrap_or(port), host, secured })
    }

    /// Hands a message over. Certificates are those of `ca_file` (PEM), which is read if there is TLS. If the server refuses
    /// some of those to whom it goes, says who and why.
    ///
    /// # Errors
    /// Says whether it is worth another try.
    pub fn send(
        &self,
        letter: &Message,
        (user, password): (Option<&str>, &str),
        ca_file: &Path,
    ) -> Result<Option<String>, Undelivered> {
        let mut connection = self.open(ca_file).map_err(Undelivered::Retry)?;
        let admitted = user.map_or(Ok(()), |user| {
            let credentials = Credentials::new(user.to_owned(), password.to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).map(drop)
        });
        let admitted = admitted.map_err(|error| Undelivered::Retry(said(&error)));
        let sent = admitted.and_then(|()| hand_over(&mut connection, letter));
        // What came of it is known: the parting may not take longer than a command.
        let _ = connection.set_timeout(Some(TIMEOUT));
        connection.abort();
        sent
    }

    fn open(&self, ca_file: &Path) -> Result<SmtpConnection, String> {
        let hello = ClientId::default();
        let (always, upgraded) = match self.secured {
            Secured::Never => (None, None),
            Secured::Upgraded => (None, Some(self.tls(ca_file)?)),
            Secured::Always => (Some(self.tls(ca_file)?), None),
        };
        let place = (self.host.as_str(), self.port);
        let opened = SmtpConnection::connect(place, Some(TIMEOUT), &hello, always.as_ref(), None);
        let mut connection = opened.map_err(|error| said(&error))?;
        if let Some(tls) = upgraded {
            connection.starttls(&tls, &hello).map_err(|error| said(&error))?;
        }
        Ok(connection)
    }

    fn tls(&self, ca_file: &Path) -> Result<TlsParameters, String> {
        let failed = |why: &dyn ToString| format!("ca_file {}: {}", ca_file.display(), why.to_string());
        let pem = std::fs::read(ca_file).map_err(|error| failed(&error))?;
        let trusted = Certificate::from_pem(&pem).map_err(|error| failed(&error))?;
        let parameters = TlsParameters::builder(self.host.clone()).certificate_store(CertificateStore::None);
        parameters.add_root_certificate(trusted).build_rustls().map_err(|error| failed(&error))
    }
}

/// Gives a message to a server that is ready for one.
fn hand_over(connection: &mut SmtpConnection, letter: &Message) -> Result<Option<String>, Undelivered> {
    let envelope = letter.envelope();
    connection.command(Sent::new(envelope.from().cloned(), Vec::new())).map_err(undelivered)?;
    let (mut others, mut is_final) = (Vec::new(), true);
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())) {
            Ok(_) => {}
            Err(error) if error.status().is_some() => {
                is_final &= error.is_permanent();
                others.push(format!("{to}: {}", said(&error)));
            }
            Err(error) => return Err(undelivered(error)),
        }
    }
    let why = others.join("; ");
    if others.len() == envelope.to().len() {
        return Err(if is_final { Undelivered::Refused(why) } else { Undelivered::Retry(why) });
    }
    connection.command(Data).map_err(undelivered)?;
    connection.set_timeout(Some(TIMEOUT_OF_MESSAGE)).map_err(|error| Undelivered::Retry(error.to_string()))?;
    connection.message(&letter.formatted()).map_err(undelivered)?;
    Ok((!others.is_empty()).then_some(why))
}

fn undelivered(error: Error) -> Undelivered {
    let is_admitted = error.status().is_none_or(|code| u16::from(code) != NOT_ADMITTED);
    let why = said(&error);
    if error.is_permanent() && is_admitted { Undelivered::Refused(why) } else { Undelivered::Retry(why) }
}

/// What a server said, or what is wrong with the way to it.
fn said(error: &Error) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    line(&error.status().map_or_else(|| error.to_string(), |code| format!("SMTP {code}: {source}")), MAX_TEXT_BYTES)
}

/// The message: to whoever is on call at this `contact`, if it is an address, and to those of the receiver.
///
/// # Errors
/// Says why there can be none.
pub fn letter(
    (name, mail): (&str, &Mail),
    contact: Option<&str>,
    due: &Due,
    (external_url, now_us): (&str, i64),
) -> Result<Message, String> {
    let alert = &due.alert;
    let identity = |what: &str| format!("<{}.{name}@{}>", word(what), mail.from.domain());
    let (first, is_first) = (identity(&alert.id), due.action == Action::Trigger);
    // Mail programs put messages of one subject into one thread, too: it is that of the first one.
    let about = [alert.label("alertname"), alert.label("service"), &format!("[{}]", alert.id)];
    let about = about.map(|part| line(part, MAX_SUBJECT_BYTES)).join(" ");
    let sent_at = UNIX_EPOCH + Duration::from_micros(now_us.try_into().unwrap_or(0));
    let mut builder = Message::builder().from(Mailbox::new(Some("evenkeel".to_owned()), mail.from.clone()));
    let on_call = contact.and_then(address).filter(|address| !mail.to.contains(address));
    for to in on_call.into_iter().chain(mail.to.iter().cloned()) {
        builder = builder.to(Mailbox::new(None, to));
    }
    builder = builder.date(sent_at);
    builder = if is_first {
        builder.subject(about).message_id(Some(first))
    } else {
        let own = identity(&wording::message_id(due).replace('/', "."));
        builder.subject(format!("Re: {about}")).message_id(Some(own)).in_reply_to(first.clone()).references(first)
    };
    let (text, html) = words(due, external_url);
    builder.multipart(MultiPart::alternative_plain_html(text, html)).map_err(|error| error.to_string())
}

/// An address in ASCII, as every server takes it.
pub fn address(text: &str) -> Option<Address> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && text.matches('@').count() == 1;
    text.parse::<Address>().ok().filter(|_| is_plain)
}

/// What it says, as text and as HTML.
fn words(due: &Due, external_url: &str) -> (String, String) {
    let alert = &due.alert;
    let line = |text: &str| line(text, MAX_TEXT_BYTES);
    let (title, summary, url) = (line(&title(due)), line(alert.summary()), line(&link(alert, external_url)));
    let times = [Some(("since", rfc3339(alert.opened_us))), alert.ended_us.map(|at_us| ("until", rfc3339(at_us)))];
    let facts = FACTS.iter().filter_map(|name| Some((*name, line(alert.annotations.get(*name)?))));
    let facts = times.into_iter().flatten().chain(facts).chain([("incident", line(&alert.id))]).collect::<Vec<_>>();
    let lines = facts.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
    let text = format!("{title}\n\n{summary}\n\n{lines}\n{url}\n");
    let escaped = |text: &str| escaped(text, MAX_TEXT_BYTES);
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th align=\"left\">{name}</th><td>{}</td></tr>\n", escaped(value))
    };
    let rows = facts.iter().map(row).collect::<String>();
    let html = format!(
        "<!DOCTYPE html>\n<html><body>\n<h2>{}</h2>\n<p>{}</p>\n<table>\n{rows}</table>\n<p><a href=\"{}\">{}</a></p>\n</body></html>\n",
        escaped(&title),
        escaped(&summary),
        escaped(&url).replace('"', "%22"),
        escaped(&url),
    );
    (text, html)
}

/// A text as one line.
fn line(text: &str, bytes: usize) -> String {
    cut(text, bytes).replace(char::is_control, " ")
}

/// A text as part of an identity: as it is, if it can be one.
fn word(text: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_word = text.len() <= 128 && !text.contains("..") && text.bytes().all(fits);
    if is_word { text.to_owned() } else { hex(&Sha256::digest(text)) }
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
