//! What services tell enters the log by the road of messages.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Shutdown;
use hubbub_protocol::{RelayState, RoomId, UserId};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    Kind, Memory, Relay, RelayOptions, Telling, Untold,
    ring::{Change, Retention, Ring},
};

#[tokio::test]
async fn what_a_service_tells_twice_is_in_the_log_once_and_says_what_it_changes() {
    let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
    let relay = Relay::start(Memory::new(), Arc::clone(&ring), RelayOptions::default(), &shutdown);
    let within = Duration::from_secs(30);
    timeout(within, relay.state().wait_for(|state| *state == RelayState::Live)).await.unwrap().unwrap();
    let start = ring.last();
    let out = |id: &str| {
        let (inbox, about) = (RoomId::inbox(&UserId::of(7)), RoomId::private(1));
        let from = json!({"id": UserId::of(8), "name": "Ann"});
        json!({"room": inbox, "id": id, "from": from, "at": 5, "about": about, "rev": 4, "state": "out"}).to_string()
    };
    let membership = Kind::Told(Telling::Membership);
    for id in ["e1", "e1", "e2"] {
        relay.append(membership.clone(), out(id)).unwrap();
    }
    timeout(within, ring.watch().wait_for(|last| *last >= start + 2)).await.unwrap().unwrap();
    assert!(relay.resync(within).await);
    let run = ring.run(start, 10).unwrap();
    let ids: Vec<_> = run.iter().map(|entry| entry.record().unwrap()).collect();
    assert_eq!(ids, [out("e1"), out("e2")]);
    let change = Change::Membership { room: RoomId::private(1), rev: 4, seat: None };
    assert!(run.iter().all(|entry| entry.change() == Some(&change)));

    for unreadable in ["", "{}", r#"{"room":"a","id":"m","from":{"id":"u"}}"#] {
        assert_eq!(relay.append(membership.clone(), unreadable), Err(Untold::Unreadable), "{unreadable}");
    }
}
