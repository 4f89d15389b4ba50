//! The flags of the server that a program in its place heeds.

use std::net::SocketAddr;

use anyhow::{Context, Result};

/// What a program needs to know that takes the place of the server. It takes all flags of the server and ignores the others.
#[derive(Debug)]
pub struct Flags {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address of another listener with the same routes.
    pub admin_listen: Option<SocketAddr>,
    /// The Redis.
    pub redis_url: String,
    /// The database, if there is one.
    pub database_url: Option<String>,
    /// Of the channel.
    pub prefix: String,
    /// The name of this instance in `welcome`.
    pub instance: String,
    /// What to log: a level or directives.
    pub log: String,
}

impl Flags {
    /// Reads flags that each have a value: `--name value`.
    ///
    /// # Errors
    ///
    /// `--redis-url` is missing, a flag has no value, or an address cannot be read.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut flags = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            redis_url: String::new(),
            database_url: None,
            prefix: "hubbub".to_owned(),
            instance: format!("control-{}", std::process::id()),
            log: "info".to_owned(),
        };
        while let Some(name) = words.next() {
            let value = words.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--listen" => flags.listen = value.parse().context(name)?,
                "--admin-listen" => flags.admin_listen = Some(value.parse().context(name)?),
                "--redis-url" => flags.redis_url = value,
                "--database-url" => flags.database_url = Some(value),
                "--prefix" => flags.prefix = value,
                "--instance" => flags.instance = value,
                "--log" => flags.log = value,
                _ => {}
            }
        }
        anyhow::ensure!(!flags.redis_url.is_empty(), "a relay needs --redis-url");
        Ok(flags)
    }
}
