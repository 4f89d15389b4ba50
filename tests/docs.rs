//! The pages say what the types say, and the reverse; so do the alerts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a page that cannot be read should fail the test")]

use std::collections::{BTreeMap, BTreeSet};

use hubbub_log::RelayOptions;
use hubbub_protocol::{
    Ack, ClientFrame, CloseReason, ConnectionId, Count, ErrorCode, GuestSecret, Hello, Limits, MAX_ROOMS, Message,
    Publish, Record, Refusal, RelayState, ResetReason, Resume, RoomId, ServerFrame, User, Welcome, is_reconnectable,
};
use hubbub_testbed::{Server, http};
use serde::Serialize;
use serde_json::Value;

const PAGE: &str = include_str!("../docs/protocol.md");

/// The rows of the table whose header starts with these columns; each row is its cells.
fn table(header: &[&str]) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| -> Vec<&'static str> {
        line.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('|').trim()).collect()
    };
    let mut lines = PAGE.lines().skip_while(|line| !line.starts_with('|') || !cells(line).starts_with(header));
    assert!(lines.next().is_some(), "no table {header:?}");
    let rows: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "an empty table {header:?}");
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The lines of every fenced block of this kind.
fn examples(kind: &str) -> Vec<&'static str> {
    let fence = format!("```json {kind}");
    let mut lines = PAGE.lines();
    let mut found = Vec::new();
    while lines.any(|line| line == fence) {
        found.extend(lines.by_ref().take_while(|line| *line != "```"));
    }
    assert!(!found.is_empty(), "no examples of kind {kind}");
    found
}

fn user() -> User {
    User { id: GuestSecret::random().user_id(), name: "Ann".parse().unwrap() }
}

/// Each frame of a client twice: with everything in it, and with as little as it may have.
fn client_frames() -> Vec<(ClientFrame, Value)> {
    let room = RoomId::lobby();
    let name = "Ann".parse().unwrap();
    let hello = Hello {
        name,
        session: Some(GuestSecret::random()),
        rooms: vec![room.clone()],
        resume: Some(Resume { seq: 1 }),
    };
    let minimal = [
        r#"{"type":"hello","name":"Ann"}"#,
        r#"{"type":"publish","id":"m","room":"lobby","body":"x"}"#,
        r#"{"type":"join","room":"lobby"}"#,
        r#"{"type":"leave","room":"lobby"}"#,
        r#"{"type":"typing","room":"lobby"}"#,
        r#"{"type":"ping"}"#,
    ];
    let full = [
        ClientFrame::Hello(hello),
        ClientFrame::Publish(Publish::parse("m", "lobby", "x").unwrap()),
        ClientFrame::Join { room: room.clone() },
        ClientFrame::Leave { room: room.clone() },
        ClientFrame::Typing { room },
        ClientFrame::Ping { n: Some(1) },
    ];
    for frame in &full {
        // A new variant fails to compile here: add it above, and to the page.
        match frame {
            ClientFrame::Hello(_)
            | ClientFrame::AccountHello(_)
            | ClientFrame::Publish(_)
            | ClientFrame::Join { .. }
            | ClientFrame::Leave { .. }
            | ClientFrame::Typing { .. }
            | ClientFrame::Ping { .. } => {}
        }
    }
    let minimal = minimal.map(|text| {
        ClientFrame::decode(text).unwrap();
        serde_json::from_str(text).unwrap()
    });
    full.into_iter().zip(minimal).collect()
}

