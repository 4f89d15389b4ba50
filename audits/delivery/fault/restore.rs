//! A database that is put back to a backup, as `docs/operations.md` says, while people talk.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use hubbub_testbed::{Postgres, command, within};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::world::World;

/// How old the backup is. The log keeps less than what is said in that time.
const AGE: Duration = Duration::from_secs(26);
/// An instance must say by then that the database went back.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// How long the recorder waits for whoever restored the database.
const HESITATION: Duration = Duration::from_secs(1);

pub(super) async fn restore(world: &World) -> Result<()> {
    let history = world.history()?;
    let backup = world.directory.join("backup");
    if let Some(postgres) = &history.server {
        let postgres = postgres.lock().await;
        back_up_server(&postgres, &history.url, &backup).await;
        sleep(AGE).await;
        put_back_server(&postgres, &history.url, &backup).await;
    } else {
        let file = history.url.strip_prefix("sqlite:").context("the file of the database")?;
        back_up_file(Path::new(file), &backup).await?;
        sleep(AGE).await;
        put_back_file(world, Path::new(file), &backup).await?;
    }
    world.note("the backup is back".to_owned());
    let began = Instant::now();
    while world.metric("hubbub_recorder_database_went_back").await <= 0.0 {
        ensure!(began.elapsed() < NOTICE_LIMIT, "no instance says that the database went back");
        sleep(LOOK).await;
    }
    sleep(HESITATION).await;
    say_restored(world, &history.url).await
}

async fn back_up_server(postgres: &Postgres, url: &str, backup: &Path) {
    let file = format!("--file={}", backup.display());
    postgres.tool("pg_dump", url, &["--format=custom", &file]).await;
}

async fn put_back_server(postgres: &Postgres, url: &str, backup: &Path) {
    let backup = backup.display().to_string();
    postgres.tool("pg_restore", url, &["--clean", "--if-exists", "--single-transaction", &backup]).await;
}

async fn back_up_file(file: &Path, backup: &Path) -> Result<()> {
    let _there_or_not = fs::remove_file(backup);
    let mut sqlite = Command::new("sqlite3");
    sqlite.arg(file).args([".timeout 10000", &format!("VACUUM INTO '{}'", backup.display())]);
    let status = within(sqlite.status()).await.context("sqlite3")?;
    ensure!(status.success(), "sqlite3 made no backup: {status}");
    Ok(())
}

/// No instance may use the file meanwhile.
async fn put_back_file(world: &World, file: &Path, backup: &Path) -> Result<()> {
    let mut stopped = Vec::new();
    for instance in &world.instances {
        let mut server = instance.process.server.lock().await;
        instance.process.lives(&mut server)?;
        server.terminate().await;
        let status = server.ended().await;
        ensure!(status.success(), "{} ended with {status}", instance.process.name);
        stopped.push((&instance.process, server));
    }
    for rest in ["-wal", "-shm"] {
        let _there_or_not = fs::remove_file(format!("{}{rest}", file.display()));
    }
    fs::copy(backup, file).context("the backup")?;
    for (process, mut server) in stopped {
        process.restart(&mut server).await?;
    }
    Ok(())
}

async fn say_restored(world: &World, database: &str) -> Result<()> {
    let redis = world.store.lock().await.alone()?.url().to_owned();
    let flags = ["restored", "--redis-url", &redis, "--database-url", database];
    let output = within(command(&flags).output()).await.context("hubbub restored")?;
    let [said, error] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    world.note(format!("hubbub restored: {said}{error}"));
    ensure!(output.status.success(), "hubbub restored ended with {}: {error}", output.status);
    ensure!(!said.contains("Nothing had to be done"), "hubbub restored had nothing to do");
    Ok(())
}
