//! The log in a file over restarts, kills and faults.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use hubbub_lifecycle::Shutdown;
use hubbub_protocol::RelayState;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tempfile::{TempDir, tempdir};
use tokio::time::interval;

use super::*;
use crate::{
    Placement, Relay, RelayOptions, Unrecorded,
    backend::LogEntry,
    marker::Marker,
    ring::{CursorCheck, Retention, Ring},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
/// More than any test here appends.
const AMPLE: LogBounds = LogBounds { entries: 1_000_000, unrecorded: None };
/// Names the file to the process that is killed.
const CHILD: &str = "HUBBUB_TEST_LOG_FILE";

/// A folder for one file.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("log.db")
    }

    async fn open(&self) -> File {
        File::open(&self.path(), Durability::Full).await.unwrap()
    }

    /// The file as another program sees it.
    async fn raw(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", self.path().display())).await.unwrap()
    }

    async fn refused(&self) -> FileError {
        let error = File::open(&self.path(), Durability::Full).await.unwrap_err();
        assert!(error.to_string().starts_with(&self.path().display().to_string()), "{error}");
        error
    }
}

fn asking(after: Seq) -> SyncRequest {
    SyncRequest { after, low: None, floor: 0, limit: 1000 }
}

fn said(id: &str, body: &str) -> Submission {
    let record = format!(r#"{{"room":"a","id":"{id}","from":{{"id":"u"}},"body":"{body}","at":1}}"#);
    Submission::new(record, 0, 0).unwrap()
}

fn message(id: &str) -> Submission {
    said(id, r#"a \"quoted\" \u0007 ünïcode | body"#)
}

fn messages(ids: std::ops::Range<u32>) -> Vec<Submission> {
    ids.map(|id| message(&id.to_string())).collect()
}

async fn fence(file: &File) -> Fence {
    let Snapshot { base, seq, .. } = file.sync(asking(0)).await.unwrap();
    Fence { epoch: base, last: seq }
}

async fn append(file: &File, batch: &[Submission]) -> Result<Vec<Placement>, BackendError> {
    append_within(file, AMPLE, batch).await
}

async fn append_within(file: &File, bounds: LogBounds, batch: &[Submission]) -> Result<Vec<Placement>, BackendError> {
    match file.append(fence(file).await, bounds, batch).await? {
        AppendOutcome::Placed(placements) => Ok(placements),
        refused => panic!("{refused:?}"),
    }
}

/// Everything that the log has.
async fn entries(file: &File) -> Vec<LogEntry> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let snapshot = file.sync(asking(after)).await.unwrap();
        let Some(last) = snapshot.entries.last() else { return all };
        after = last.seq();
        all.extend(snapshot.entries);
    }
}