/// Each frame of the server with everything in it.
fn full_server_frames() -> Vec<ServerFrame> {
    let (room, seq) = (RoomId::lobby(), 1);
    let id = "m".parse().unwrap();
    let record = Record { room: room.clone(), id, from: user(), body: "x".into(), at: 1 };
    let id = record.id.clone();
    let ack = Ack { id, seq, duplicate: true, instance: "a".into(), accepted_at: 1, logged_at: 1 };
    let welcome = Welcome {
        version: 1,
        connection: ConnectionId::new(1),
        instance: "a".into(),
        user: user(),
        account: true,
        session: Some(GuestSecret::random()),
        seq,
        resumed: true,
        heartbeat_ms: 1,
        dedupe_ms: 1,
        limits: Limits::V1,
        count: Count::default(),
        relay: RelayState::Live,
    };
    let frames = vec![
        ServerFrame::Welcome(Box::new(welcome)),
        ServerFrame::Live { seq },
        ServerFrame::Message(Message { seq, record, first: Some(1), was: Some(1) }),
        ServerFrame::Ack(ack),
        ServerFrame::Heartbeat { seq },
        ServerFrame::Count(Count::default()),
        ServerFrame::Typing { room: room.clone(), from: vec![user()] },
        ServerFrame::Joined { room: room.clone(), seq },
        ServerFrame::Left { room, seq },
        ServerFrame::Status { relay: RelayState::Live },
        ServerFrame::Reset { seq, reason: ResetReason::Hole },
        ServerFrame::Drain { reconnect_after_ms: 1 },
        ServerFrame::Error(Refusal::new(ErrorCode::RateLimited, "x").about(Some("m")).retry_after_ms(1)),
        ServerFrame::Pong { n: Some(1) },
    ];
    for frame in &frames {
        // A new variant fails to compile here: add it above, and to the page.
        match frame {
            ServerFrame::Welcome(_)
            | ServerFrame::Live { .. }
            | ServerFrame::Message(_)
            | ServerFrame::Ack(_)
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Count(_)
            | ServerFrame::Typing { .. }
            | ServerFrame::Joined { .. }
            | ServerFrame::Left { .. }
            | ServerFrame::Status { .. }
            | ServerFrame::Reset { .. }
            | ServerFrame::Drain { .. }
            | ServerFrame::Error(_)
            | ServerFrame::Pong { .. } => {}
        }
    }
    frames
}

/// The same frame without the fields that may be left out, found by leaving each out.
fn minimal_server_frame(full: &Value) -> Value {
    let mut minimal = full.clone();
    for key in full.as_object().unwrap().keys() {
        let mut without = minimal.clone();
        without.as_object_mut().unwrap().remove(key);
        if serde_json::from_value::<ServerFrame>(without.clone()).is_ok() {
            minimal = without;
        }
    }
    minimal
}

/// A frame's type and its fields, those that may be left out with a `?`, as the page writes them.
fn shape(full: &impl Serialize, minimal: &Value) -> (String, BTreeSet<String>) {
    let full = serde_json::to_value(full).unwrap();
    let keys = full.as_object().unwrap().keys().filter(|key| *key != "type");
    let fields = keys.map(|key| if minimal.get(key).is_some() { key.clone() } else { format!("{key}?") }).collect();
    (full["type"].as_str().unwrap().to_owned(), fields)
}

fn documented(header: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let rows = table(header);
    let count = rows.len();
    let shapes: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (quoted(row[0])[0].to_owned(), quoted(row[1]).into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(shapes.len(), count, "a frame stands twice in {header:?}");
    shapes
}

fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_frames_of_a_client_are_documented_with_their_fields() {
    let real: BTreeMap<_, _> = client_frames().iter().map(|(full, minimal)| shape(full, minimal)).collect();
    assert_eq!(documented(&["frame", "fields", "answer"]), real);
}

#[test]
fn the_frames_of_the_server_are_documented_with_their_fields() {
    let real: BTreeMap<_, _> = full_server_frames()
        .iter()
        .map(|frame| shape(frame, &minimal_server_frame(&serde_json::to_value(frame).unwrap())))
        .collect();
    assert_eq!(documented(&["frame", "fields", "meaning"]), real);
}

#[test]
fn the_objects_inside_frames_are_documented_with_their_fields() {
    let keys = |value: Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let real = BTreeMap::from([
        ("user".to_owned(), keys(serde_json::to_value(user()).unwrap())),
        ("limits".to_owned(), keys(serde_json::to_value(Limits::V1).unwrap())),
        ("count".to_owned(), keys(serde_json::to_value(Count::default()).unwrap())),
    ]);
    assert_eq!(documented(&["object", "fields"]), real);
}

#[test]
fn the_limits_have_the_documented_values() {
    let limits = serde_json::to_value(Limits::V1).unwrap();
    let rows = table(&["limit", "value"]);
    let documented: BTreeMap<String, u64> =
        rows.iter().map(|row| (quoted(row[0])[0].to_owned(), row[1].parse().unwrap())).collect();
    let real =
        limits.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_u64().unwrap())).collect();
    assert_eq!(documented, real);
    assert_eq!(documented["rooms"], u64::try_from(MAX_ROOMS).unwrap());
}

