//! Which process of a run this one is, and where the others are.

use crate::ports::{PortError, Share};

/// A process of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0.
    pub process: usize,
    /// Where each process listens, `host:port`.
    pub hosts: Vec<String>,
}

impl Place {
    /// What `--process I/N` and the text of `--hosts FILE` say.
    ///
    /// # Errors
    /// `Fatal` if they do not fit together: says which and how to fix it.
    pub fn parse(process: &str, hosts: &str) -> Result<Self, PortError> {
        let wrong = |what: String| PortError::Fatal(what);
        let numbers = process.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let Some((process, processes)) = numbers.filter(|(i, n): &(usize, usize)| i < n) else {
            return Err(wrong(format!("--process {process}: write it as I/N, from 0/N to N-1/N, e.g. 0/2")));
        };
        let lines = hosts.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let hosts = lines.map(str::to_owned).collect::<Vec<_>>();
        if hosts.len() != processes {
            let found = hosts.len();
            return Err(wrong(format!(
                "--hosts has {found} lines, but --process names {processes} processes: one each"
            )));
        }
        let is_address = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if let Some(host) = hosts.iter().find(|host| !is_address(host)) {
            return Err(wrong(format!("--hosts: {host:?}: write each line as host:port")));
        }
        if let Some(twice) = (1..hosts.len()).find(|at| hosts[..*at].contains(&hosts[*at])) {
            return Err(wrong(format!(
                "--hosts names {} twice: each process listens at its own address",
                hosts[twice]
            )));
        }
        Ok(Self { process, hosts })
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.process == 0
    }

    /// The partitions it reads.
    pub fn share(&self) -> Share {
        Share::of(self.process, self.processes())
    }

    /// A process, for people.
    pub fn name_of(&self, process: usize) -> String {
        format!("process {process} ({})", self.hosts.get(process).map_or("unknown", String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_checked() {
        let place = Place::parse("1/2", "# leader\na:1\n\n b:2 \n").expect("two hosts");
        assert_eq!((place.process, place.hosts.len(), place.leads()), (1, 2, false));
        assert_eq!(place.name_of(0), "process 0 (a:1)");
        for (process, hosts, why) in [
            ("2/2", "a:1\nb:2", "write it as I/N"),
            ("0", "a:1", "write it as I/N"),
            ("0/3", "a:1\nb:2", "2 lines"),
            ("0/2", "a:1\nb", "host:port"),
            ("0/2", "a:1\na:1", "twice"),
        ] {
            let error = Place::parse(process, hosts).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn each_partition_is_in_one_share() {
        use evenkeel_schemas::{Partition, Topic};
        for topic in Topic::ALL {
            for partition in (0..7).map(|partition| Partition { topic, partition }) {
                assert_eq!((0..3).filter(|process| Share::of(*process, 3).holds(partition)).count(), 1);
                assert!(Share::WHOLE.holds(partition));
            }
        }
    }
}
