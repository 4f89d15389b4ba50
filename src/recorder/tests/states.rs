//! What a recorder says of itself, under a clock that runs as fast as it can.

use std::{sync::Arc, time::Duration};

use hubbub_lifecycle::Shutdown;
use hubbub_log::{ClaimStep, Kind};
use hubbub_messenger::journal::Cursor;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{
    database::{Database, Flaw, Tables, Writer},
    log::{IN_INBOX, IN_ROOM, Log, Reader, Spout, record},
    nap::Nap,
};
use crate::{Recorder, RecorderOptions, RecordingState, RestoredError, Source, restored};

const IN_STEP: RecordingState = RecordingState::Recording { behind: 0 };

struct Bench {
    log: Arc<Mutex<Log>>,
    database: Arc<Mutex<Database>>,
    shutdown: Shutdown,
    /// How many events were appended again.
    taken: Arc<Mutex<u32>>,
}

impl Bench {
    fn new() -> Self {
        let (log, database) = (Arc::new(Mutex::new(Log::new(10))), Arc::new(Mutex::new(Database::new(Flaw::None))));
        Self { log, database, shutdown: Shutdown::default(), taken: Arc::default() }
    }

    fn reader(&self, who: usize) -> Reader {
        Reader { log: Arc::clone(&self.log), who, nap: Nap::new(0) }
    }

    fn writer(&self) -> Writer {
        Writer { database: Arc::clone(&self.database), nap: Nap::new(0) }
    }

    fn start(&self, who: usize, options: RecorderOptions) -> Recorder {
        let spout = Spout { log: Arc::clone(&self.log), drops: 0, taken: Arc::clone(&self.taken) };
        let (journal, source) = (Arc::new(self.writer()), Arc::new(self.reader(who)));
        Recorder::start(journal, source, Some(Arc::new(spout)), options, &self.shutdown)
    }

    /// Publishes these messages. Returns the `seq` of the last.
    fn publish(&self, messages: std::ops::Range<u32>) -> u64 {
        let mut log = self.log.lock();
        messages.map(|message| log.append(Kind::Message, record(message, "hi", None), 0)).last().unwrap()
    }

    fn messages(&self) -> usize {
        self.database.lock().tables.messages.len()
    }

    /// Publishes 40 messages, of which the log keeps some when they are recorded.
    async fn record_and_trim(&self, recorder: &Recorder, first: u32) {
        for start in (first..first + 40).step_by(10) {
            until_recorded(recorder, self.publish(start..start + 10)).await;
            sleep(Duration::from_secs(3)).await;
        }
    }

    /// A service has written this event. If it is not killed then, it appends it.
    fn tell(&self, message: u32, kind: &str, is_killed: bool) {
        let record = record(message, "hi", None);
        self.database.lock().tell(&format!("m{message}"), kind, record.clone());
        if !is_killed {
            self.log.lock().append(Kind::named(kind).unwrap(), record, 0);
        }
    }

    async fn until_outbox_is_empty(&self) {
        let empty = async {
            while !self.database.lock().tables.outbox.is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_mins(1), empty).await.unwrap();
    }

    /// The messages of the log that are neither in the database nor noted as lost.
    fn missing(&self) -> Vec<u32> {
        let (log, database) = (self.log.lock(), self.database.lock());
        let present = log.state.entries.iter().filter_map(|entry| Some((entry.seq(), Log::message_of(entry)?)));
        let all = present.chain(log.state.trimmed.iter().copied());
        let is_lost = |seq| database.tables.gaps.iter().any(|(first, last)| (*first..=*last).contains(&seq));
        let is_known = |message| database.tables.messages.contains_key(&format!("m{message}"));
        all.filter(|(seq, message)| !is_known(*message) && !is_lost(*seq)).map(|(_, message)| message).collect()
    }
}

async fn until(recorder: &Recorder, state: RecordingState) {
    let mut states = recorder.state();
    let reached = timeout(Duration::from_mins(5), states.wait_for(|now| *now == state)).await;
    assert!(reached.is_ok(), "{:?} and not {state:?}", *recorder.state().borrow());
}

