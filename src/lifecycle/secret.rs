//! Values that must not be logged or printed, and where they come from.

use std::{fmt, fs, io, path::PathBuf, str::FromStr, sync::Arc};

use parking_lot::RwLock;

/// A password, key or URL with credentials: never empty, and hidden in its `Debug` output. Blanks, line ends and a byte
/// order mark around it are removed: editors, shells and secret stores add them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value. Pass it on; do not log or print it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.is_empty() { Err("must not be empty") } else { Ok(Self(text.to_owned())) }
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An option or a variable: the secret cannot change while the process runs.
    Value(Secret),
    /// A file, which can be read again.
    File(PathBuf),
}

impl SecretSource {
    /// The secret as it is now.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no secret.
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let explain = |reason: String| io::Error::other(format!("{}: {reason}", path.display()));
                let text = fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
                text.parse().map_err(|_| explain("the file is empty".to_owned()))
            }
        }
    }

    /// Whether reading again can bring another secret.
    pub const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// A secret that can be read again while it is in use. Clones share it.
#[derive(Clone, Debug)]
pub struct RotatingSecret {
    source: Arc<SecretSource>,
    current: Arc<RwLock<Secret>>,
}

impl RotatingSecret {
    /// Reads the secret for the first time.
    ///
    /// # Errors
    ///
    /// Those of [`SecretSource::read`].
    pub fn read(source: SecretSource) -> io::Result<Self> {
        let current = Arc::new(RwLock::new(source.read()?));
        Ok(Self { source: Arc::new(source), current })
    }

    /// The secret that counts now.
    pub fn current(&self) -> Secret {
        self.current.read().clone()
    }

    /// Reads the secret again. True: it is another one, and counts from now on. After an error the former one counts.
    ///
    /// # Errors
    ///
    /// Those of [`SecretSource::read`].
    pub fn read_again(&self) -> io::Result<bool> {
        let secret = self.source.read()?;
        let mut current = self.current.write();
        Ok(std::mem::replace(&mut *current, secret) != *current)
    }

    /// Whether reading again can bring another secret.
    pub fn is_file(&self) -> bool {
        self.source.is_file()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_shells_put_around_a_secret_is_no_part_of_it() {
        for text in ["key", "key\n", "\u{feff}key\r\n", " \tkey ", "\n\n\u{feff} key"] {
            assert_eq!(text.parse::<Secret>().unwrap().reveal(), "key", "{text:?}");
        }
        assert_eq!("a key".parse::<Secret>().unwrap().reveal(), "a key");
        for text in ["", "\n", "\u{feff}", " \r\n"] {
            assert!(text.parse::<Secret>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_again_leaves_the_former_secret() {
        let path = std::env::temp_dir().join(format!("hubbub-secret-{}", std::process::id()));
        fs::write(&path, "one\n").unwrap();
        let secret = RotatingSecret::read(SecretSource::File(path.clone())).unwrap();
        assert!(!secret.read_again().unwrap());
        fs::write(&path, "two\n").unwrap();
        assert!(secret.read_again().unwrap());
        fs::write(&path, "\n").unwrap();
        assert!(secret.read_again().unwrap_err().to_string().contains("is empty"));
        fs::remove_file(&path).unwrap();
        assert!(secret.read_again().unwrap_err().to_string().contains(&*path.to_string_lossy()));
        assert_eq!(secret.current().reveal(), "two");
    }
}
