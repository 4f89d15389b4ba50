//! The client against a server that follows a script.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step of the script that fails should fail the test"
)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hubbub_client::{Backoff, Client, Config, Event, FailReason, Violations};
use hubbub_protocol::{MessageId, RoomId};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

const SESSION: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const USER: &str = "N0cI__dxndWXnsh11WzSKA";

/// One connection as the server sees it.
struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self(accept_async(stream).await.unwrap())
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn welcome(&mut self, seq: u64, resumed: bool, dedupe_ms: u64) -> Value {
        let hello = self.receive().await;
        let limits = json!({"frame_bytes": 1, "body_bytes": 1, "name_chars": 1, "rooms": 1, "unacked_publishes": 1});
        self.send(json!({
            "type": "welcome", "version": 1, "connection": 1, "instance": "a", "user": {"id": USER, "name": "Ann"},
            "seq": seq, "resumed": resumed, "heartbeat_ms": 25_000, "dedupe_ms": dedupe_ms, "limits": limits,
            "count": {"connections": 1, "instances": 1, "settling": false}, "relay": "live",
        }))
        .await;
        hello
    }

    async fn live(&mut self, seq: u64) {
        self.send(json!({"type": "live", "seq": seq})).await;
    }

    async fn message(&mut self, seq: u64, id: &MessageId, was: Option<u64>) {
        let from = json!({"id": USER, "name": "Ann"});
        let mut frame = json!({
            "type": "message", "seq": seq, "room": "lobby", "id": id, "from": from, "body": "hi", "at": 1,
        });
        if let Some(was) = was {
            frame["was"] = was.into();
        }
        self.send(frame).await;
    }

    async fn ack(&mut self, id: &Value, seq: u64) {
        self.send(json!({"type": "ack", "id": id, "seq": seq, "instance": "a", "accepted_at": 1, "logged_at": 1}))
            .await;
    }

    async fn close(mut self, code: u16) {
        self.0.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await.unwrap();
    }
}

async fn start() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut config = Config::new(vec![address], "Ann".parse().unwrap(), vec![RoomId::lobby()]);
    config.session = SESSION.parse().unwrap();
    config.backoff = Backoff { base: Duration::from_millis(1), cap: Duration::from_millis(10) };
    (listener, Client::new(config))
}

/// Polls the client until it reports what the test waits for.
async fn until<T>(client: &mut Client, pick: impl Fn(&Event) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = client.next_event().await.unwrap_or_else(|| panic!("the client has ended"));
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(10), search).await.unwrap()
}

fn is_live(event: &Event) -> Option<()> {
    matches!(event, Event::Live).then_some(())
}

/// Polls the client until it ends, beside the script.
async fn collect(client: &mut Client) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = client.next_event().await {
        events.push(event);
    }
    events
}

