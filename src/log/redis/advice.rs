//! What an operator can do about an error of a connection.

use fred::error::Error;

/// What a part of an error's text means, and what to do.
const ADVICE: [(&str, &str); 5] = [
    (
        "UnknownIssuer",
        "the server's certificate is of no authority known here: name its authority with --redis-ca, or add it to those of \
         the system",
    ),
    ("NotValidForName", "the server's certificate is for another name than the one in the Redis URL"),
    ("InvalidContentType", "the server does not speak TLS there: is it redis:// instead of rediss://?"),
    ("WRONGPASS", "the server refuses the user or the password in the Redis URL"),
    ("NOAUTH", "the server wants a user and a password in the Redis URL"),
];

/// The error in words, with advice where there is some.
pub(super) fn explain(error: &Error) -> String {
    let text = error.to_string();
    match ADVICE.iter().find(|(part, _)| text.contains(part)) {
        Some((_, advice)) => format!("{advice} ({text})"),
        None => text,
    }
}
