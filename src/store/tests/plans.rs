//! Which indexes are used, and that nothing is scanned.

use std::fs;

use hubbub_messenger::StoreError;
use hubbub_testbed::{PATIENCE, eventually};
use sqlx::Row;

use super::*;
use crate::{archive, postgres, sqlite};

/// Twenty thousand messages in two thousand rooms.
async fn fill(database: &Database) {
    let (series, number) = match &*database.engine {
        Engine::Sqlite { .. } => {
            ("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)", "FROM s")
        }
        Engine::Postgres { .. } => ("", "FROM generate_series(1, 20000) AS s (n)"),
    };
    database
        .run_sql(format!(
            "INSERT INTO messages (seq, room_id, sender_id, client_id, sender_name, at, body) {series} \
             SELECT n, 'room-' || (n % 2000), 'AAAAAAAAAAAAAAAAAAAAAA', 'id-' || n, 'Ann', n, 'a text of some length, {}' \
             {number}",
            "which is said ".repeat(10)
        ))
        .await;
    database
        .run_sql(
            "INSERT INTO rooms (id, kind, last_seq, created_at) \
             SELECT room_id, 'public', max(seq), min(at) FROM messages GROUP BY room_id; ANALYZE",
        )
        .await;
}

/// How the engine would run a statement with these parameters.
pub(super) async fn plan(database: &Database, statement: &'static str, bound: &[i64], texts: &[&str]) -> String {
    let explained = |how: &str| AssertSqlSafe(format!("{how} {statement}"));
    match &*database.engine {
        Engine::Sqlite { writer, .. } => {
            let rows = sqlx::query(explained("EXPLAIN QUERY PLAN")).fetch_all(writer).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
        }
        Engine::Postgres { pool, .. } => {
            let mut query = sqlx::query(explained("EXPLAIN"));
            for text in texts {
                query = query.bind((*text).to_owned());
            }
            for number in bound {
                query = query.bind(*number);
            }
            let rows = query.fetch_all(pool).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
        }
    }
}

fn scans(plan: &str) -> bool {
    ["messages", "rooms", "outbox"].iter().any(|table| plan.contains(&format!("SCAN {table}")))
        || plan.contains("Seq Scan on messages")
}

on_both_engines! {
    async fn a_page_reads_an_index_only(home: &Home) {
        let database = home.open().await;
        fill(&database).await;
        for statement in [archive::PAGE] {
            for bounds in [[0, i64::MAX, 51], [5_000, i64::MAX, 51], [0, 10_000, 51], [100, 19_000, 11]] {
                let plan = plan(&database, statement, &bounds, &["room-7"]).await;
                assert!(plan.contains("messages_place") && !scans(&plan), "{plan}");
                assert!(!plan.contains("Sort") && !plan.contains("B-TREE FOR ORDER BY"), "{plan}");
            }
        }
    }

    async fn pruning_reads_the_oldest_only(home: &Home) {
        let database = home.open().await;
        fill(&database).await;
        let statement = if home.server.is_some() { postgres::PRUNE } else { sqlite::PRUNE };
        let plan = plan(&database, statement, &[5_000, 1_000], &[]).await;
        assert!(plan.contains("messages_age") && !scans(&plan), "{plan}");
    }
}

#[tokio::test]
async fn writing_into_sqlite_scans_nothing() {
    let home = Home::sqlite();
    let database = home.open().await;
    fill(&database).await;
    for statement in [sqlite::LOWER, sqlite::LAST, sqlite::RAISE, sqlite::MET] {
        let plan = plan(&database, statement, &[], &[]).await;
        assert!(!scans(&plan), "{plan}");
    }
}

#[tokio::test]
async fn opening_a_file_reads_no_message() {
    let home = Home::sqlite();
    let database = home.open().await;
    let schema = database.number("PRAGMA page_count").await;
    fill(&database).await;
    database.run_sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let (pages, size) = (database.number("PRAGMA page_count").await, database.number("PRAGMA page_size").await);
    database.close().await;
    // The schema lies in front, and the messages behind it.
    let path = home.url.path().unwrap();
    let mut bytes = fs::read(path).unwrap();
    assert_eq!(i64::try_from(bytes.len()).unwrap(), pages * size);
    let behind = usize::try_from(schema * size).unwrap();
    bytes[behind..].fill(0xee);
    fs::write(path, bytes).unwrap();

    let damaged = home.open().await;
    assert_eq!(damaged.recording().await, Ok(None));
    let page = damaged.page(&room(7), PageRange { before: None, after: None, limit: 50 }).await;
    assert!(matches!(page, Err(StoreError::Passing(_))), "{page:?}");
}

#[tokio::test]
async fn opening_a_server_scans_no_table() {
    let home = Home::postgres().await;
    let (watcher, database) = (home.open().await, home.open().await);
    fill(&database).await;
    // A connection counts its scans at its end at the latest.
    database.close().await;
    let scans = "SELECT sum(seq_scan + coalesce(idx_scan, 0))::bigint FROM pg_stat_user_tables \
         WHERE relname IN ('messages', 'rooms')";
    let filled = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'rooms' AND n_tup_ins = 2000";
    let ((), _) = eventually(PATIENCE, || async { (watcher.number(filled).await > 0).then_some(()) }).await;
    let before = watcher.number(scans).await;
    let opened = home.open().await;
    assert_eq!(opened.recording().await, Ok(None));
    opened.close().await;
    // A page looks for its end and reads it, and nothing came before it.
    let reader = home.open().await;
    assert_eq!(reader.all(&room(7)).await.len(), 10);
    reader.close().await;
    let counted = || async { Some(watcher.number(scans).await).filter(|&now| now > before) };
    assert_eq!(eventually(PATIENCE, counted).await.0, before + 2);
}

#[tokio::test]
async fn each_connection_to_a_server_has_the_settings() {
    let home = Home::postgres().await;
    let database = home.open().await;
    let Engine::Postgres { pool, .. } = &*database.engine else { panic!("no Postgres") };
    for (setting, value) in [
        ("random_page_cost", "1.1"),
        ("enable_bitmapscan", "off"),
        ("statement_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("synchronous_commit", "on"),
    ] {
        let found: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(pool).await.unwrap();
        assert_eq!(found, value, "{setting}");
    }
}
