//! What is found out when a database is opened, and the sentences for it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use hubbub_testbed::{Certificate, PATIENCE, eventually};
use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

use super::*;
use crate::{Migrated, schema::MIGRATIONS};

/// The version of the schema that this release brings.
fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap()
}

async fn refused(url: &str) -> OpenError {
    let url = url.parse().unwrap();
    let error = Database::open(&url, options(true)).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("password-of"), "{text}");
    assert!(text.contains(". ") || error.is_passing(), "{text}: says what to do");
    error
}

on_both_engines! {
    async fn several_instances_may_start_at_once(home: &Home) {
        let mut instances = JoinSet::new();
        for _ in 0..8 {
            let url = home.url.clone();
            let _handle = instances.spawn(async move {
                eventually(PATIENCE, || async {
                    match Database::open(&url, options(true)).await {
                        Ok(database) => Some(database),
                        Err(error) if error.is_passing() => None,
                        Err(error) => panic!("{error}"),
                    }
                })
                .await
            });
        }
        for (database, _) in instances.join_all().await {
            assert_eq!(database.number("SELECT count(*) FROM _sqlx_migrations").await, newest());
        }
    }

    async fn an_old_schema_is_changed_only_with_leave(home: &Home) {
        let error = home.open_with(false).await.unwrap_err();
        assert!(matches!(error, OpenError::Outdated(version) if version == newest()), "{error}");
        assert_eq!(Database::migrate(&home.url).await.unwrap(), Migrated { from: 0, to: newest() });
        assert_eq!(Database::migrate(&home.url).await.unwrap(), Migrated { from: newest(), to: newest() });
        let database = home.open_with(false).await.unwrap();
        assert_eq!(database.begin("log").await, Ok(true));
    }

    async fn a_newer_schema_is_used_as_long_as_it_says_that_it_can_be(home: &Home) {
        let database = home.open().await;
        database.run_sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 70, 'newer', success, checksum, 1 FROM _sqlx_migrations WHERE version = 1").await;
        for migrate in [true, false] {
            let same = home.open_with(migrate).await.unwrap();
            assert_eq!(same.recording().await, Ok(None));
        }
        database.run_sql("UPDATE compatibility SET oldest = 70").await;
        for migrate in [true, false] {
            let error = home.open_with(migrate).await.unwrap_err();
            assert!(matches!(error, OpenError::Newer { found: 70, known } if known == newest()), "{error}");
        }
    }

    async fn a_schema_that_was_altered_is_not_used(home: &Home) {
        let database = home.open().await;
        let other = if home.server.is_some() { r"'\x00'" } else { "x'00'" };
        database.run_sql(format!("UPDATE _sqlx_migrations SET checksum = {other}")).await;
        assert!(matches!(home.open_with(true).await.unwrap_err(), OpenError::Altered(1)));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_said_and_what_to_do() {
    let mut home = Home::postgres().await;
    let server = home.server.as_mut().unwrap();
    let port = server.port();
    let right = server.url("postgres");
    let error = refused(&format!("postgres://hubbub:password-of-nobody@127.0.0.1:{port}/postgres")).await;
    assert!(matches!(error, OpenError::Credentials(_)), "{error:?}");
    let error = refused(&format!("postgres://nobody:password-of-nobody@127.0.0.1:{port}/postgres")).await;
    assert!(matches!(error, OpenError::Credentials(_)), "{error:?}");
    let error = refused(&server.url("missing")).await;
    assert!(matches!(error, OpenError::NoDatabase(_)), "{error:?}");
    let error = refused(&format!("{right}?sslmode=require")).await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");
    let error = refused(&format!("{right}?sslmode=verify-full&sslrootcert=/missing.pem")).await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");

    server.command("postgres", "CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0").await;
    let error = refused(&server.url("plain")).await;
    assert!(matches!(&error, OpenError::Encoding(name) if name == "SQL_ASCII"), "{error:?}");
    server.command("postgres", "CREATE DATABASE kept").await;
    server.command("postgres", "ALTER DATABASE kept SET default_transaction_read_only = on").await;
    let error = refused(&server.url("kept")).await;
    assert!(
        matches!(error, OpenError::Standby(_)) && error.is_passing(),
        "after a failover it takes writes: {error:?}"
    );
    server.command("postgres", "CREATE ROLE guest LOGIN PASSWORD 'password-of-guest'").await;
    let error = refused(&format!("postgres://guest:password-of-guest@127.0.0.1:{port}/postgres")).await;
    assert!(matches!(error, OpenError::Forbidden(_)), "{error:?}");
    server.command("postgres", "CREATE DATABASE others").await;
    server.command("others", "CREATE TABLE rooms (id BIGINT)").await;
    let error = refused(&server.url("others")).await;
    assert!(matches!(error, OpenError::Migration(_)), "{error:?}");

    server.stop().await;
    let error = refused(&right).await;
    assert!(error.is_passing(), "{error:?}");
}

#[tokio::test]
async fn a_connection_to_a_server_is_as_encrypted_as_its_url_says() {
    let server = Postgres::certified(Certificate::Signed).await;
    let url = server.database().await;
    let authority = server.authority();
    let error = refused(&format!("{url}?sslmode=verify-full")).await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");
    for mode in ["require".to_owned(), format!("verify-full&sslrootcert={}", authority.display())] {
        let url = format!("{url}?sslmode={mode}").parse().unwrap();
        let database = Database::open(&url, options(true)).await.unwrap();
        let encrypted = "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
        assert_eq!(database.number(encrypted).await, 1);
    }
    let server = Postgres::certified(Certificate::Elsewhere).await;
    let url = server.database().await;
    let error = refused(&format!("{url}?sslmode=verify-full&sslrootcert={}", server.authority().display())).await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_and_what_to_do() {
    let folder = scratch("store");
    let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let error = refused(&url("missing/hubbub.db")).await;
    assert!(matches!(error, OpenError::File(_)), "{error:?}");
    let error = refused(&url("")).await;
    assert!(matches!(error, OpenError::File(_)), "{error:?}");
    fs::write(folder.join("text"), "This is a text of more than a hundred bytes. ".repeat(50)).unwrap();
    let error = refused(&url("text")).await;
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");

    let other = |name: &str| SqliteConnectOptions::new().filename(folder.join(name)).create_if_missing(true);
    let _made = other("other.db").connect().await.unwrap().execute("CREATE TABLE rooms (id)").await.unwrap();
    assert!(matches!(refused(&url("other.db")).await, OpenError::Foreign));
    let _made = other("log.db").connect().await.unwrap().execute("PRAGMA application_id = 5").await.unwrap();
    assert!(matches!(refused(&url("log.db")).await, OpenError::Foreign));

    let database = Database::open(&url("held.db").parse().unwrap(), options(true)).await.unwrap();
    let mut holder = other("held.db").connect().await.unwrap();
    let _held = holder.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = refused(&url("held.db")).await;
    assert!(error.is_passing(), "{error:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["held.db", "held.db-wal", "held.db-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    drop(database);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_takes_no_writes_is_read_only() {
    // A test as root can write everything, so what SQLite says is made up.
    assert!(matches!(crate::open_error::of_sqlite(8, String::new()), OpenError::ReadOnly(_)));
    assert!(matches!(crate::open_error::of_sqlite(11, String::new()), OpenError::Damaged(_)));
    assert!(crate::open_error::of_sqlite(13, String::new()).is_passing(), "a full disk");
}
