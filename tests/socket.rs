//! The socket layer by itself: what goes in comes out, whatever its size and however it is cut.
#![expect(clippy::unwrap_used, reason = "a step that fails should fail the test")]

use std::net::{Ipv4Addr, SocketAddr};

use axum::{Router, response::Response, routing::get};
use futures_util::{SinkExt, StreamExt};
use hubbub_edge::socket::Inbound;
use hubbub_http::{
    listener::{self, Bounds},
    upgrade::Upgrade,
};
use hubbub_lifecycle::Shutdown;
use hubbub_protocol::Frame;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        protocol::frame::{
            Frame as RawFrame,
            coding::{Data, OpCode},
        },
    },
};

const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Starts a server that echoes, and connects to it.
async fn echo(shutdown: &Shutdown) -> WebSocketStream<TcpStream> {
    let listener = listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = shutdown.clone();
    let accept = async move |upgrade: Upgrade| -> Response {
        let response = upgrade.response();
        tasks.spawn(async move {
            let mut socket = upgrade.socket(MAX_MESSAGE).await.unwrap();
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
        });
        response
    };
    shutdown.spawn(listener::serve(
        listener,
        Bounds::of(16),
        Router::new().route("/ws", get(accept)),
        shutdown.clone(),
    ));
    let stream = TcpStream::connect(address).await.unwrap();
    client_async("ws://localhost/ws", stream).await.unwrap().0
}

#[tokio::test]
async fn text_and_binary_of_every_size_come_back_as_they_were() {
    let shutdown = Shutdown::default();
    let mut client = echo(&shutdown).await;
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, 15 << 20] {
        for message in [Message::text("é".repeat(size / 2)), Message::binary(vec![7; size])] {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), message, "{size}");
        }
    }
}

#[tokio::test]
async fn fragments_come_back_as_one_message_with_pings_answered_between_them() {
    let shutdown = Shutdown::default();
    let mut client = echo(&shutdown).await;
    let part = |text: &'static str, code, last| Message::Frame(RawFrame::message(text, OpCode::Data(code), last));
    client.send(part("one ", Data::Text, false)).await.unwrap();
    client.send(Message::Ping("are you there".into())).await.unwrap();
    client.send(part("message", Data::Continue, true)).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("one message"));
}

#[tokio::test]
async fn a_thousand_messages_at_once_come_back_in_order() {
    let shutdown = Shutdown::default();
    let (mut sender, mut receiver) = echo(&shutdown).await.split();
    let sent = async {
        for number in 0..1000 {
            sender.send(Message::text(format!("{number} {}", "x".repeat(5000)))).await.unwrap();
        }
    };
    let received = async {
        for number in 0..1000 {
            let text = receiver.next().await.unwrap().unwrap().into_text().unwrap();
            assert!(text.starts_with(&format!("{number} ")), "{text:.20}");
        }
    };
    tokio::join!(sent, received);
}
