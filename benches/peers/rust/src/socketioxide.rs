//! socketioxide with its adapter for one process: `join` enters a room, `publish` says something to all who are in it.

use axum::{Router, serve::ListenerExt};
use socketioxide::{
    SocketIo, TransportType,
    extract::{AckSender, Data, SocketRef},
};
use tokio::net::TcpListener;

/// Packets that a client may be behind before it loses some; the default is 128.
const CAPACITY: usize = 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (layer, io) =
        SocketIo::builder().max_buffer_size(CAPACITY).transports([TransportType::Websocket]).build_layer();
    io.ns("/", async |client: SocketRef| {
        client.on("join", async |client: SocketRef, Data(room): Data<String>, joined: AckSender| {
            client.join(room);
            if let Err(error) = joined.send(&()) {
                eprintln!("a client is gone: {error}");
            }
        });
        client.on("publish", async |io: SocketIo, Data((room, body)): Data<(String, String)>| {
            if let Err(error) = io.to(room).emit("message", &body).await {
                eprintln!("not all got it: {error}");
            }
        });
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}", listener.local_addr()?);
    let prompt = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("cannot set TCP_NODELAY: {error}");
        }
    });
    Ok(axum::serve(prompt, Router::new().layer(layer)).await?)
}
