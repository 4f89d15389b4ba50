//! Advice for operators about errors of the connection to Redis.

use fred::error::Error;

/// Part of the text of an error, and what to do about it.
const ADVICE: [(&str, &str); 5] = [
    (
        "UnknownIssuer",
        "the server's certificate is signed by an unknown authority: pass the authority's PEM file with --redis-ca, or \
         add it to those of the system",
    ),
    ("NotValidForName", "the server's certificate is for another host name than the one in the Redis URL"),
    (
        "InvalidContentType",
        "the server does not use TLS on this port: try redis:// instead of rediss:// in the Redis URL",
    ),
    ("WRONGPASS", "the server rejects the user or the password in the Redis URL"),
    ("NOAUTH", "the server requires a user and a password in the Redis URL"),
];

/// The text of the error, with advice in front of it where there is some.
pub(super) fn explain(error: &Error) -> String {
    let text = error.to_string();
    match ADVICE.iter().find(|(part, _)| text.contains(part)) {
        Some((_, advice)) => format!("{advice} ({text})"),
        None => text,
    }
}
