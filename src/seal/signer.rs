//! [`Signer`]: who signs, and where the key is. Two of them: a key in a file, and a token in the shape of PKCS#11.

use crate::ports::PortError;
use ed25519_dalek::{Signer as _, SigningKey};
use evenkeel_schemas::audit::note::{COSIGNATURE, ED25519, cosigned};
use evenkeel_schemas::audit::{Note, Signature, VerifierKey, base64, from_base64};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Signs with a key that nobody else has.
pub trait Signer: Send {
    /// The public half, and the name.
    fn key(&self) -> &VerifierKey;

    /// The Ed25519 signature (RFC 8032) of a message.
    ///
    /// # Errors
    /// `Retry` if the key cannot be reached now, `Fatal` if it will not be.
    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], PortError>;
}

/// Adds a log's signature to a note.
///
/// # Errors
/// As [`Signer::sign`].
pub fn sign_note(note: &mut Note, signer: &mut dyn Signer) -> Result<(), PortError> {
    let bytes = signer.sign(note.text.as_bytes())?.to_vec();
    note.signatures.push(Signature { name: signer.key().name().to_owned(), key_id: signer.key().id(), bytes });
    Ok(())
}

/// A witness's cosignature of a checkpoint's text, at `time_s`.
///
/// # Errors
/// As [`Signer::sign`].
pub fn cosign(text: &str, time_s: u64, signer: &mut dyn Signer) -> Result<Signature, PortError> {
    let signed = signer.sign(cosigned(text, time_s).as_bytes())?;
    let bytes = [&time_s.to_be_bytes()[..], &signed].concat();
    Ok(Signature { name: signer.key().name().to_owned(), key_id: signer.key().id(), bytes })
}

/// A key in a file, in the form of Go's signed notes: `PRIVATE+KEY+<name>+<hash>+base64(type ‖ seed)`.
pub struct FileKey {
    key: VerifierKey,
    secret: SigningKey,
}

const PRIVATE: &str = "PRIVATE+KEY+";

impl FileKey {
    /// The key of this name and seed: of a witness or of a log.
    ///
    /// # Errors
    /// `Fatal` if the name is none.
    pub fn new(name: &str, is_witness: bool, seed: [u8; 32]) -> Result<Self, PortError> {
        let secret = SigningKey::from_bytes(&seed);
        let kind = if is_witness { COSIGNATURE } else { ED25519 };
        let key = VerifierKey::new(name, kind, secret.verifying_key().to_bytes());
        Ok(Self { key: key.map_err(|error| PortError::Fatal(error.to_string()))?, secret })
    }

    /// A new key.
    ///
    /// # Errors
    /// `Fatal` if the name is none, or the machine has no random numbers.
    pub fn generate(name: &str, is_witness: bool) -> Result<Self, PortError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| PortError::Fatal(format!("no random numbers: {error}")))?;
        Self::new(name, is_witness, seed)
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// `Fatal` if there is none.
    pub fn read(path: &Path) -> Result<Self, PortError> {
        let file = path.display();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| PortError::Fatal(format!("reading the key {file}: {error}")))?;
        Self::parse(&text).ok_or_else(|| {
            let how = "write one with `evenkeel audit keygen`";
            PortError::Fatal(format!("{file} holds no key {PRIVATE}<name>+<hash>+<base64>; {how}"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().strip_prefix(PRIVATE)?.splitn(3, '+');
        let (name, hash, bytes) = (parts.next()?, parts.next()?, from_base64(parts.next()?)?);
        let (kind, seed) = bytes.split_first()?;
        let found = Self::new(name, *kind == COSIGNATURE, seed.try_into().ok()?).ok()?;
        (found.key.kind() == *kind && found.key.to_string().split('+').nth(1) == Some(hash)).then_some(found)
    }

    /// Writes the key into a new file that only its owner may read.
    ///
    /// # Errors
    /// `Fatal` if there is a file already, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PortError> {
        let kind_and_seed = [&[self.key.kind()], self.secret.as_bytes().as_slice()].concat();
        let hash = self.key.to_string().split('+').nth(1).expect("a key has three parts").to_owned();
        let text = format!("{PRIVATE}{}+{hash}+{}\n", self.key.name(), base64(&kind_and_seed));
        let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|error| PortError::Fatal(format!("writing the key {}: {error}", path.display())))
    }
}

impl Signer for FileKey {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], PortError> {
        Ok(self.secret.sign(message).to_bytes())
    }
}

/// Wrong PINs in a row until a token locks itself.
const PIN_TRIES: u32 = 3;

/// A token in software, in the shape of PKCS#11 (OASIS PKCS #11 3.1): one logs in with a PIN, finds a key by its label and
/// signs with its handle (`CKM_EDDSA`); the key itself never comes out. It stands in for a hardware module in tests.
pub struct Token {
    pin: String,
    tries_left: u32,
    keys: BTreeMap<String, SigningKey>,
}

/// A key of a token, by its place: useless without the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handle(usize);

impl Token {
    /// A token with this PIN and no keys.
    pub fn new(pin: &str) -> Self {
        Self { pin: pin.to_owned(), tries_left: PIN_TRIES, keys: BTreeMap::new() }
    }

    /// Makes a key inside (`C_GenerateKeyPair`).
    ///
    /// # Errors
    /// `Fatal` if the machine has no random numbers.
    pub fn generate(&mut self, label: &str) -> Result<(), PortError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| PortError::Fatal(format!("no random numbers: {error}")))?;
        self.keys.insert(label.to_owned(), SigningKey::from_bytes(&seed));
        Ok(())
    }

    /// Opens a session (`C_OpenSession`, `C_Login`) with the key of a label (`C_FindObjects`), for a log or a witness.
    ///
    /// # Errors
    /// `Fatal` if the PIN is wrong, the token is locked, or there is no such key.
    pub fn login(
        mut self,
        pin: &str,
        label: &str,
        name: &str,
        is_witness: bool,
    ) -> Result<TokenKey, (Self, PortError)> {
        let refused = |token: Self, why: String| Err((token, PortError::Fatal(why)));
        if self.tries_left == 0 {
            return refused(self, "the token is locked: too many wrong PINs".to_owned());
        }
        if pin != self.pin {
            self.tries_left -= 1;
            let left = self.tries_left;
            return refused(self, format!("wrong PIN; {left} tries are left"));
        }
        self.tries_left = PIN_TRIES;
        let Some(place) = self.keys.keys().position(|known| known == label) else {
            return refused(self, format!("the token has no key {label:?}"));
        };
        let public = self.keys[label].verifying_key().to_bytes();
        let kind = if is_witness { COSIGNATURE } else { ED25519 };
        match VerifierKey::new(name, kind, public) {
            Ok(key) => Ok(TokenKey { key, token: self, handle: Handle(place) }),
            Err(error) => refused(self, error.to_string()),
        }
    }
}

/// A session with a token, and one of its keys.
pub struct TokenKey {
    key: VerifierKey,
    token: Token,
    handle: Handle,
}

impl TokenKey {
    /// Closes the session (`C_Logout`).
    pub fn logout(self) -> Token {
        self.token
    }
}

impl Signer for TokenKey {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], PortError> {
        let key = self.token.keys.values().nth(self.handle.0);
        Ok(key.expect("a token never loses a key").sign(message).to_bytes())
    }
}
