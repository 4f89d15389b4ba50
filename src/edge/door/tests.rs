//! How much of one address is read, whatever it sends.

use std::{cmp::Reverse, collections::BinaryHeap, net::Ipv4Addr};

use super::*;

const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const TIME: Duration = Duration::from_secs(10);

fn door() -> Door {
    let rate = |per_second| Rate { per_second, burst: per_second };
    Door::new(Limits { connections_per_address: 1000, publish_rate: rate(50.0), publish_rate_of_address: rate(500.0) })
}

/// So many connections of the attacker, each with a frame whenever it is read. Returns when each was read, in the order of
/// time.
fn flood(door: &Door, start: Instant, connections: usize) -> Vec<(Instant, usize)> {
    let mut due: BinaryHeap<_> = (0..connections).map(|connection| Reverse((start, connection))).collect();
    let mut reads = Vec::new();
    while let Some(Reverse((now, connection))) = due.pop().filter(|Reverse((now, _))| *now < start + TIME) {
        reads.push((now, connection));
        // a frame takes a moment
        let pause = door.pause_after_frame(ATTACKER, now).max(Duration::from_micros(20));
        due.push(Reverse((now + pause, connection)));
    }
    reads
}

#[test]
fn an_address_is_read_at_its_rate_whatever_its_connections_send_and_each_of_them_has_its_turn() {
    for connections in [1, 30, 1000] {
        let (door, start) = (door(), Instant::now());
        let reads = flood(&door, start, connections);
        // 1 000 a second, and a burst of 1 000
        assert!((10_900..=12_000).contains(&reads.len()), "{} reads of {connections}", reads.len());
        let mut read_at = vec![start; connections];
        for (now, connection) in reads {
            assert!(now - read_at[connection] <= LONGEST_PAUSE + Duration::from_millis(1));
            read_at[connection] = now;
        }
        assert!(
            read_at.iter().all(|at| *at > (start + TIME).checked_sub(LONGEST_PAUSE * 2).unwrap()),
            "one was forgotten"
        );
    }
}

#[test]
fn others_do_not_wait_for_an_address_that_sends_too_much() {
    let (door, start) = (door(), Instant::now());
    flood(&door, start, 100);
    for frame in 0..500 {
        let now = start + Duration::from_millis(20 * frame);
        assert_eq!(door.pause_after_frame(OTHER, now), Duration::ZERO);
    }
    assert_eq!(door.pause_after_frame(ATTACKER, start + TIME + Duration::from_secs(3)), Duration::ZERO, "it is over");
}