async fn until_recorded(recorder: &Recorder, seq: u64) {
    let mut cursor = recorder.cursor();
    let reached = timeout(Duration::from_mins(5), cursor.wait_for(|known| *known >= seq)).await;
    assert!(reached.is_ok(), "{:?}", *recorder.state().borrow());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_what_comes_is_recorded() {
    let bench = Bench::new();
    bench.publish(0..5);
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    let last = bench.publish(5..9);
    until_recorded(&recorder, last).await;
    assert_eq!(bench.messages(), 9);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.log.lock().state.recorded, last);
}

#[tokio::test(start_paused = true)]
async fn a_second_instance_stands_by_until_the_first_has_closed() {
    let bench = Bench::new();
    let (one, two) = (bench.start(0, RecorderOptions::default()), bench.start(1, RecorderOptions::default()));
    let last = bench.publish(0..5);
    until(&one, IN_STEP).await;
    until(&two, RecordingState::Standby).await;
    until_recorded(&two, last).await;
    let last = bench.publish(5..7);
    one.close(Duration::from_secs(9)).await;
    assert_eq!(bench.database.lock().cursor().unwrap().seq, last);
    until(&two, IN_STEP).await;
    assert_eq!(bench.database.lock().moved, 0);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_is_waited_for_and_does_not_keep_others_from_it() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.database.lock().is_away = true;
    let last = bench.publish(0..5);
    until(&recorder, RecordingState::DatabaseAway).await;
    sleep(Duration::from_secs(20)).await;
    let other = bench.reader(1).lease(ClaimStep::RENEW).await.unwrap();
    assert!(other.is_held, "the lease is held by an instance that cannot record");
    bench.reader(1).lease(ClaimStep::Release).await.unwrap();
    bench.database.lock().is_away = false;
    until_recorded(&recorder, last).await;
    until(&recorder, IN_STEP).await;
    assert_eq!(bench.messages(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_much_at_once_is_recorded_in_parts() {
    let bench = Bench::new();
    bench.database.lock().most = 3;
    let last = bench.publish(0..40);
    let recorder = bench.start(0, RecorderOptions::default());
    until_recorded(&recorder, last).await;
    assert_eq!(bench.messages(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_went_back_is_not_written_until_somebody_says_so() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until_recorded(&recorder, bench.publish(0..5)).await;
    let backup = bench.database.lock().tables.clone();
    let lost = (bench.publish(5..10), bench.publish(10..40));
    until_recorded(&recorder, lost.1).await;
    sleep(Duration::from_secs(3)).await;
    let last = bench.publish(40..60);
    until_recorded(&recorder, last).await;

    bench.database.lock().tables = backup;
    until(&recorder, RecordingState::WentBack).await;
    bench.publish(60..65);
    sleep(Duration::from_mins(3)).await;
    assert_eq!((bench.messages(), *recorder.state().borrow()), (5, RecordingState::WentBack));

    let base = bench.log.lock().state.markers.last().unwrap().base;
    let told = restored(&bench.writer(), &bench.reader(9)).await.unwrap();
    assert!(told.before > told.recorded, "{told:?}");
    assert!(told.gaps[0].0 <= lost.0 && lost.1 <= told.gaps[0].1, "{told:?} {lost:?}");
    assert!(bench.log.lock().state.markers.last().unwrap().base > base);
    until(&recorder, IN_STEP).await;
    // what the log had trimmed is gone, the rest is there again
    let messages = bench.database.lock().tables.messages.clone();
    assert!(!messages.contains_key("m7") && messages.contains_key("m59") && messages.contains_key("m64"));
}

#[tokio::test(start_paused = true)]
async fn a_database_without_anything_that_is_restored_twice_notes_each_time_what_the_log_has_no_more() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    bench.record_and_trim(&recorder, 0).await;
    recorder.close(Duration::from_secs(9)).await;
    for _ in 0..2 {
        bench.database.lock().tables = Tables::default();
        restored(&bench.writer(), &bench.reader(9)).await.unwrap();
        assert_eq!(bench.log.lock().state.recorded, 0);
    }
    // once more, and nobody says so: the log cannot know
    bench.database.lock().tables = Tables::default();
    let recorder = bench.start(1, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    assert_eq!(bench.missing(), [0; 0]);
    assert_eq!(bench.database.lock().tables.gaps.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_an_epoch_that_the_log_has_lost_leaves_nothing_out_without_a_note() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until_recorded(&recorder, bench.publish(0..5)).await;
    let before = bench.log.lock().state.clone();
    bench.log.lock().restart(before.clone());
    until_recorded(&recorder, bench.publish(5..8)).await;
    let backup = bench.database.lock().tables.clone();
    bench.log.lock().restart(before);
    bench.record_and_trim(&recorder, 100).await;

    bench.database.lock().tables = backup;
    until(&recorder, RecordingState::WentBack).await;
    restored(&bench.writer(), &bench.reader(9)).await.unwrap();
    until(&recorder, IN_STEP).await;
    assert_eq!(bench.missing(), [0; 0]);
    assert!(!bench.database.lock().tables.gaps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_database_from_before_a_clock_went_back_has_gone_back_although_its_cursor_is_higher() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until_recorded(&recorder, bench.publish(0..5)).await;
    let before = bench.log.lock().state.clone();
    until_recorded(&recorder, bench.publish(5..99)).await;
    let backup = bench.database.lock().tables.clone();
    {
        let mut log = bench.log.lock();
        log.restart(before.clone());
        log.clock = before.seq + 1;
    }
    bench.record_and_trim(&recorder, 100).await;
    assert!(bench.database.lock().skips > 0, "it has turned back");
    // as if it had told the log no more than this, which lies below the cursor of the backup
    bench.log.lock().state.recorded = before.seq + 30;

    bench.database.lock().tables = backup;
    until(&recorder, RecordingState::WentBack).await;
    restored(&bench.writer(), &bench.reader(9)).await.unwrap();
    until(&recorder, IN_STEP).await;
    assert_eq!(bench.missing(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_database_of_another_log_cannot_be_told_that_it_was_restored() {
    let bench = Bench::new();
    bench.publish(0..5);
    let (journal, source) = (bench.writer(), bench.reader(9));
    assert!(restored(&journal, &source).await.is_ok(), "an empty database begins with this log");
    bench.database.lock().set_row("elsewhere", Cursor { seq: 9, base: 1 });
    assert!(matches!(restored(&journal, &source).await, Err(RestoredError::OtherLog)));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_log_makes_way_after_a_minute() {
    let bench = Bench::new();
    bench.publish(0..5);
    bench.database.lock().set_row("elsewhere", Cursor { seq: 7, base: 1 });
    let (start, recorder) = (Instant::now(), bench.start(0, RecorderOptions::default()));
    until(&recorder, RecordingState::OtherLog).await;
    until(&recorder, IN_STEP).await;
    assert!((60..65).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!((bench.messages(), bench.database.lock().log_id()), (5, Some("log-1")));
}

#[tokio::test(start_paused = true)]
async fn a_log_in_a_folder_of_its_own_takes_the_place_of_another_at_once() {
    let bench = Bench::new();
    bench.publish(0..5);
    bench.database.lock().set_row("elsewhere", Cursor { seq: 7, base: 1 });
    let start = Instant::now();
    let recorder = bench.start(0, RecorderOptions { own_folder: true, ..RecorderOptions::default() });
    until(&recorder, IN_STEP).await;
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn two_clusters_with_one_database_are_found_out_and_nothing_is_written() {
    let bench = Bench::new();
    bench.publish(0..5);
    bench.database.lock().set_row("elsewhere", Cursor { seq: 7, base: 1 });
    let (one, two) = (bench.start(0, RecorderOptions::default()), bench.start(1, RecorderOptions::default()));
    for _ in 0..2 {
        until(&one, RecordingState::OtherLog).await;
        sleep(Duration::from_secs(10)).await;
        assert!(bench.database.lock().touch("elsewhere"));
    }
    until(&one, RecordingState::TwoClusters).await;
    until(&two, RecordingState::TwoClusters).await;
    assert_eq!((bench.messages(), bench.database.lock().log_id()), (0, Some("elsewhere")));
}

#[tokio::test(start_paused = true)]
async fn the_row_is_touched_by_the_holder_of_the_lease_only() {
    let bench = Bench::new();
    let (one, two) = (bench.start(0, RecorderOptions::default()), bench.start(1, RecorderOptions::default()));
    until(&one, IN_STEP).await;
    until(&two, RecordingState::Standby).await;
    let touched = || bench.database.lock().touches();
    let before = touched();
    sleep(Duration::from_secs(100)).await;
    assert!((9..=10).contains(&(touched() - before)), "{}", touched() - before);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_left_to_an_instance_that_knows_it() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    bench.publish(0..3);
    let kind = Kind::named("edited").unwrap();
    let unknown = bench.log.lock().append(kind, record(3, "hi", None), 0);
    let last = bench.publish(4..6);
    until(&recorder, RecordingState::UnknownKind).await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!((bench.messages(), *recorder.cursor().borrow()), (3, unknown - 1));
    assert!(bench.reader(1).lease(ClaimStep::RENEW).await.unwrap().is_held);

    let base = bench.log.lock().state.markers.last().unwrap().base;
    bench.database.lock().set_row("log-1", Cursor { seq: unknown, base });
    bench.reader(1).lease(ClaimStep::Release).await.unwrap();
    until_recorded(&recorder, last).await;
    until(&recorder, IN_STEP).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_met_leaves_the_outbox_and_is_kept_if_its_room_shows_it() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.tell(1, IN_ROOM, false);
    bench.tell(2, IN_INBOX, false);
    bench.until_outbox_is_empty().await;
    let messages = bench.database.lock().tables.messages.clone();
    assert_eq!(messages.keys().collect::<Vec<_>>(), ["m1"]);
    assert_eq!(messages["m1"].told.as_ref().unwrap().kind, IN_ROOM);
    assert_eq!(*bench.taken.lock(), 0, "nothing was appended again");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_instance_was_killed_is_appended_after_two_seconds_at_the_end_of_the_log() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    let start = Instant::now();
    bench.tell(1, IN_ROOM, true);
    bench.tell(2, IN_INBOX, true);
    bench.until_outbox_is_empty().await;
    assert!((2..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!((*bench.taken.lock(), bench.messages()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_row_of_the_outbox_that_nobody_can_read_becomes_a_dead_letter() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.database.lock().tell("m1", IN_ROOM, "{".into());
    bench.database.lock().tell("m2", IN_ROOM, record(3, "another id", None));
    bench.database.lock().tell("m4", "newer", record(4, "of a newer release", None));
    bench.tell(5, IN_ROOM, true);
    sleep(Duration::from_secs(20)).await;
    let tables = bench.database.lock().tables.clone();
    assert_eq!(tables.outbox.keys().collect::<Vec<_>>(), ["m4"]);
    assert_eq!((tables.dead_letters.len(), tables.messages.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_survived() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.database.lock().panics = 3;
    let last = bench.publish(0..5);
    until_recorded(&recorder, last).await;
    until(&recorder, IN_STEP).await;
    assert_eq!((bench.messages(), bench.database.lock().panics), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_records_what_is_left_and_gives_up_the_lease() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.publish(0..500);
    let start = Instant::now();
    recorder.close(Duration::from_secs(9)).await;
    assert_eq!(bench.messages(), 500);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(bench.reader(1).lease(ClaimStep::RENEW).await.unwrap().is_held);
    assert_eq!(bench.shutdown.finish(Duration::from_secs(1)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_it_although_the_database_is_away() {
    let bench = Bench::new();
    let recorder = bench.start(0, RecorderOptions::default());
    until(&recorder, IN_STEP).await;
    bench.database.lock().is_away = true;
    bench.publish(0..5);
    until(&recorder, RecordingState::DatabaseAway).await;
    assert_eq!(bench.shutdown.finish(Duration::from_secs(7)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn old_messages_are_deleted_in_pieces_each_minute_by_the_clock_of_the_database() {
    let bench = Bench::new();
    let keep = Some(Duration::from_hours(1));
    let recorder = bench.start(0, RecorderOptions { keep, ..RecorderOptions::default() });
    let _standby = bench.start(1, RecorderOptions { keep, ..RecorderOptions::default() });
    bench.publish(0..2500);
    let last = bench.publish(2500..2501);
    // a message is accepted at 1000 and its number; the clock of this instance is decades ahead of this
    bench.database.lock().clock = 3500 + 3_600_000;
    until_recorded(&recorder, last).await;
    assert_eq!(bench.messages(), 2501);
    sleep(Duration::from_secs(62)).await;
    assert_eq!((bench.messages(), &bench.database.lock().pruned[..]), (1, &[1000, 1000, 500][..]));
    sleep(Duration::from_secs(55)).await;
    assert_eq!(bench.database.lock().pruned.len(), 3);
}
