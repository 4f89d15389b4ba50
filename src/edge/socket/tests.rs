//! How much is read for one message.

use std::net::Ipv4Addr;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;

const MAX_MESSAGE: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap() | 0x80;
    [&[first, length, 0, 0, 0, 0], payload].concat()
}

/// What the server reads of these bytes before the end of the connection, and that end.
async fn read_all(bytes: Vec<u8>) -> (Vec<Inbound>, Ending) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // the server may have had enough
        let _reset = stream.write_all(&bytes).await;
        let _reset = stream.shutdown().await;
    };
    let server = async {
        let mut socket = Socket::new(listener.accept().await.unwrap().0, &Bytes::new(), MAX_MESSAGE);
        let mut received = Vec::new();
        let ending = loop {
            match timeout(PATIENCE, socket.next()).await.unwrap() {
                Ok(message) => received.push(message),
                Err(ending) => break ending,
            }
        };
        drop(socket);
        (received, ending)
    };
    tokio::join!(server, client).0
}

#[tokio::test]
async fn empty_fragments_are_not_read_for_ever_whatever_is_between_them() {
    let fragments = [frame(0x00, b"").repeat(300), frame(0x89, b"")].concat().repeat(100);
    let (received, ending) = read_all([frame(0x01, b"x"), fragments].concat()).await;
    assert_eq!(ending, Ending::Ours(CloseReason::FrameTooLarge));
    assert!(received.len() < 10 && received.iter().all(|message| *message == Inbound::Control), "{received:?}");
}

#[tokio::test]
async fn messages_in_fragments_and_control_frames_are_read_for_ever() {
    let message = [frame(0x01, b"a"), frame(0x00, b"").repeat(100), frame(0x80, b"b")].concat();
    let control = frame(0x8a, &[0; 125]).repeat(100);
    let (received, ending) = read_all([message, control].concat().repeat(20)).await;
    assert_eq!(ending, Ending::Lost);
    let texts = received.iter().filter(|message| **message == Inbound::Text("ab".into())).count();
    assert_eq!((texts, received.len()), (20, 2020));
}
