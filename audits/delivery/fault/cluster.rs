//! A second cluster that is given the database of the first one.

use std::time::Duration;

use anyhow::{Result, ensure};
use hubbub_testbed::{Redis, Server, TestClient, room};
use tokio::time::timeout;

use crate::world::World;

/// It must see by then that the first one is at work.
const LIMIT: Duration = Duration::from_secs(70);

/// Starts an instance of another log, in which somebody talks, and waits for its end.
pub(super) async fn meet(world: &World) -> Result<()> {
    let redis = Redis::start().await;
    let flags = ["--redis-url", redis.url(), "--database-url", &world.history()?.url, "--instance", "stranger"];
    let mut stranger = Server::start(&flags).await;
    let room = room();
    let client = TestClient::spawn("stranger", vec![stranger.address().into()], &[&room]);
    client.publish(&room, "not for this database").await;
    let ended = timeout(LIMIT, async {
        while stranger.status().is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stranger.ended().await
    })
    .await;
    let log = stranger.log().into_iter().rev().take(5).collect::<Vec<_>>().join("\n");
    let Ok(status) = ended else { anyhow::bail!("the second cluster goes on beside the first: {log}") };
    ensure!(status.code() == Some(2), "the second cluster ended with {status}: {log}");
    world.note("the second cluster has ended".to_owned());
    Ok(())
}
