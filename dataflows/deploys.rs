//! `deploys`: changes of a service in; the deploy that may have caused what is wrong with it.

use evenkeel_schemas::{Cause, Changed, Dimension};

/// A change lies shortly before what it may have caused within, µs: half an hour.
pub(crate) const BEFORE_US: i64 = 1_800_000_000;

/// Clocks differ: a change may seem to come so much after what it caused, µs.
pub(crate) const AFTER_US: i64 = 60_000_000;

/// A deploy that may have caused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deploy<'a> {
    pub version: &'a str,
    /// The version before; empty if it is not known.
    pub before: &'a str,
}

impl<'a> Deploy<'a> {
    /// Of a service's changes, oldest first: the deploy of the version that the cause is about or, if it is about none, the
    /// newest one shortly before it began. The version before is none of `withdrawn`, which were taken back; where nothing
    /// else is known to go back to, because what came before is one of them, there is no such deploy.
    pub fn suspect(changes: &'a [Changed], cause: &'a Cause, withdrawn: &[String]) -> Option<Self> {
        let deploys = changes.iter().filter(|change| !change.version.is_empty()).collect::<Vec<_>>();
        let span = cause.since_us - BEFORE_US..=cause.since_us + AFTER_US;
        let (at, version) = match cause.key.get(Dimension::Version).filter(|version| !version.is_empty()) {
            Some(judged) => (deploys.iter().rposition(|deploy| deploy.version == judged), judged),
            None => {
                let at = deploys.iter().rposition(|deploy| span.contains(&deploy.at_us))?;
                (Some(at), deploys[at].version.as_str())
            }
        };
        let before = deploys[..at.unwrap_or(deploys.len())].iter().rfind(|deploy| deploy.version != version);
        match before.map(|deploy| &deploy.version) {
            Some(before) if withdrawn.contains(before) => None,
            before => Some(Self { version, before: before.map_or("", String::as_str) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_schemas::{Detector, Key};

    fn cause(version: Option<&str>) -> Cause {
        let dimensions = [(Dimension::Service, "shop")].into_iter();
        let key = Key::new(dimensions.chain(version.map(|version| (Dimension::Version, version))));
        let (detector, since_us) = (Detector::ErrorRate, 10_000_000_000);
        Cause { detector, key, nodes: Vec::new(), since_us, evidence: String::new(), verdicts: 1 }
    }

    fn change(at_us: i64, what: &str, version: &str) -> Changed {
        let (service, by) = ("shop".to_owned(), "ci".to_owned());
        Changed { at_us, service, what: what.to_owned(), version: version.to_owned(), by }
    }

    #[test]
    fn the_deploy_that_is_taken_back_is_the_one_that_may_have_caused_it() {
        let changes = [
            change(1_000_000_000, "deploy", "1"),
            change(9_000_000_000, "deploy", "2"),
            change(9_100_000_000, "flag new-cart on", ""),
            change(9_200_000_000, "deploy", "3"),
            change(9_900_000_000, "scale", ""),
            change(10_070_000_000, "deploy", "4"),
        ];
        let suspect = |version, withdrawn: &[&str]| {
            let withdrawn = withdrawn.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            let cause = cause(version);
            Deploy::suspect(&changes, &cause, &withdrawn).map(|it| (it.version.to_owned(), it.before.to_owned()))
        };
        let pair = |version: &str, before: &str| Some((version.to_owned(), before.to_owned()));
        // The newest before it began; what came after is no cause.
        assert_eq!(suspect(None, &[]), pair("3", "2"));
        // A version that was found worse is the one, whatever came since.
        assert_eq!(suspect(Some("2"), &[]), pair("2", "1"));
        assert_eq!(suspect(Some("1"), &[]), pair("1", ""));
        assert_eq!(suspect(Some("9"), &[]), pair("9", "4"));
        // Nothing goes back to what was taken back.
        assert_eq!(suspect(None, &["2"]), None);
        let cause = cause(None);
        assert_eq!(Deploy::suspect(&changes[..1], &cause, &[]), None, "long before it began");
        assert_eq!(Deploy::suspect(&[], &cause, &[]), None);
    }
}
