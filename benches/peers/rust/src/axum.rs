//! axum's WebSocket in the usual way: a task per client and a tokio broadcast channel per room. The path is the room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{
        Path, State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use tokio::{
    net::TcpListener,
    sync::broadcast::{self, error::RecvError},
};

/// Messages that a client may be behind before it loses some.
const CAPACITY: usize = 1024;
/// The default of 128 KiB would be most of what a connection takes.
const READ_BUFFER_BYTES: usize = 4096;

type Room = broadcast::Sender<Utf8Bytes>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = Router::new().route("/{room}", any(upgrade)).with_state(Rooms::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}", listener.local_addr()?);
    let prompt = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("cannot set TCP_NODELAY: {error}");
        }
    });
    Ok(axum::serve(prompt, app).await?)
}

async fn upgrade(State(rooms): State<Rooms>, Path(name): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    let room = rooms.entry(name).or_insert_with(|| Room::new(CAPACITY)).clone();
    drop(rooms);
    upgrade.read_buffer_size(READ_BUFFER_BYTES).on_upgrade(async |socket| {
        if let Err(error) = attend(socket, room).await {
            eprintln!("a client is gone: {error}");
        }
    })
}

async fn attend(mut client: WebSocket, room: Room) -> Result<(), axum::Error> {
    let mut messages = room.subscribe();
    client.send(Message::text("joined")).await?;
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(body) => client.send(Message::Text(body)).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
            said = client.recv() => match said.transpose()? {
                // cannot fail: this client itself is a receiver
                Some(Message::Text(body)) => drop(room.send(body)),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
