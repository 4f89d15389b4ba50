//! A Redis with TLS only, with users and certificates of its own.

use std::path::PathBuf;

use super::Redis;
use crate::certificate::Certificate;

/// The user that the tests give their own commands as.
const ADMIN: [&str; 2] = ["admin", "admins-password"];

impl Redis {
    /// Keeps an append-only file. Its certificate, for 127.0.0.1, is of an [`authority`](Self::authority) of its own; its
    /// users are those of these lines of its configuration, and one for [`command`](Self::command).
    pub async fn secured(users: &[&str]) -> Self {
        let [name, password] = ADMIN;
        let admin = format!("user {name} on >{password} ~* &* +@all");
        Self::prepared(|redis| {
            redis.encrypt(Certificate::Signed);
            redis.access.extend(["--no-auth-warning", "--user", name, "--pass", password].map(str::to_owned));
            let more =
                ["tls-auth-clients no", "appendonly yes"].into_iter().chain(users.iter().copied()).chain([&*admin]);
            redis.settings.extend(more.map(str::to_owned));
        })
        .await
    }

    /// With this certificate. `tls-auth-clients` has its default: clients need a certificate of the authority, such as
    /// the [`client_certificate`](Self::client_certificate). More settings win over that.
    pub async fn certified(certificate: Certificate, settings: &[&str]) -> Self {
        Self::prepared(|redis| {
            redis.encrypt(certificate);
            redis.settings.extend(settings.iter().map(|&line| line.to_owned()));
        })
        .await
    }

    /// The URL with a user and a password.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url.replacen("://", &format!("://{user}:{password}@"), 1)
    }

    /// The certificate of the authority that signed its certificate, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    /// A certificate that it accepts of clients, and the key, in PEM.
    pub fn client_certificate(&self) -> [PathBuf; 2] {
        ["client.pem", "client.key"].map(|name| self.directory.join(name))
    }

    /// Prepares TLS instead of the plain port.
    fn encrypt(&mut self, certificate: Certificate) {
        certificate.write_into(&self.directory);
        let file = |name: &str| self.directory.join(name).display().to_string();
        // what it proves is no matter to its own commands
        self.access = ["--tls", "--insecure", "--cert", &file("client.pem"), "--key", &file("client.key")]
            .map(str::to_owned)
            .into();
        let files = [("tls-cert-file", "server.pem"), ("tls-key-file", "server.key"), ("tls-ca-cert-file", "ca.pem")]
            .map(|(setting, name)| format!("{setting} {}", file(name)));
        self.settings = [&["port 0".to_owned(), format!("tls-port {}", self.port)], &files[..]].concat();
        self.url = format!("rediss://127.0.0.1:{}", self.port);
    }
}