#[test]
fn the_error_codes_are_those_of_the_types() {
    let documented: Vec<&str> = table(&["code", "meaning"]).iter().map(|row| quoted(row[0])[0]).collect();
    assert_eq!(documented, ErrorCode::ALL.map(|code| name_of(&code)));
}

#[test]
fn the_close_codes_are_those_of_the_types() {
    let documented: Vec<(u16, &str, bool)> = table(&["code", "name", "reconnect"])
        .iter()
        .map(|row| (row[0].parse().unwrap(), quoted(row[1])[0], row[2] == "yes"))
        .collect();
    let real = CloseReason::ALL.map(|reason| (reason.code(), reason.name(), is_reconnectable(reason.code())));
    assert_eq!(documented, real);
}

#[test]
fn the_states_and_reasons_are_named_where_they_occur() {
    let rows = table(&["frame", "fields", "meaning"]);
    let row = |frame: &str| rows.iter().find(|row| row[0] == format!("`{frame}`")).unwrap()[2];
    for state in [RelayState::Live, RelayState::Degraded] {
        assert!(quoted(row("status")).contains(&name_of(&state).as_str()), "{state:?}");
        assert!(quoted(row("welcome")).contains(&name_of(&state).as_str()), "{state:?}");
    }
    for reason in [ResetReason::TooOld, ResetReason::UnknownCursor, ResetReason::Hole] {
        assert!(quoted(row("reset")).contains(&name_of(&reason).as_str()), "{reason:?}");
    }
}

