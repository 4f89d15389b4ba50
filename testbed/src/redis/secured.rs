//! A Redis with TLS only and with users of its own.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::Redis;

/// The user that the tests give their own commands as.
const ADMIN: [&str; 2] = ["admin", "admins-password"];

impl Redis {
    /// Keeps an append-only file. Its certificate, for 127.0.0.1, is of an [`authority`](Self::authority) of its own; its
    /// users are those of these lines of its configuration, and one for [`command`](Self::command).
    pub async fn secured(users: &[&str]) -> Self {
        let [name, password] = ADMIN;
        let admin = format!("user {name} on >{password} ~* &* +@all");
        Self::prepared(|redis| {
            redis.certify();
            let file = |name: &str| redis.directory.join(name).display().to_string();
            redis.access =
                ["--tls", "--cacert", &file("ca.pem"), "--no-auth-warning", "--user", name, "--pass", password]
                    .map(str::to_owned)
                    .into();
            let tls = ["port 0", "tls-auth-clients no", "appendonly yes"].map(str::to_owned);
            let port = format!("tls-port {}", redis.port);
            let files =
                [("tls-cert-file", "server.pem"), ("tls-key-file", "server.key"), ("tls-ca-cert-file", "ca.pem")]
                    .map(|(setting, name)| format!("{setting} {}", file(name)));
            let users = users.iter().map(|&line| line.to_owned());
            redis.settings = tls.into_iter().chain([port]).chain(files).chain(users).chain([admin.clone()]).collect();
            redis.url = format!("rediss://127.0.0.1:{}", redis.port);
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

    fn certify(&self) {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "the tests' authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(self.authority(), authority.pem()).unwrap();
        fs::write(self.directory.join("server.pem"), server.pem()).unwrap();
        fs::write(self.directory.join("server.key"), key.serialize_pem()).unwrap();
    }
}
