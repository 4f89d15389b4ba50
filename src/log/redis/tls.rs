//! TLS to Redis: whom to trust, and who we are.

use std::sync::Arc;

use fred::{
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
    types::config::{TlsConfig, TlsConnector},
};
use tracing::warn;

use super::config::{Access, Pem, RedisError};

/// The TLS of a connection with these files.
pub(super) fn configure(access: &Access) -> Result<TlsConfig, RedisError> {
    let (roots, listed) = match &access.ca {
        Some(pem) => authorities(pem)?,
        None => (system()?, Vec::new()),
    };
    let inner = WebPkiServerVerifier::builder(Arc::new(roots)).build();
    let inner = inner.map_err(|error| RedisError::System(error.to_string()))?;
    let builder =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(Verifier { inner, listed }));
    let config = match &access.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let wrong =
                |reason: String| RedisError::Certificate { cert: cert.path.clone(), key: key.path.clone(), reason };
            let chain = certificates(cert).map_err(wrong)?;
            let private = PrivateKeyDer::from_pem_slice(&key.bytes)
                .map_err(|error| wrong(format!("the key is not an unencrypted private key in PEM ({error})")))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| wrong(error.to_string()))?
        }
    };
    Ok(TlsConnector::from(config).into())
}

/// The authorities in the file, and all certificates in it.
fn authorities(pem: &Pem) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), RedisError> {
    let wrong = |reason: String| RedisError::Authority { path: pem.path.clone(), reason };
    let listed = certificates(pem).map_err(wrong)?;
    let mut roots = RootCertStore::empty();
    for certificate in &listed {
        roots.add(certificate.clone()).map_err(|error| wrong(error.to_string()))?;
    }
    Ok((roots, listed))
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() { Err("it contains no certificate in PEM".to_owned()) } else { Ok(all) }
}

/// The authorities of the operating system. One that cannot be read does not spoil the others, but what the operator has
/// named must be there.
fn system() -> Result<RootCertStore, RedisError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(loaded.certs);
    let reason = loaded.errors.first().map(ToString::to_string);
    let is_named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if roots.is_empty() || is_named && reason.is_some() {
        return Err(RedisError::System(reason.unwrap_or_else(|| "there are none".to_owned())));
    }
    if ignored > 0 || reason.is_some() {
        warn!(ignored, reason, "some certificate authorities of this system cannot be used");
    }
    Ok(roots)
}

/// Trusts what an authority in the file has signed, and also a certificate that is itself in the file: whoever has its
/// key is the server that the operator means, whatever the certificate says of its issuer, its use and its name.
///
/// The check of rustls refuses most self-signed certificates, since they say that they are authorities.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.or_else(|error| {
            // the dates are checked before all of these
            let is_listed = concerns_the_signer_or_name(&error) && self.listed.contains(end_entity);
            if is_listed { Ok(ServerCertVerified::assertion()) } else { Err(error) }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn concerns_the_signer_or_name(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        ) => true,
        // rustls has no variant of its own for this one
        Error::InvalidCertificate(CertificateError::Other(other)) => other.to_string() == "CaUsedAsEndEntity",
        _ => false,
    }
}
