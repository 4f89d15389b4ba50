//! What can be measured.

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// This server.
    #[value(skip)]
    Hubbub,
    /// This server with a database: it records what it delivers.
    Recorded,
    /// A thread that writes the same bytes to as many sockets and does nothing else.
    Raw,
    /// Socket.IO on Node.js, with its Redis adapter.
    SocketIo,
    /// The package `ws` on Node.js, with Redis pub/sub.
    Ws,
    /// The NATS server.
    Nats,
    /// Socket.IO in Rust.
    Socketioxide,
    /// uWebSockets, through Python's socketify.
    Uwebsockets,
    /// axum with a task per client and a broadcast channel.
    Axum,
}

impl Subject {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 9] = [
        Self::Hubbub,
        Self::Recorded,
        Self::Raw,
        Self::Uwebsockets,
        Self::Nats,
        Self::Axum,
        Self::Socketioxide,
        Self::Ws,
        Self::SocketIo,
    ];

    /// Its name on the command line and in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hubbub => "hubbub",
            Self::Recorded => "recorded",
            Self::Raw => "raw",
            Self::SocketIo => "socket-io",
            Self::Ws => "ws",
            Self::Nats => "nats",
            Self::Socketioxide => "socketioxide",
            Self::Uwebsockets => "uwebsockets",
            Self::Axum => "axum",
        }
    }

    /// Whether it is one of the other servers, in `benches/peers`.
    pub(crate) const fn is_peer(self) -> bool {
        !matches!(self, Self::Hubbub | Self::Recorded | Self::Raw)
    }

    /// Whether the report has a table with it and all others.
    pub(crate) const fn is_compared(self) -> bool {
        self.is_peer() || matches!(self, Self::Recorded)
    }

    /// Whether its messages go through Redis.
    pub(crate) const fn relays(self) -> bool {
        matches!(self, Self::SocketIo | Self::Ws)
    }
}
