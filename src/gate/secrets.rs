//! [`Secrets`]: who has which secret, a file of `otpauth://totp/NAME?secret=…` lines (the Key URI format of authenticators).

use crate::ports::PortError;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use totp_rs::{Algorithm, Builder, Secret, Totp};

/// The longest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Bytes of a new secret: as long as SHA-1's digest, RFC 4226.
const SECRET_BYTES: usize = 20;

/// How a line begins.
const SCHEME: &str = "otpauth://totp/";

/// Whose secret is what. It is never said, in no form.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, Totp>);

impl Secrets {
    /// Reads the file, which nobody but its owner may read or write.
    ///
    /// # Errors
    /// `Fatal`: says what is wrong and in which line, and not what stands there.
    pub fn read(path: &Path) -> Result<Self, PortError> {
        let wrong = |why: String| PortError::Fatal(format!("secrets {}: {why}", path.display()));
        let file = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if file.mode() & 0o077 != 0 {
            return Err(wrong(format!("mode {:o}: others may use it; run chmod 600 on it", file.mode() & 0o777)));
        }
        if file.len() > MAX_FILE_BYTES {
            return Err(wrong(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (name, totp) = entry(line).map_err(|why| format!("line {at}: {why}"))?;
            if all.insert(name, totp).is_some() {
                return Err(format!("line {at}: this person has a secret already"));
            }
        }
        Ok(Self(all))
    }

    /// The step of time that a password of a person is for, if it is theirs and of now, or of the step before or after: in
    /// constant time for all passwords.
    pub fn step(&self, name: &str, password: &str, now_s: u64) -> Option<u64> {
        self.0.get(name)?.check(password, now_s)
    }

    /// Whether a person has a secret.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Gives a person a new secret, in a file that is made if need be; the line, for the person's authenticator.
    ///
    /// # Errors
    /// `Fatal` if the person has one, or the file cannot be read or written.
    pub fn enroll(path: &Path, name: &str) -> Result<String, PortError> {
        let failed = |why: String| PortError::Fatal(format!("secrets {}: {why}", path.display()));
        if path.exists() && Self::read(path)?.has(name) {
            return Err(failed(format!("{name} has a secret already: take its line out first")));
        }
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| failed(format!("no random numbers: {error}")))?;
        let label = form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
        let line = format!("{SCHEME}{label}?secret={}&issuer=evenkeel", Secret::from(bytes).to_base32());
        entry(&line).map_err(failed)?;
        let file = std::fs::File::options().append(true).create(true).mode(0o600).open(path);
        let written =
            file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|error| failed(error.to_string()))?;
        Ok(line)
    }
}

/// The person and the password generator of a line.
fn entry(line: &str) -> Result<(String, Totp), String> {
    let rest = line.strip_prefix(SCHEME).ok_or_else(|| format!("it begins with {SCHEME}"))?;
    let (label, query) = rest.split_once('?').ok_or("it has a ?secret=…")?;
    let decoded =
        |text: &str| form_urlencoded::parse(format!("{text}=").as_bytes()).next().map(|(it, _)| it.into_owned());
    let label = decoded(&label.replace('+', "%2B")).unwrap_or_default();
    // An issuer may stand before the name.
    let name = label.rsplit(':').next().unwrap_or_default().trim().to_owned();
    if name.is_empty() || name.len() > 256 {
        return Err("a name has 1 to 256 bytes".to_owned());
    }
    let fields = form_urlencoded::parse(query.as_bytes()).into_owned().collect::<BTreeMap<_, _>>();
    let field = |name: &str, default: &str| fields.get(name).map_or_else(|| default.to_owned(), Clone::clone);
    let algorithm = match field("algorithm", "SHA1").as_str() {
        "SHA1" => Algorithm::SHA1,
        "SHA256" => Algorithm::SHA256,
        "SHA512" => Algorithm::SHA512,
        _ => return Err("algorithm: SHA1, SHA256 or SHA512".to_owned()),
    };
    let digits = field("digits", "6").parse::<u8>().map_err(|_| "digits: 6 to 8")?;
    if field("period", "30") != "30" {
        return Err("period: 30".to_owned());
    }
    // The library's errors may show the secret: they are not passed on.
    let secret =
        Secret::try_from_base32(field("secret", "").to_uppercase()).map_err(|_| "secret: base32 without padding")?;
    let totp = Builder::new().with_algorithm(algorithm).with_digits(digits).with_secret(secret).with_skew(1);
    let totp = totp.with_step_duration(30).build().map_err(|_| "secret: 128 bits or more; digits: 6 to 8")?;
    Ok((name, totp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, secret: &[u8], rest: &str) -> String {
        format!("{SCHEME}{name}?secret={}{rest}", Secret::from(secret).to_base32())
    }

    /// RFC 6238, Appendix B: the seed of each digest, and times with their passwords of eight digits.
    #[test]
    fn the_vectors_of_rfc_6238() {
        let digits = b"1234567890".iter().cycle();
        let seed = |bytes: usize| digits.clone().take(bytes).copied().collect::<Vec<_>>();
        let file = [("SHA1", 20), ("SHA256", 32), ("SHA512", 64)]
            .map(|(name, bytes)| line(name, &seed(bytes), &format!("&algorithm={name}&digits=8")));
        let secrets = Secrets::parse(&file.join("\n")).expect("secrets");
        let vectors = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (time_s, passwords) in vectors {
            for (name, password) in ["SHA1", "SHA256", "SHA512"].into_iter().zip(passwords) {
                assert_eq!(secrets.step(name, password, time_s), Some(time_s / 30), "{name} at {time_s}");
                // One step before and after, and no more.
                for shift in [-60, -30, 30, 60] {
                    let at_s = time_s.saturating_add_signed(shift);
                    let holds = (at_s / 30).abs_diff(time_s / 30) <= 1;
                    assert_eq!(secrets.step(name, password, at_s).is_some(), holds, "{name} {time_s} {shift}");
                }
            }
        }
        assert_eq!(secrets.step("SHA1", "94287083", 59), None, "a wrong one");
        assert_eq!(secrets.step("nobody", "94287082", 59), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_lines_say_what_is_wrong_with_them() {
        let directory = std::env::temp_dir().join(format!("evenkeel-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("secrets");
        let line = Secrets::enroll(&path, "ann bo").expect("a secret");
        assert!(line.starts_with("otpauth://totp/ann%20bo?secret="), "{line}");
        assert!(Secrets::read(&path).expect("readable").has("ann bo"));
        assert!(Secrets::enroll(&path, "ann bo").is_err(), "twice");
        Secrets::enroll(&path, "bob").expect("another");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&path, open).expect("permissions");
        let refused = Secrets::read(&path).map(|_| ()).expect_err("others may read it").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        std::fs::remove_dir_all(&directory).expect("removed");
        for (text, why) in [
            ("otpauth://hotp/a?secret=AAAA", "begins with"),
            ("otpauth://totp/a", "?secret"),
            ("otpauth://totp/a?secret=AAAA", "128 bits"),
            ("otpauth://totp/a?secret=11111111111111111111111111111111", "base32"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&algorithm=MD5", "algorithm"),
            ("otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=60", "period"),
        ] {
            let said = Secrets::parse(text).map(|_| ()).expect_err("wrong");
            assert!(said.contains(why) && !said.contains("GEZDG"), "{said}");
        }
    }
}
