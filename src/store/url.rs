//! Which database: the value of `--database-url`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use url::Url;

/// What is wrong with the URL of a database. Never shows the URL, for it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme, or none.
    #[error("a database is `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/NAME`")]
    Scheme,
    /// `sqlite:` and nothing.
    #[error("`sqlite:` needs the name of a file: `sqlite:hubbub.db`")]
    NoFile,
    /// A database in memory would lose the history.
    #[error("a database in memory keeps nothing: name a file, `sqlite:hubbub.db`")]
    Memory,
    /// No path in a URL of Postgres.
    #[error("the URL of Postgres needs the name of a database: `postgres://HOST/NAME`")]
    NoName,
    /// A parameter that nobody knows.
    #[error("the URL of Postgres has the unknown parameter `{0}`")]
    Parameter(String),
    /// Anything else.
    #[error("the URL of Postgres cannot be read: {0}")]
    Unreadable(String),
}

/// A database: `sqlite:FILE` or `postgres://…`. Neither `Display` nor `Debug` shows its password.
#[derive(Clone)]
pub struct DatabaseUrl(pub(crate) Location);

/// Where the database is.
#[derive(Clone)]
pub(crate) enum Location {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of a Postgres server.
    Server(Box<Server>),
}

/// A database of a Postgres server, and how to reach it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) options: PgConnectOptions,
    /// The certificates and the key that it names.
    pub(crate) files: Vec<PathBuf>,
    shown: String,
}

/// The parameters that a URL of Postgres may have, those with the name of a file first.
const FILE_PARAMETERS: [&str; 7] =
    ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
const OTHER_PARAMETERS: [&str; 10] = [
    "sslmode",
    "ssl-mode",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

impl DatabaseUrl {
    /// The database in this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Location::File(path.into()))
    }

    /// The file of SQLite. None: it is Postgres.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Location::File(path) => Some(path),
            Location::Server(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(name) = text.strip_prefix("sqlite:") {
            return file(name.strip_prefix("//").unwrap_or(name));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return server(text);
        }
        Err(InvalidUrl::Scheme)
    }
}

fn file(name: &str) -> Result<DatabaseUrl, InvalidUrl> {
    match name {
        "" => Err(InvalidUrl::NoFile),
        ":memory:" => Err(InvalidUrl::Memory),
        _ => Ok(DatabaseUrl::file(name)),
    }
}

fn server(text: &str) -> Result<DatabaseUrl, InvalidUrl> {
    let unreadable = |error: &dyn fmt::Display| InvalidUrl::Unreadable(error.to_string());
    let mut url = Url::parse(text).map_err(|error| unreadable(&error))?;
    let mut files = Vec::new();
    let mut is_named = !url.path().trim_start_matches('/').is_empty();
    let mut has_application = false;
    for (name, value) in url.query_pairs() {
        if FILE_PARAMETERS.contains(&&*name) {
            files.push(PathBuf::from(&*value));
        } else if !OTHER_PARAMETERS.contains(&&*name) {
            return Err(InvalidUrl::Parameter(name.into_owned()));
        }
        is_named |= name == "dbname";
        has_application |= name == "application_name";
    }
    if !is_named {
        return Err(InvalidUrl::NoName);
    }
    let options = PgConnectOptions::from_url(&url).map_err(|error| unreadable(&error))?;
    // A URL without a host takes no password, and has none.
    let _had_none = url.set_password(None);
    let harmless: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "password")
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.set_query(None);
    if !harmless.is_empty() {
        url.query_pairs_mut().extend_pairs(harmless);
    }
    let options = if has_application { options } else { options.application_name("hubbub") };
    let options = options.disable_statement_logging();
    Ok(DatabaseUrl(Location::Server(Box::new(Server { options, files, shown: url.into() }))))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::File(path) => write!(f, "sqlite:{}", path.display()),
            Location::Server(server) => f.write_str(&server.shown),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        for (text, path) in
            [("sqlite:a.db", "a.db"), ("sqlite:///b/c.db", "/b/c.db"), ("sqlite:/b/c?d.db", "/b/c?d.db")]
        {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().path(), Some(Path::new(path)));
        }
        for text in ["postgres://a:b@c/d", "postgresql://c/d", "postgres:///?dbname=d&host=/run/postgresql"] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap().path(), None, "{text}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_a_sentence_that_says_what_is_right() {
        let refusal = |text: &str| text.parse::<DatabaseUrl>().unwrap_err();
        for text in ["", "hubbub.db", "mysql://a/b", "postgres:a"] {
            assert_eq!(refusal(text), InvalidUrl::Scheme, "{text}");
        }
        assert_eq!(refusal("sqlite:"), InvalidUrl::NoFile);
        assert_eq!(refusal("sqlite::memory:"), InvalidUrl::Memory);
        assert_eq!(refusal("postgres://a:secret@b"), InvalidUrl::NoName);
        assert_eq!(refusal("postgres://a/b?ssl_mode=require"), InvalidUrl::Parameter("ssl_mode".into()));
        for text in ["postgres://a:secret@b:port/c", "postgres://a:secret@b/c?sslmode=maybe"] {
            let refusal = refusal(text);
            assert!(matches!(refusal, InvalidUrl::Unreadable(_)), "{refusal:?}");
            assert!(!refusal.to_string().contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let url: DatabaseUrl =
            "postgres://ann:sesame@db:5433/chat?password=sesame&sslmode=verify-full".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://ann@db:5433/chat?sslmode=verify-full");
        assert_eq!(format!("{url:?}"), url.to_string());
    }
}
