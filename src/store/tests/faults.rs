//! Connections that are cut, servers that stop, and files that others hold.

use std::sync::Arc;

use hubbub_messenger::StoreError;
use hubbub_testbed::{PATIENCE, eventually, within};
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

use super::*;

/// Records this in a task of its own.
fn recording(database: &Database, batch: &Batch) -> JoinSet<Result<Recorded, StoreError>> {
    let (database, batch) = (database.clone(), batch.clone());
    let mut task = JoinSet::new();
    let _handle = task.spawn(async move { database.record("log", &batch).await });
    task
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_a_batch_leaves_nothing_behind() {
    let home = Home::postgres().await;
    let (database, start) = home.begun().await;
    let first = batch(&start, 2, vec![message(1, 1, "a"), message(2, 2, "bb")]);
    let Engine::Postgres { pool, .. } = &*database.engine else { panic!("no Postgres") };
    for _ in 0..3 {
        let mut holder = pool.begin().await.unwrap();
        // Messages are written before rooms, so the batch waits in its middle.
        let _held = holder.execute("LOCK TABLE rooms IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut task = recording(&database, &first);
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO rooms%'";
        let ((), _) = eventually(PATIENCE, || async { (database.number(waiting).await > 0).then_some(()) }).await;
        let cut = within(task.join_next()).await.unwrap().unwrap();
        assert!(matches!(cut, Err(StoreError::Passing(_))), "{cut:?}");
        holder.rollback().await.unwrap();
        assert_eq!((database.cursor().await, database.all(&room(1)).await), (start.clone(), vec![]));
    }
    assert_eq!(database.record("log", &first).await, Ok(committed(2, 0)));
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_with_what_it_has_committed() {
    let mut home = Home::postgres().await;
    let (database, start) = home.begun().await;
    let first = batch(&start, 1, vec![message(1, 1, "a")]);
    assert_eq!(database.record("log", &first).await, Ok(committed(1, 0)));
    let server = home.server.as_mut().unwrap();
    server.kill().await;
    let second = batch(&Cursor { seq: 1, base: 0 }, 2, vec![message(2, 1, "bb")]);
    let away = database.record("log", &second).await;
    assert!(matches!(away, Err(StoreError::Passing(_))), "{away:?}");
    server.resume().await;
    let (recorded, _) = eventually(PATIENCE, || async { database.record("log", &second).await.ok() }).await;
    assert_eq!(recorded, committed(1, 0));
    assert_eq!(database.all(&room(1)).await, [message(1, 1, "a"), message(2, 1, "bb")]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_and_keeps_no_connection() {
    let home = Home::postgres().await;
    let impatient = DatabaseOptions { statement_timeout: Duration::from_millis(300), ..options(true) };
    let (database, start) = home.begun().await;
    let impatient = Database::open(&home.url, impatient).await.unwrap();
    let first = batch(&start, 1, vec![message(1, 1, "a")]);
    let server = home.server.as_ref().unwrap();
    server.signal("STOP").await;
    let first_room = room(1);
    // More often than there are connections.
    for _ in 0..3 {
        let (recorded, page) = tokio::join!(
            within(impatient.record("log", &first)),
            within(impatient.page(&first_room, PageRange { before: None, after: None, limit: 1 }))
        );
        assert!(matches!(recorded, Err(StoreError::Passing(_))), "{recorded:?}");
        assert!(matches!(page, Err(StoreError::Passing(_))), "{page:?}");
    }
    server.signal("CONT").await;
    // Whether one of those calls was committed is not known.
    let (_, _) = eventually(PATIENCE, || async { impatient.record("log", &first).await.ok() }).await;
    assert_eq!(database.all(&room(1)).await, [message(1, 1, "a")]);
}

#[tokio::test]
async fn a_stopped_instance_does_not_hold_the_cursor_for_ever() {
    let home = Home::postgres().await;
    let (database, start) = home.begun().await;
    let Engine::Postgres { pool, .. } = &*database.engine else { panic!("no Postgres") };
    // As an instance that was stopped after it moved the cursor.
    let mut stopped = pool.begin().await.unwrap();
    let _moved = stopped.execute("UPDATE recorder SET seq = 5").await.unwrap();
    let first = batch(&start, 1, vec![message(1, 1, "a")]);
    let (recorded, _) = eventually(PATIENCE, || async { database.record("log", &first).await.ok() }).await;
    assert_eq!(recorded, committed(1, 0));
    assert!(stopped.commit().await.is_err());
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_waited_for_and_then_passes() {
    let home = Home::sqlite();
    let (database, start) = home.begun().await;
    let first = batch(&start, 1, vec![message(1, 1, "a")]);
    let mut holder = SqliteConnectOptions::new().filename(home.url.path().unwrap()).connect().await.unwrap();
    let _held = holder.execute("BEGIN IMMEDIATE").await.unwrap();
    let busy = within(database.record("log", &first)).await;
    assert!(matches!(busy, Err(StoreError::Passing(_))), "{busy:?}");
    assert_eq!(database.all(&room(1)).await, [], "readers do not wait");
    let mut task = recording(&database, &first);
    let _free = holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(within(task.join_next()).await.unwrap().unwrap(), Ok(committed(1, 0)));
}

#[tokio::test]
async fn one_writer_serves_many_callers_of_a_file() {
    let home = Home::sqlite();
    let (database, _) = home.begun().await;
    let database = Arc::new(database);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let database = Arc::clone(&database);
        let _handle = calls.spawn(async move { database.touch("log").await });
    }
    assert!(within(calls.join_all()).await.into_iter().all(|touched| touched == Ok(true)));
}

#[tokio::test]
async fn an_error_that_does_not_blame_the_content_passes() {
    let home = Home::postgres().await;
    let (database, start) = home.begun().await;
    // As a newer schema may have it: a column that this release does not fill.
    database.run_sql("ALTER TABLE messages ADD more TEXT NOT NULL").await;
    let first = batch(&start, 1, vec![message(1, 1, "a")]);
    assert!(matches!(database.record("log", &first).await, Err(StoreError::Passing(_))));
    database.run_sql("ALTER TABLE messages DROP more; ALTER TABLE messages RENAME TO elsewhere").await;
    assert!(matches!(database.record("log", &first).await, Err(StoreError::Passing(_))));
    database.run_sql("ALTER TABLE elsewhere RENAME TO messages").await;
    assert_eq!(database.record("log", &first).await, Ok(committed(1, 0)));
}