#[test]
fn every_frame_has_an_example_that_parses() {
    let kind = |text: &str| serde_json::from_str::<Value>(text).unwrap()["type"].as_str().unwrap().to_owned();
    let mut shown = BTreeSet::new();
    for text in examples("client") {
        assert!(ClientFrame::decode(text).is_ok(), "{text}");
        shown.insert(kind(text));
    }
    assert_eq!(shown, client_frames().iter().map(|(full, minimal)| shape(full, minimal).0).collect());

    let mut shown = BTreeSet::new();
    for text in examples("server") {
        let frame: ServerFrame = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(serde_json::to_string(&frame).unwrap(), text, "the example is not what the server would send");
        shown.insert(kind(text));
    }
    let all = full_server_frames().iter().map(|frame| kind(&serde_json::to_string(frame).unwrap())).collect();
    assert_eq!(shown, all);

    for text in examples("http") {
        serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

#[tokio::test]
async fn every_documented_route_is_served() {
    let server = Server::start(&["--api-key", "secret"]).await;
    for row in table(&["call", "what"]) {
        let (method, path) = quoted(row[0])[0].split_once(' ').unwrap();
        let path = path.replace("{room}", "lobby");
        let address = if path == "/metrics" { server.admin() } else { server.address() };
        let reply = match method {
            "GET" => http::get(address, &path).await,
            "POST" => http::post(address, &path, None, &Value::Null).await,
            other => panic!("{other}"),
        };
        // An unknown path may get the page of the app, and the publish has no key.
        let is_page = reply.header("content-type").starts_with("text/html");
        assert_eq!(is_page, path == "/", "{method} {path}: {reply:?}");
        let expected = if path == "/ws" {
            426
        } else if method == "POST" {
            401
        } else {
            200
        };
        assert_eq!(reply.status, expected, "{method} {path}: {reply:?}");
    }
}

const TELEMETRY: &str = include_str!("../src/lifecycle/metric.rs");
const OPERATIONS: &str = include_str!("../docs/operations.md");
const ALERTS: &str = include_str!("../ops/prometheus/alerts.yml");

/// Every word in the text that begins like a metric of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    words.filter(|word| word.starts_with("hubbub_")).collect()
}

/// The metrics that there are: what stands between quotes in the module that names them all.
fn named_metrics() -> BTreeSet<&'static str> {
    let names: BTreeSet<_> = TELEMETRY.split('"').skip(1).step_by(2).flat_map(metrics).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

#[test]
fn every_metric_is_in_the_table_of_metrics_and_the_reverse() {
    let section = OPERATIONS.split("\n## ").find(|section| section.starts_with("Metrics\n")).unwrap();
    assert_eq!(metrics(section), named_metrics());
}

#[test]
fn the_alerts_are_made_of_metrics_that_exist() {
    let named = named_metrics();
    let used: Vec<_> = metrics(ALERTS).into_iter().collect();
    assert!(used.len() > 10, "{used:?}");
    for metric in used {
        assert!(named.contains(metric), "no metric is called {metric}");
    }
}

#[test]
fn every_alert_has_a_paragraph_to_which_it_points() {
    let field =
        |name: &str| -> Vec<&str> { ALERTS.lines().filter_map(|line| line.trim().strip_prefix(name)).collect() };
    let alerts = field("- alert: ");
    assert!(!alerts.is_empty());
    let anchors: Vec<_> = alerts.iter().map(|alert| format!("docs/operations.md#{}", alert.to_lowercase())).collect();
    assert_eq!(field("runbook: "), anchors);
    for part in ["summary: ", "description: ", "labels: {severity: "] {
        assert_eq!(field(part).len(), alerts.len(), "{part}");
    }
    let (_, section) = OPERATIONS.split_once("\n## Alerts\n").unwrap();
    let headings = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(headings.collect::<Vec<_>>(), alerts);
}

#[test]
fn the_alert_before_the_bound_knows_the_bound() {
    let bound = RelayOptions::default().pending_messages;
    assert!(ALERTS.contains(&format!("hubbub_relay_pending_messages{{job=\"hubbub\"}} > {}\n", bound * 7 / 10)));
    assert!(ALERTS.contains(&format!("of at most {bound} publishes wait")));
}

#[tokio::test]
async fn every_gauge_of_the_relay_is_exported_from_the_start() {
    let server = Server::start(&[]).await;
    let page = http::get(server.admin(), "/metrics").await.body;
    for gauge in [
        "hubbub_ready 1",
        "hubbub_relay_live 1",
        "hubbub_relay_behind_messages 0",
        "hubbub_relay_pending_messages 0",
        "hubbub_relay_backlog_full 0",
    ] {
        assert!(page.lines().any(|line| line == gauge), "{gauge}: {page}");
    }
}

#[test]
fn every_command_that_the_pages_name_is_there() {
    const PAGES: [&str; 6] = [
        include_str!("../README.md"),
        include_str!("../CHANGELOG.md"),
        include_str!("../docs/architecture.md"),
        include_str!("../docs/delivery.md"),
        include_str!("../docs/operations.md"),
        include_str!("../docs/performance.md"),
    ];
    let targets: BTreeSet<_> = include_str!("../Makefile").lines().filter_map(|line| line.split_once(':')).collect();
    let targets: BTreeSet<_> = targets.into_iter().map(|(target, _)| target).collect();
    let benches: BTreeSet<_> = include_str!("../Cargo.toml").split("[[bench]]\nname = \"").skip(1).collect();
    let benches: BTreeSet<_> = benches.into_iter().filter_map(|rest| rest.split('"').next()).collect();
    let mut found = 0;
    for page in PAGES {
        for command in quoted(page) {
            let words: Vec<_> = command.split_whitespace().collect();
            let named = |flag| words.iter().zip(words.iter().skip(1)).filter(move |(word, _)| **word == flag);
            if let ["make", target, ..] = words.as_slice() {
                assert!(targets.contains(target), "{command}: no such target");
                found += 1;
            }
            if let ["cargo", "test" | "bench", ..] = words.as_slice() {
                for (_, test) in named("--test") {
                    let file = format!("{}/tests/{test}.rs", env!("CARGO_MANIFEST_DIR"));
                    assert!(std::path::Path::new(&file).exists(), "{command}: no such test");
                    found += 1;
                }
                for (_, bench) in named("--bench") {
                    assert!(benches.contains(bench), "{command}: no such benchmark");
                    found += 1;
                }
                let filters = words.iter().skip(2).zip(words.iter().skip(1)).take_while(|(word, _)| **word != "--");
                let filters =
                    filters.filter(|(word, before)| !word.starts_with('-') && !["--test", "--bench"].contains(before));
                assert!(filters.count() <= 1, "{command}: cargo takes one filter");
            }
        }
    }
    assert!(found > 20, "only {found} commands");
}
