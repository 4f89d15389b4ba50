//! socketioxide with its adapter for one process. A client names its room when it connects, and receives `joined`.
//! `publish` sends a message to all clients in a room.

use std::collections::HashMap;

use anyhow::Context;
use axum::{Router, serve::ListenerExt};
use socketioxide::{
    SocketIo, TransportType,
    extract::{Data, SocketRef},
};
use tokio::net::TcpListener;

/// Packets that a client may be behind before it loses some; the default is 128.
const CAPACITY: usize = 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (layer, io) =
        SocketIo::builder().max_buffer_size(CAPACITY).transports([TransportType::Websocket]).build_layer();
    io.ns("/", async |client: SocketRef, Data(auth): Data<HashMap<String, String>>| {
        client.on("publish", async |io: SocketIo, Data((room, body)): Data<(String, String)>| {
            if let Err(error) = io.to(room).emit("message", &body).await {
                eprintln!("not all got it: {error}");
            }
        });
        if let Err(error) = enter(&client, &auth) {
            eprintln!("a client cannot enter: {error:#}");
        }
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

fn enter(client: &SocketRef, auth: &HashMap<String, String>) -> anyhow::Result<()> {
    client.join(auth.get("room").context("it names no room")?.clone());
    Ok(client.emit("joined", &())?)
}
