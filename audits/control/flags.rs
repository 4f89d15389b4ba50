//! The flags of the server that the control heeds.

use std::net::SocketAddr;

use anyhow::{Context, Result};

/// What the control needs to know. It takes all flags of the server and ignores the others.
#[derive(Debug)]
pub(crate) struct Flags {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Address of another listener with the same routes.
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) redis_url: String,
    /// Of the channel.
    pub(crate) prefix: String,
    /// The name of this instance in `welcome`.
    pub(crate) instance: String,
    /// What to log: a level or directives.
    pub(crate) log: String,
}

impl Flags {
    /// Reads flags that each have a value: `--name value`.
    ///
    /// # Errors
    ///
    /// `--redis-url` is missing, a flag has no value, or an address cannot be read.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut flags = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            redis_url: String::new(),
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
