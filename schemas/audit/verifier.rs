//! `evenkeel-verifier`: checks proofs and logs of seals by themselves, offline. Exit 0: they hold, 1: they do not,
//! 2: wrong arguments or unreadable files.

use evenkeel_audit::{Log, Note, ORIGIN, Proof, Refused, Trust, VerifierKey};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
evenkeel-verifier: checks an audit log's proofs, without evenkeel

  evenkeel-verifier proof FILE --key KEY [--witness KEY]… [--quorum N]   one entry, as `evenkeel audit prove` wrote it
  evenkeel-verifier log DIR --key KEY [--witness KEY]… [--quorum N]      every seal and tile of a log
  evenkeel-verifier note FILE --key KEY                                  one signed note or checkpoint

KEY is <name>+<hash>+<base64>, and comes from somewhere else than the log. --quorum: how many of the witnesses must have
cosigned (default: all that are named). --origin NAME: the name in the chains' beginnings (default: evenkeel).

Example:
  evenkeel-verifier proof entry-17.tlog-proof --key \"$(cat audit.vkey)\"";

struct Arguments {
    what: String,
    path: String,
    trust: Trust,
    origin: String,
}

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return if words.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let arguments = match arguments(&words) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("evenkeel-verifier: {why}; --help says how");
            return ExitCode::from(2);
        }
    };
    match check(&arguments) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(Ending::Refused(Refused(why))) => {
            println!("NOT PROVEN: {why}");
            ExitCode::from(1)
        }
        Err(Ending::Unreadable(why)) => {
            eprintln!("evenkeel-verifier: {why}");
            ExitCode::from(2)
        }
    }
}

fn arguments(words: &[String]) -> Result<Arguments, String> {
    let (mut plain, mut key, mut witnesses, mut quorum, mut origin) = (Vec::new(), None, Vec::new(), None, ORIGIN);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            plain.push(word.clone());
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let parsed = || value.parse::<VerifierKey>().map_err(|error| error.to_string());
        match word.as_str() {
            "--key" => key = Some(parsed()?),
            "--witness" => witnesses.push(parsed()?),
            "--quorum" => quorum = Some(value.parse::<usize>().map_err(|_| format!("{value:?} is no number"))?),
            "--origin" => origin = value,
            _ => return Err(format!("{word} is unknown")),
        }
    }
    let [what, path] = plain.try_into().map_err(|_| "say what to check, and one file or directory".to_owned())?;
    let quorum = quorum.unwrap_or(witnesses.len());
    let trust = Trust::new(key.ok_or("no --key")?, witnesses, quorum).map_err(|error| error.to_string())?;
    Ok(Arguments { what, path, trust, origin: origin.to_owned() })
}

enum Ending {
    Refused(Refused),
    Unreadable(String),
}

impl From<Refused> for Ending {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

fn check(arguments: &Arguments) -> Result<String, Ending> {
    let Arguments { what, path, trust, origin } = arguments;
    let text = || std::fs::read_to_string(path).map_err(|error| Ending::Unreadable(format!("{path}: {error}")));
    match what.as_str() {
        "proof" => {
            let (entry, trusted) = text()?.parse::<Proof>()?.verify(trust)?;
            let (partition, seq, size) = (entry.partition, entry.seq, trusted.checkpoint.size);
            let payload = String::from_utf8_lossy(&entry.payload).into_owned();
            let said = format!("{} {} {} by {}", entry.event_type, entry.op, entry.entity, entry.actor);
            Ok(format!("proven: entry {seq} of partition {partition}, in the log of {size} seals\n{said}\n{payload}"))
        }
        "note" => {
            let note = text()?.parse::<Note>()?;
            match note.signed_by(&trust.key)? {
                Some(_) => Ok(format!("signed by {}\n{}", trust.key.name(), note.text)),
                None => Err(Refused(format!("not signed by {}", trust.key)).into()),
            }
        }
        "log" => {
            if !Path::new(path).is_dir() {
                return Err(Ending::Unreadable(format!("{path} is no directory")));
            }
            let files = |name: &str| match std::fs::read(Path::new(path).join(name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Refused(format!("{name}: {error}"))),
            };
            let log = Log::open(&files, trust)?;
            let audited = log.verify(origin, |_, _| Ok(()))?;
            let mut said = format!("whole: {} seals", log.size());
            for (partition, chain) in &audited.chains {
                let (next_seq, head) = (chain.next_seq(), evenkeel_audit::hex(&chain.head()));
                said += &format!("\npartition {partition}: {next_seq} entries, head {head}");
            }
            Ok(said)
        }
        _ => Err(Ending::Unreadable(format!("{what} is unknown; --help says what there is"))),
    }
}
