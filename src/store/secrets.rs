//! Secrets that all instances share.

use std::sync::Arc;

use futures_util::FutureExt;
use hubbub_messenger::account_store::{SecretStore, Stored, StoredSecret};
use hubbub_protocol::UserId;

use crate::{account_rows::transaction, database::Database, engine::reading, fault::Fault};

/// Of each purpose the newest one, and the one before it.
const READ: &str = "SELECT purpose, value FROM secrets AS s \
     WHERE (SELECT count(*) FROM secrets AS newer WHERE newer.purpose = s.purpose \
       AND (newer.created_at > s.created_at OR (newer.created_at = s.created_at AND newer.id > s.id))) < 2 \
     ORDER BY created_at DESC, id DESC";
/// Whoever adds a secret waits here for whoever else does.
const LOCK: &str = "UPDATE compatibility SET oldest = oldest WHERE id = 1";
const COUNT: &str = "SELECT count(*) FROM secrets WHERE purpose = $1";
const ADD: &str =
    "INSERT INTO secrets (id, purpose, value, created_at) VALUES ($1, $2, $3, (SELECT millis FROM clock))";

impl SecretStore for Database {
    fn secrets(&self) -> Stored<'_, Vec<StoredSecret>> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            let rows: Vec<(String, String)> = reading!(&*engine, connection => {
                sqlx::query_as(READ).fetch_all(connection).await.map_err(Fault::from)
            })?;
            Ok(rows.into_iter().map(|(purpose, value)| StoredSecret { purpose, value }).collect())
        })
        .boxed()
    }

    fn add_secret(&self, secret: StoredSecret, is_another: bool) -> Stored<'_, ()> {
        let engine = Arc::clone(&self.engine);
        self.run(async move {
            transaction!(&*engine, transaction => {
                let _locked = sqlx::query(LOCK).execute(&mut *transaction).await?;
                let query = sqlx::query_scalar(COUNT).bind(&secret.purpose);
                let count: i64 = query.fetch_one(&mut *transaction).await?;
                if count == 0 || is_another {
                    let id = UserId::of(rand::random());
                    let query = sqlx::query(ADD).bind(id.as_str()).bind(&secret.purpose).bind(&secret.value);
                    let _added = query.execute(&mut *transaction).await?;
                }
                ((), true)
            })
        })
        .boxed()
    }
}
