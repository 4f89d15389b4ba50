//! Which Redis has the log, as the operator says it, and what can be wrong with that.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use hubbub_lifecycle::{Secret, SecretSource};

/// Which Redis has the log.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`, with user and password if required. It is read
    /// again when the connection fails.
    pub url: SecretSource,
    /// Separates this system from others on the same server. Keys and channel begin with it, in braces.
    pub prefix: String,
    /// For TLS.
    pub tls: TlsFiles,
}

/// The PEM files of a TLS connection. They are read again when the connection fails.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The authorities that may have signed the server's certificate, or that certificate itself. Default: the
    /// authorities of the operating system.
    pub ca: Option<PathBuf>,
    /// The certificate with which this client identifies itself, and those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
}

/// Why this configuration can never lead to a connection.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL is malformed. It is not shown, since it may hold a password.
    #[error("the Redis URL is not valid: {0}")]
    Url(&'static str),
    /// The URL has another scheme.
    #[error("a Redis URL must begin with redis://, rediss://, redis-cluster://, redis-sentinel:// or valkey://")]
    Scheme,
    /// A file cannot be read.
    #[error("cannot read {0}")]
    File(String),
    /// The certificate authorities of the operating system cannot be loaded.
    #[error("cannot use the certificate authorities of this system (SSL_CERT_FILE, if it is set): {0}")]
    System(String),
    /// The file of the certificate authority cannot be used.
    #[error("cannot use the certificate authority {path} (--redis-ca): {reason}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The certificate of the client cannot be used, or its key.
    #[error("cannot use the client certificate {cert} with the key {key} (--redis-cert, --redis-key): {reason}")]
    Certificate {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Redis refuses a connection with the files as they are now.
    #[error("Redis refuses a connection with them: {0}")]
    Refused(String),
}

/// What the URL and the files say at one time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) url: Secret,
    pub(super) ca: Option<Pem>,
    /// The certificate and the key of the client.
    pub(super) identity: Option<(Pem, Pem)>,
}

/// The content of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pem {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl RedisConfig {
    /// Reads the URL and the files as they are now.
    pub(super) fn read(&self) -> Result<Access, RedisError> {
        let TlsFiles { ca, cert, key } = &self.tls;
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((Pem::read(cert)?, Pem::read(key)?)),
            _ => None,
        };
        Ok(Access {
            url: self.url.read().map_err(|error| RedisError::File(error.to_string()))?,
            ca: ca.as_deref().map(Pem::read).transpose()?,
            identity,
        })
    }

    /// Whether reading again can bring something else.
    pub(super) fn can_change(&self) -> bool {
        let TlsFiles { ca, cert, key } = &self.tls;
        self.url.is_file() || ca.is_some() || cert.is_some() || key.is_some()
    }
}

impl Pem {
    fn read(path: &Path) -> Result<Self, RedisError> {
        let bytes = fs::read(path).map_err(|error| RedisError::File(format!("{}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), bytes })
    }
}

impl fmt::Debug for Access {
    /// Without what they contain, which may be a password or a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}
