//! Echoes text and binary messages with the socket layer that production uses, so that any conformance suite for
//! WebSocket servers can be run against it: `cargo run --example echo -- --listen 127.0.0.1:9001`.

use std::net::SocketAddr;

use axum::{Router, extract::State, response::Response, routing::get};
use clap::Parser;
use hubbub_edge::socket::{Inbound, Socket};
use hubbub_http::{
    listener::{self, Bounds},
    upgrade::Upgrade,
};
use hubbub_lifecycle::Shutdown;
use hubbub_protocol::Frame;
use tokio::net::TcpListener;

/// A WebSocket echo server, at the path /ws.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,

    /// Largest message to accept, in bytes.
    #[arg(long, default_value_t = 64 * 1024 * 1024)]
    max_frame: usize,
}

#[derive(Clone)]
struct App {
    max_frame: usize,
    shutdown: Shutdown,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let shutdown = Shutdown::default();
    let app = App { max_frame: options.max_frame, shutdown: shutdown.clone() };
    let router = Router::new().route("/ws", get(accept)).with_state(app);
    let listener = TcpListener::bind(options.listen).await?;
    tokio::select! {
        () = listener::serve(listener, Bounds::of(16), router, shutdown) => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn accept(State(app): State<App>, upgrade: Upgrade) -> Response {
    let response = upgrade.response();
    app.shutdown.spawn(async move {
        if let Some(socket) = upgrade.socket(app.max_frame).await {
            echo(socket).await;
        }
    });
    response
}

async fn echo(mut socket: Socket) {
    while let Ok(message) = socket.next().await {
        let frame = match message {
            Inbound::Text(text) => Frame::text(&text),
            Inbound::Binary(bytes) => Frame::binary(&bytes),
            Inbound::Control => continue,
        };
        if socket.send(&frame).await.is_err() {
            break;
        }
    }
    socket.finish().await;
}
