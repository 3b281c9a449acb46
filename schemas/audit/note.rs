//! Signed notes (C2SP signed-note): a text, and lines that sign it. Ed25519 signatures (RFC 8032), and timestamped
//! Ed25519 cosignatures of checkpoints (C2SP tlog-cosignature).
//!
//! The type byte in a key says how its signatures are made; signatures of unknown keys or types are carried along,
//! whatever their length, and prove nothing.

use crate::{Refused, base64, from_base64, refuse};
use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// The type byte of Ed25519 signatures over the text.
pub const ED25519: u8 = 0x01;

/// The type byte of timestamped Ed25519 cosignatures over a checkpoint.
pub const COSIGNATURE: u8 = 0x04;

/// A longer note is refused: 16 signatures of 5 KB and then some.
pub const MAX_NOTE_BYTES: usize = 1 << 18;

/// A signature line: `— <name> base64(key id ‖ signature)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// The first four bytes of the key's hash.
    pub key_id: [u8; 4],
    /// The signature itself; its form is up to the key's type.
    pub bytes: Vec<u8>,
}

impl Display for Signature {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "— {} {}", self.name, base64(&[&self.key_id, self.bytes.as_slice()].concat()))
    }
}

impl FromStr for Signature {
    type Err = Refused;

    fn from_str(line: &str) -> Result<Self, Refused> {
        let parts = line.strip_prefix("— ").and_then(|rest| rest.split_once(' '));
        let decoded = parts.and_then(|(name, text)| Some((name, from_base64(text)?)));
        match decoded.as_ref().and_then(|(name, bytes)| Some((*name, bytes.split_first_chunk::<4>()?))) {
            Some((name, (key_id, bytes))) if is_name(name) && !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
            }
            _ => refuse(format!("{line:?} is no signature line")),
        }
    }
}

/// A text and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last newline.
    pub text: String,
    /// The signature lines in their order.
    pub signatures: Vec<Signature>,
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| write!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = Refused;

    fn from_str(note: &str) -> Result<Self, Refused> {
        if note.len() > MAX_NOTE_BYTES {
            return refuse(format!("a note of {} bytes, {MAX_NOTE_BYTES} at most", note.len()));
        }
        if note.chars().any(|character| character < ' ' && character != '\n') {
            return refuse("a control character in a note");
        }
        let (text, lines) = match note.rsplit_once("\n\n") {
            Some((text, lines)) if lines.ends_with('\n') => (format!("{text}\n"), lines),
            _ => return refuse("a note is a text, an empty line and signature lines, each with its newline"),
        };
        let signatures = lines.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }
}

impl Note {
    /// When `key` signed the text: `Some(None)` if it says no time, s since the Unix epoch; `None` if it did not sign.
    ///
    /// # Errors
    /// [`Refused`] if there is a signature of this key, and it is false.
    pub fn signed_by(&self, key: &VerifierKey) -> Result<Option<Option<u64>>, Refused> {
        let of_key = |signature: &&Signature| signature.name == key.name && signature.key_id == key.id();
        let Some(signature) = self.signatures.iter().find(of_key) else { return Ok(None) };
        key.verify(&self.text, &signature.bytes).map(Some)
    }
}

/// The message that a cosignature signs.
pub fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// A public key, in the form of Go's vkeys: `<name>+<hash>+base64(type ‖ key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: u8,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key of this name, type and Ed25519 public key.
    ///
    /// # Errors
    /// [`Refused`] if the name is empty or holds a space or plus, or the type is neither [`ED25519`] nor [`COSIGNATURE`].
    pub fn new(name: &str, kind: u8, public: [u8; 32]) -> Result<Self, Refused> {
        if !is_name(name) {
            return refuse(format!("{name:?} is no name of a key: not empty, no spaces, no plus"));
        }
        if ![ED25519, COSIGNATURE].contains(&kind) {
            return refuse(format!("keys of type {kind:#04x} are unknown here"));
        }
        VerifyingKey::from_bytes(&public).map_err(|_| Refused("no Ed25519 public key".to_owned()))?;
        Ok(Self { name: name.to_owned(), kind, public })
    }

    /// Its name: for the key of a log, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its signatures are made.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// `SHA256(name ‖ "\n" ‖ type ‖ key)[..4]`.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new_with_prefix(&self.name).chain_update([b'\n', self.kind]).chain_update(self.public);
        let hash: [u8; 32] = hash.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether `signature` is this key's over `text`; the time that it says.
    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Refused> {
        let (time_s, message, signature) = match (self.kind, signature.split_first_chunk::<8>()) {
            (COSIGNATURE, Some((time, signature))) => {
                let time_s = u64::from_be_bytes(*time);
                (Some(time_s), cosigned(text, time_s), signature)
            }
            _ => (None, text.to_owned(), signature),
        };
        let false_signature = || Refused(format!("the signature of {} is false", self.name));
        let signature = Ed25519Signature::from_slice(signature).map_err(|_| false_signature())?;
        let key = VerifyingKey::from_bytes(&self.public).expect("checked when it was made");
        key.verify_strict(message.as_bytes(), &signature).map_err(|_| false_signature())?;
        Ok(time_s)
    }
}

impl Display for VerifierKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, base64(&[&[self.kind], self.public.as_slice()].concat()))
    }
}

impl FromStr for VerifierKey {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut parts = text.trim().splitn(3, '+');
        let parts = (parts.next(), parts.next(), parts.next().and_then(from_base64));
        let (Some(name), Some(hash), Some(key)) = parts else {
            return refuse(format!("{text:?} is no key: <name>+<hash>+<base64>"));
        };
        let Some((kind, public)) = key.split_first() else { return refuse("an empty key") };
        let public = public.try_into().map_err(|_| Refused(format!("{} bytes of key, not 32", public.len())))?;
        let key = Self::new(name, *kind, public)?;
        if key.to_string().split('+').nth(1) != Some(hash) {
            return refuse(format!("the hash {hash} is not that of the key: mistyped?"));
        }
        Ok(key)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|character| character.is_whitespace() || character == '+')
}
