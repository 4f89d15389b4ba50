//! Certificates of servers, good and bad, with an authority of their own.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// What the certificate of a server is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// For 127.0.0.1, signed by the authority.
    Signed,
    /// The same, but of the past.
    Expired,
    /// The same, but for another host.
    Elsewhere,
    /// As `openssl req -x509` makes it: its own authority, and without the address that clients use.
    SelfSigned,
}

impl Certificate {
    /// Writes `server.pem` and `server.key`, the authority as `ca.pem`, and `client.pem` and `client.key`, which it signed.
    pub(crate) fn write_into(self, directory: &Path) {
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "the tests' authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", &authority.pem());

        let host = if self == Certificate::Elsewhere { "redis.example" } else { "127.0.0.1" };
        let key = KeyPair::generate().unwrap();
        let mut server = CertificateParams::new([host.to_owned()]).unwrap();
        if self == Certificate::Expired {
            (server.not_before, server.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let server = if self == Certificate::SelfSigned {
            server = CertificateParams::new(["redis.example".to_owned()]).unwrap();
            server.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            server.self_signed(&key)
        } else {
            server.signed_by(&key, &authority)
        };
        write("server.pem", &server.unwrap().pem());
        write("server.key", &key.serialize_pem());

        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(["client".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        write("client.pem", &client.pem());
        write("client.key", &key.serialize_pem());
    }
}