/// The messages of the log: their places and records.
async fn records(file: &File) -> BTreeMap<Seq, Bytes> {
    let record = |entry| match entry {
        LogEntry::Message { seq, record, .. } => Some((seq, record)),
        LogEntry::Event { .. } | LogEntry::Marker(_) => None,
    };
    entries(file).await.into_iter().filter_map(record).collect()
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let mut pace = interval(Duration::from_millis(5));
    let waiting = async {
        while !holds().await {
            pace.tick().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_an_epoch_opens() {
    for durability in [Durability::Full, Durability::Normal] {
        let place = Place::new();
        let file = File::open(&place.path(), durability).await.unwrap();
        let base = file.sync(asking(0)).await.unwrap().base;
        let batch = [message("a"), Submission { was: 7, ..message("b") }, message("a"), said("a", "other")];
        let placed = append(&file, &batch).await.unwrap();
        let expected = [
            Placement::Appended(base + 1),
            Placement::Appended(base + 2),
            Placement::Duplicate(base + 1),
            Placement::IdReused(base + 1),
        ];
        assert_eq!(placed, expected);
        let claim = Claim { holder: "me".into(), step: ClaimStep::Hold { recorded: base + 1, base } };
        let lease = file.lease(&claim).await.unwrap();
        assert!(lease.is_held && lease.log_id.len() >= 16);
        let before = entries(&file).await;
        file.close().await;

        let file = File::open(&place.path(), durability).await.unwrap();
        let snapshot = file.sync(asking(0)).await.unwrap();
        assert!(snapshot.base > base + 2);
        let opened = Marker { base: snapshot.base, cut: base + 2, low: snapshot.base };
        assert_eq!(snapshot.markers.last(), Some(&opened));
        let shown = |entries: &[LogEntry]| format!("{entries:?}");
        assert_eq!(shown(&snapshot.entries[..3]), shown(&before), "byte for byte");
        assert!(matches!(snapshot.entries[3], LogEntry::Marker(marker) if marker == opened));
        assert!(matches!(snapshot.entries[2], LogEntry::Message { was: 7, .. }));
        assert_eq!(file.lease(&claim).await.unwrap(), lease);
        let again = append(&file, &[message("b"), said("a", "other"), message("c")]).await.unwrap();
        let expected =
            [Placement::Duplicate(base + 2), Placement::IdReused(base + 1), Placement::Appended(snapshot.base + 1)];
        assert_eq!(again, expected);
        file.close().await;
    }
}

#[tokio::test]
async fn a_client_resumes_over_restarts() {
    let place = Place::new();
    let mut cursors = Vec::new();
    // more epochs than markers are kept
    for n in 0..40 {
        let file = place.open().await;
        cursors.push(fence(&file).await.last);
        let placed = append(&file, &messages(n * 3..n * 3 + 3)).await.unwrap();
        cursors.extend(placed.iter().map(|placement| placement.seq()));
        file.close().await;
    }
    let (ring, shutdown) = (Arc::new(Ring::new(Retention::default())), Shutdown::default());
    let relay = Relay::start(place.open().await, Arc::clone(&ring), RelayOptions::default(), &shutdown);
    let mut state = relay.state();
    timeout(PATIENCE, state.wait_for(|state| *state == RelayState::Live)).await.unwrap().unwrap();
    for cursor in &cursors[1..] {
        assert_eq!(ring.check_cursor(*cursor), CursorCheck::Replay, "{cursor}");
    }
    let lost = cursors.last().unwrap() + 1;
    assert!(matches!(ring.check_cursor(lost), CursorCheck::Reset(_)), "what a power cut took");
    assert_eq!(relay.close(PATIENCE).await, 0);
    shutdown.finish(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn no_epoch_opens_at_or_below_what_the_database_has() {
    let place = Place::new();
    let file = place.open().await;
    let floor = fence(&file).await.last + 1_000_000_000_000;
    let asking = SyncRequest { floor, ..asking(0) };
    let base = file.sync(asking).await.unwrap().base;
    assert!(base > floor);
    assert_eq!(file.sync(asking).await.unwrap().base, base);
    file.close().await;
    let file = place.open().await;
    assert!(file.sync(asking).await.unwrap().base > base, "a clock that went back");
}

#[tokio::test]
async fn a_key_outlives_a_restart_as_long_as_the_window() {
    let place = Place::new();
    let file = place.open().await;
    let first = append(&file, &messages(0..12_000)).await.unwrap()[0].seq();
    file.close().await;
    let aged = "UPDATE log SET at = at - 121000 WHERE key = 'u:a:1'; UPDATE log SET at = at + 9000 WHERE key = 'u:a:7'";
    place.raw().await.execute(aged).await.unwrap();
    let file = place.open().await;
    let placed = append(&file, &messages(0..12_000)).await.unwrap();
    assert!(matches!(placed[0], Placement::Appended(_)) && matches!(placed[1], Placement::Appended(_)));
    let rest = placed[2..].iter().zip(first + 2..).all(|(placed, seq)| *placed == Placement::Duplicate(seq));
    assert!(rest, "the keys of the window");
}

#[tokio::test]
async fn what_a_lost_answer_has_written_is_recognised() {
    let place = Place::new();
    let file = place.open().await;
    let Fence { epoch, .. } = fence(&file).await;
    let (a, b) = (message("a"), message("b"));
    let written = file.shared.known.lock().begin();
    let mut writer = file.shared.connections.writer.take().await.unwrap();
    table::append(&mut writer, epoch + 1, unix_millis(), written, &[&a]).await.unwrap();
    drop(writer);
    assert_eq!(file.sync(asking(0)).await.unwrap().seq, epoch, "not known yet, and nobody is ahead of the log");
    let placed = append(&file, &[a.clone(), b]).await.unwrap();
    assert_eq!(placed, [Placement::Duplicate(epoch + 1), Placement::Appended(epoch + 2)]);

    // the answer came so late that its key counts no more
    let written = file.shared.known.lock().begin();
    let mut writer = file.shared.connections.writer.take().await.unwrap();
    table::append(&mut writer, epoch + 3, 0, written, &[&message("d")]).await.unwrap();
    drop(writer);
    assert_eq!(append(&file, &[message("e")]).await.unwrap(), [Placement::Appended(epoch + 4)]);

    let marker = Marker { base: epoch + 1000, cut: epoch + 4, low: epoch + 1000 };
    file.shared.known.lock().begin();
    let mut writer = file.shared.connections.writer.take().await.unwrap();
    table::open_epoch(&mut writer, marker).await.unwrap();
    drop(writer);
    let outcome = file.append(Fence { epoch, last: epoch }, AMPLE, &[message("c")]).await.unwrap();
    assert_eq!(outcome, AppendOutcome::Fenced);
    let placed = append(&file, &[message("c"), a]).await.unwrap();
    assert_eq!(placed, [Placement::Appended(marker.base + 1), Placement::Duplicate(epoch + 1)]);
    assert_eq!(entries(&file).await.iter().map(LogEntry::seq).max(), Some(marker.base + 1));
}

#[tokio::test]
async fn a_full_disk_acks_nothing_and_is_forgotten_when_there_is_room() {
    let place = Place::new();
    let file = place.open().await;
    let mut acked = BTreeMap::new();
    let limit = async |pages: u32| {
        let mut writer = file.shared.connections.writer.take().await.unwrap();
        let limit = sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")));
        limit.execute(&mut *writer).await.unwrap();
    };
    limit(40).await;
    let (mut next, mut failures) = (0, 0);
    while failures < 3 {
        let batch = messages(next..next + 20);
        match append(&file, &batch).await {
            Ok(placed) => {
                acked.extend(placed.iter().map(|placed| placed.seq()).zip(batch.into_iter().map(|sent| sent.record)));
                next += 20;
            }
            Err(error) => {
                assert!(error.to_string().contains("no room is left"), "{error}");
                failures += 1;
            }
        }
        assert_eq!(records(&file).await, acked);
    }
    assert!(next > 0);
    limit(1 << 20).await;
    let last = *acked.last_key_value().unwrap().0;
    let placed = append(&file, &messages(next - 1..next + 20)).await.unwrap();
    assert_eq!(placed[..2], [Placement::Duplicate(last), Placement::Appended(last + 1)]);
    let all = records(&file).await;
    file.close().await;
    assert_eq!(records(&place.open().await).await, all);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let place = Place::new();
    std::fs::create_dir(place.path()).unwrap();
    assert!(matches!(place.refused().await, FileError::Folder(_)));

    let place = Place::new();
    std::fs::write(place.path(), "no database at all, however long one reads".repeat(100)).unwrap();
    assert!(matches!(place.refused().await, FileError::Damaged(..)));

    let place = Place::new();
    place.raw().await.execute("CREATE TABLE photos (id INTEGER)").await.unwrap();
    assert!(matches!(place.refused().await, FileError::Foreign(_)));

    let place = Place::new();
    let file = place.open().await;
    assert!(matches!(place.refused().await, FileError::Locked(_)));
    file.close().await;
    place.raw().await.execute("PRAGMA user_version = 2").await.unwrap();
    assert!(matches!(place.refused().await, FileError::Newer(_, 2, 1)));

    let nowhere = tempdir().unwrap().path().join("gone/log.db");
    assert!(matches!(File::open(&nowhere, Durability::Full).await, Err(FileError::Other(..))));
    // nobody may make a file here, not even root
    let error = File::open(Path::new("/sys/log.db"), Durability::Full).await.unwrap_err();
    assert!(matches!(error, FileError::ReadOnly(_)), "{error:?}");
}

#[tokio::test]
async fn a_damaged_page_is_an_error_and_not_an_empty_log() {
    let place = Place::new();
    let file = place.open().await;
    append(&file, &messages(0..2000)).await.unwrap();
    file.close().await;
    let mut bytes = std::fs::read(place.path()).unwrap();
    let (half, end) = (bytes.len() / 8192 * 4096, bytes.len());
    bytes[half..end].fill(0xff);
    std::fs::write(place.path(), bytes).unwrap();
    let error = place.refused().await;
    assert!(matches!(error, FileError::Damaged(..)), "{error:?}");
}

#[tokio::test]
async fn another_program_that_writes_to_the_file_holds_it_up_and_breaks_nothing() {
    let place = Place::new();
    let file = place.open().await;
    append(&file, &[message("a")]).await.unwrap();
    let mut other = place.raw().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = append(&file, &[message("b")]).await.unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert_eq!(records(&file).await.len(), 1, "reading goes on");
    other.execute("ROLLBACK").await.unwrap();
    let placed = append(&file, &[message("b"), message("a")]).await.unwrap();
    assert!(matches!(placed[..], [Placement::Appended(_), Placement::Duplicate(_)]), "{placed:?}");
}

#[tokio::test]
async fn what_is_trimmed_leaves_the_file() {
    let place = Place::new();
    let file = place.open().await;
    let bounds = LogBounds { entries: 100, unrecorded: None };
    for n in 0..30 {
        append_within(&file, bounds, &messages(n * 100..n * 100 + 100)).await.unwrap();
        assert_eq!(entries(&file).await.len(), 100);
    }
    let count = async || {
        let mut reader = file.shared.connections.reader.take().await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM log").fetch_one(&mut *reader).await.unwrap()
    };
    eventually(async || count().await < 1000).await;
    let kept = records(&file).await;
    file.close().await;
    let reopened = records(&place.open().await).await;
    assert!((100..1000).contains(&reopened.len()), "{}", reopened.len());
    assert!(kept.iter().all(|kept| reopened.get(kept.0) == Some(kept.1)));
}

#[tokio::test]
async fn what_waits_for_the_recorder_is_counted_the_same_after_a_restart() {
    let place = Place::new();
    let file = place.open().await;
    let large = |id: &str| said(id, &"x".repeat(3000));
    let placed = append(&file, &["a", "b", "c", "d"].map(large)).await.unwrap();
    let step = ClaimStep::Hold { recorded: placed[1].seq(), base: fence(&file).await.epoch };
    file.lease(&Claim { holder: "me".into(), step }).await.unwrap();
    file.close().await;
    let file = place.open().await;
    for (bounds, fits) in [
        (Unrecorded { events: 100, bytes: 9000 }, false),
        (Unrecorded { events: 3, bytes: 1 << 30 }, false),
        (Unrecorded { events: 4, bytes: 9400 }, true),
    ] {
        let bounds = LogBounds { entries: 1, unrecorded: Some(bounds) };
        let outcome = file.append(fence(&file).await, bounds, &[large("e")]).await.unwrap();
        assert_eq!(matches!(outcome, AppendOutcome::Placed(_)), fits, "{bounds:?}: {outcome:?}");
    }
    assert_eq!(records(&file).await.len(), 3, "what is recorded is trimmed, what is not stays");
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "a part of another test"]
async fn appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let file = File::open(Path::new(&path), Durability::Full).await.unwrap();
    let run = fence(&file).await.epoch;
    for n in 0_u32.. {
        let ids = (0..=n % 16).map(|k| format!("{run}-{n}-{k}")).collect::<Vec<_>>();
        let batch: Vec<_> = ids.iter().map(|id| message(id)).collect();
        let placed = append_within(&file, LogBounds { entries: 20_000, unrecorded: None }, &batch).await.unwrap();
        let lines = placed.iter().zip(&ids).map(|(placed, id)| format!("acked {} {id}\n", placed.seq()));
        std::io::stdout().write_all(lines.collect::<String>().as_bytes()).unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_acked() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acked = BTreeMap::new();
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "file::tests::appends_until_it_is_killed", "--ignored", "--nocapture"]);
        let mut child = child.env(CHILD, place.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut note = |line: String| {
            let (seq, id) = line.strip_prefix("acked ")?.split_once(' ')?;
            acked.insert(seq.parse::<Seq>().unwrap(), id.to_owned())
        };
        for line in lines.by_ref().take(rand::random_range(1..300)) {
            note(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // a torn line was acked to nobody
        let mut rest: Vec<_> = lines.collect();
        rest.pop();
        for line in rest {
            note(line);
        }
        let there = runtime.block_on(async {
            let file = place.open().await;
            let there = records(&file).await;
            file.close().await;
            there
        });
        for (seq, id) in &acked {
            let record = there.get(seq).unwrap_or_else(|| panic!("{seq} is gone: {id}"));
            assert_eq!(record, &message(id).record);
        }
    }
    assert!(acked.len() > 20);
}
