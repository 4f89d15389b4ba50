//! Advice for operators about errors of the connection to Redis.

use fred::error::{Error, ErrorKind};

/// Part of the text of an error, and what to do about it. The first that fits counts.
const ADVICE: [(&str, &str); 20] = [
    (
        "UnknownIssuer",
        "the server's certificate is signed by an unknown authority: pass the authority's PEM file, or a self-signed \
         certificate itself, with --redis-ca, or add the authority to those of the system",
    ),
    (
        "CaUsedAsEndEntity",
        "the server's certificate is self-signed and is not the one that is known: pass its PEM file with --redis-ca",
    ),
    (
        "BadSignature",
        "the server's certificate is signed by another authority of the same name as the one that is known: pass the \
         authority's present PEM file with --redis-ca",
    ),
    (
        "NotValidForName",
        "the server's certificate is for another host name than the one in the Redis URL: use a name in the certificate, or \
         pass the certificate itself with --redis-ca",
    ),
    ("Expired", "the server's certificate has expired: renew it, or correct the clock of this machine"),
    ("NotValidYet", "the server's certificate is not valid yet: correct the clock of this machine"),
    ("UnsupportedCertVersion", "the server's certificate is of X.509 version 1: it must be of version 3"),
    (
        "AlertReceived(CertificateRequired)",
        "the server wants a client certificate: pass one with --redis-cert and --redis-key, or set tls-auth-clients to no \
         in Redis",
    ),
    (
        "AlertReceived(UnknownCA)",
        "the server does not know the authority of the client certificate: pass another with --redis-cert and \
         --redis-key, or add the authority to tls-ca-cert-file of Redis",
    ),
    (
        "AlertReceived(CertificateExpired)",
        "the client certificate has expired: renew the file of --redis-cert; it is read again by itself",
    ),
    (
        "AlertReceived(",
        "the server ends the TLS handshake: see --redis-cert and --redis-key if it wants a client certificate, and its log",
    ),
    (
        "InvalidContentType",
        "the server does not use TLS on this port: try redis:// instead of rediss:// in the Redis URL",
    ),
    (
        "Sentinel Error: NOAUTH",
        "the Sentinel or its primary requires a user and a password: sentinelUsername and sentinelPassword in the Redis URL \
         are for the Sentinel, those in front of the host are for the primary",
    ),
    ("WRONGPASS", "the server rejects the user or the password in the Redis URL"),
    ("NOAUTH", "the server requires a user and a password in the Redis URL"),
    ("ERR AUTH", "the server has no password: remove the user and the password from the Redis URL"),
    ("'auth' command", "the server has no users: remove the user from the Redis URL, and keep the password"),
    ("NOPERM", "the user in the Redis URL may not run a command that is needed: docs/operations.md has the list"),
    (
        "sentinel nodes",
        "no Sentinel lets this instance in: check their addresses, sentinelUsername and sentinelPassword in the Redis \
         URL, and whether they use TLS",
    ),
    ("failed to lookup address", "the host name in the Redis URL is unknown: check it, and the name server"),
];

/// What to do about the error, if that is known.
pub(super) fn advise(error: &Error) -> Option<&'static str> {
    let text = error.to_string();
    ADVICE.iter().find(|(part, _)| text.contains(part)).map(|(_, advice)| *advice)
}

/// What to do about the failure of an attempt to connect. `tls`: the client tried TLS.
pub(super) fn advise_on_attempt(error: &Error, tls: bool) -> Option<&'static str> {
    let cut_off = ["ConnectionReset", "BrokenPipe", "UnexpectedEof"];
    if tls && *error.kind() == ErrorKind::Timeout {
        return Some(
            "the server does not answer the TLS handshake: if it does not use TLS on this port, try redis:// instead of \
             rediss:// in the Redis URL",
        );
    }
    if !tls && cut_off.iter().any(|part| error.details().contains(part)) {
        return Some(
            "the server ends the connection at once: if it uses TLS on this port, try rediss:// instead of redis:// in \
             the Redis URL",
        );
    }
    advise(error)
}

/// The text of the error, with advice in front of it where there is some.
pub(super) fn explain(error: &Error) -> String {
    with(advise(error), error)
}

/// The text of the error, with this advice in front of it.
pub(super) fn with(advice: Option<&str>, error: &Error) -> String {
    match advice {
        Some(advice) => format!("{advice} ({error})"),
        None => error.to_string(),
    }
}
