//! The schema: its versions, and how a database gets the current one.

use sqlx::{
    Connection, PgConnection, SqlSafeStr, SqliteConnection,
    migrate::{AppliedMigration, Migrate, Migration, MigrationType, Migrator},
};

use crate::open_error::OpenError;

/// What a migration is called, and its text for SQLite and for Postgres.
pub(crate) type Texts = (&'static str, &'static str, &'static str);

macro_rules! texts {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("migrations/sqlite/", $name, ".sql")),
            include_str!(concat!("migrations/postgres/", $name, ".sql")),
        )
    };
}

/// All migrations, from version 1 on.
pub(crate) const MIGRATIONS: [Texts; 3] = [texts!("0001_history"), texts!("0002_accounts"), texts!("0003_rooms")];

/// Where the migrator notes what it has applied.
const TABLE: &str = "_sqlx_migrations";

/// The lowest version whose release can use the database.
const OLDEST: &str = "SELECT oldest FROM compatibility WHERE id = 1";

/// Marks a file of SQLite as ours. The first migration sets it.
const APPLICATION: i64 = 0x4875_6262;

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version of the schema before. 0: the database was empty.
    pub from: i64,
    /// The version now.
    pub to: i64,
}

/// Brings a file to the current schema, or finds that it has it.
pub(crate) async fn of_sqlite(connection: &mut SqliteConnection, migrate: bool) -> Result<Migrated, OpenError> {
    refuse_foreign(connection).await?;
    let known = migrator(|texts| texts.1);
    let before = applied_in_sqlite(connection).await?;
    if !is_current(&known, &before, migrate)? {
        // Others wait here, and then find that it is done.
        let mut transaction = connection.begin_with("BEGIN EXCLUSIVE").await?;
        known.run_direct(None, &mut *transaction, false).await?;
        transaction.commit().await?;
    }
    let after = applied_in_sqlite(connection).await?;
    if is_newer(&known, &after) {
        let oldest = sqlx::query_scalar(OLDEST).fetch_one(&mut *connection).await?;
        bears(&known, &after, oldest)?;
    }
    Ok(Migrated { from: last(&before), to: last(&after) })
}

/// Brings a database of Postgres to the current schema, or finds that it has it.
pub(crate) async fn of_postgres(connection: &mut PgConnection, migrate: bool) -> Result<Migrated, OpenError> {
    let known = migrator(|texts| texts.2);
    let before = applied_in_postgres(connection).await?;
    if !is_current(&known, &before, migrate)? {
        // The migrator takes an advisory lock. Others wait for it, and then find that it is done.
        sqlx::raw_sql("SET lock_timeout = '60s'").execute(&mut *connection).await?;
        known.run_direct(None, connection, false).await?;
    }
    let after = applied_in_postgres(connection).await?;
    if is_newer(&known, &after) {
        let oldest = sqlx::query_scalar(OLDEST).fetch_one(&mut *connection).await?;
        bears(&known, &after, oldest)?;
    }
    Ok(Migrated { from: last(&before), to: last(&after) })
}

fn migrator(text: fn(&Texts) -> &'static str) -> Migrator {
    let migrations = (1..).zip(&MIGRATIONS).map(|(version, texts)| {
        let description = texts.0.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        Migration::new(version, description.into(), MigrationType::Simple, text(texts).into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Versions above ours are judged by `bears`.
    let _itself = migrator.set_ignore_missing(true);
    migrator
}

/// A file with tables of another program is left alone.
async fn refuse_foreign(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await?;
    let is_ours = application == APPLICATION || (application == 0 && tables == 0);
    if is_ours { Ok(()) } else { Err(OpenError::Foreign) }
}

async fn applied_in_sqlite(connection: &mut SqliteConnection) -> Result<Vec<AppliedMigration>, OpenError> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    if sqlx::query_scalar(exists).fetch_one(&mut *connection).await? {
        return Ok(connection.list_applied_migrations(TABLE).await?);
    }
    Ok(Vec::new())
}

async fn applied_in_postgres(connection: &mut PgConnection) -> Result<Vec<AppliedMigration>, OpenError> {
    let exists = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if sqlx::query_scalar(exists).fetch_one(&mut *connection).await? {
        return Ok(connection.list_applied_migrations(TABLE).await?);
    }
    Ok(Vec::new())
}

/// Whether nothing is left to apply. An error if something is, and must not be applied.
fn is_current(known: &Migrator, applied: &[AppliedMigration], migrate: bool) -> Result<bool, OpenError> {
    for migration in known.iter() {
        match applied.iter().find(|applied| applied.version == migration.version) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(OpenError::Altered(migration.version)),
            None if migrate => return Ok(false),
            None => return Err(OpenError::Outdated(newest(known))),
        }
    }
    Ok(true)
}

fn is_newer(known: &Migrator, applied: &[AppliedMigration]) -> bool {
    last(applied) > newest(known)
}

/// Whether this release can use a database that a newer one has migrated.
fn bears(known: &Migrator, applied: &[AppliedMigration], oldest: i64) -> Result<(), OpenError> {
    let (found, known) = (last(applied), newest(known));
    if oldest > known {
        return Err(OpenError::Newer { found, known });
    }
    tracing::info!(
        schema.found = found,
        schema.known = known,
        "a newer release has migrated the database; it can be used"
    );
    Ok(())
}

fn last(applied: &[AppliedMigration]) -> i64 {
    applied.last().map_or(0, |applied| applied.version)
}

fn newest(known: &Migrator) -> i64 {
    known.iter().last().map_or(0, |migration| migration.version)
}