#[tokio::test]
async fn after_a_reconnect_replayed_messages_count_as_acked_and_the_rest_is_sent_again() {
    let (listener, mut client) = start().await;
    let script = async {
        let mut first = Peer::accept(&listener).await;
        let hello = first.welcome(10, false, 120_000).await;
        assert_eq!(hello.get("resume"), None);
        first.live(10).await;
        let ids: Vec<Value> = [first.receive().await, first.receive().await].map(|frame| frame["id"].clone()).into();
        drop(first);

        let mut second = Peer::accept(&listener).await;
        let hello = second.welcome(10, true, 120_000).await;
        assert_eq!(hello["resume"], json!({"seq": 10}));
        second.message(11, &ids[0].as_str().unwrap().parse().unwrap(), None).await;
        second.live(11).await;
        let again = second.receive().await;
        assert_eq!(again["id"], ids[1]);
        second.ack(&again["id"], 12).await;
        second.close(4500).await;
        ids
    };
    let first = client.publish(&RoomId::lobby(), "one").unwrap();
    let second = client.publish(&RoomId::lobby(), "two").unwrap();

    let (ids, events) =
        timeout(Duration::from_secs(10), async { tokio::join!(script, collect(&mut client)) }).await.unwrap();

    assert_eq!(ids, [first.as_str(), second.as_str()]);
    let acked: Vec<(MessageId, u64, bool)> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Acked { id, seq, ack, .. } => Some((id, seq, ack.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(acked, [(first, 11, false), (second, 12, true)]);
    assert_eq!((client.unacked(), client.cursor()), (0, Some(11)));
    assert_eq!(client.violations(), Violations::default());
}

#[tokio::test]
async fn a_message_sent_longer_ago_than_the_window_is_reported_as_failed() {
    let (listener, mut client) = start().await;
    let script = async {
        let mut first = Peer::accept(&listener).await;
        first.welcome(10, false, 120_000).await;
        first.live(10).await;
        first.receive().await;
        drop(first);
        let mut second = Peer::accept(&listener).await;
        second.welcome(10, true, 0).await;
        second.live(10).await;
        second
    };
    let id = client.publish(&RoomId::lobby(), "one").unwrap();

    let failed = until(&mut client, |event| match event {
        Event::Failed { id, reason } => Some((id.clone(), *reason)),
        _ => None,
    });
    let (_second, failed) = tokio::join!(script, failed);

    assert_eq!(failed, (id, FailReason::Expired));
}

#[tokio::test]
async fn a_client_reconnects_after_the_time_that_drain_asked_for() {
    let (listener, mut client) = start().await;
    let script = async {
        let mut first = Peer::accept(&listener).await;
        first.welcome(10, false, 120_000).await;
        first.live(10).await;
        first.send(json!({"type": "drain", "reconnect_after_ms": 300})).await;
        first.close(1012).await;
        let closed = Instant::now();
        let mut second = Peer::accept(&listener).await;
        second.welcome(10, true, 120_000).await;
        second.live(10).await;
        (second, closed.elapsed())
    };
    let live_twice = async {
        until(&mut client, is_live).await;
        until(&mut client, is_live).await;
    };

    let ((_second, waited), ()) = tokio::join!(script, live_twice);

    assert!(waited >= Duration::from_millis(290), "{waited:?}");
}

#[tokio::test]
async fn a_message_is_shown_once_and_a_reset_moves_the_cursor_back() {
    let (listener, mut client) = start().await;
    let [a, b]: [MessageId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.welcome(10, false, 120_000).await;
        peer.message(11, &a, None).await;
        peer.message(20, &a, Some(11)).await;
        peer.message(21, &b, Some(12)).await;
        peer.live(30).await;
        peer.send(json!({"type": "reset", "seq": 25, "reason": "hole"})).await;
        peer.close(1002).await;
    };

    let ((), events) = tokio::join!(script, collect(&mut client));

    let shown: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some(message.seq),
            _ => None,
        })
        .collect();
    assert_eq!(shown, [11, 21]);
    assert_eq!(client.cursor(), Some(25));
    assert_eq!(client.violations(), Violations::default());
}

#[tokio::test]
async fn a_refused_message_is_sent_again_after_the_time_that_the_server_asked_for() {
    let (listener, mut client) = start().await;
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.welcome(10, false, 120_000).await;
        peer.live(10).await;
        let frame = peer.receive().await;
        let refused = Instant::now();
        let error =
            json!({"type": "error", "code": "rate_limited", "detail": "", "id": frame["id"], "retry_after_ms": 100});
        peer.send(error).await;
        let again = peer.receive().await;
        assert_eq!(again, frame);
        let waited = refused.elapsed();
        peer.ack(&again["id"], 11).await;
        (peer, waited)
    };
    let id = client.publish(&RoomId::lobby(), "one").unwrap();

    let acked = until(&mut client, |event| match event {
        Event::Acked { id, .. } => Some(id.clone()),
        _ => None,
    });
    let ((_peer, waited), acked) = tokio::join!(script, acked);

    assert_eq!(acked, id);
    assert!(waited >= Duration::from_millis(100), "{waited:?}");
}
