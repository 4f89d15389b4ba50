//! An instance, and the links to it and from it.

use hubbub_testbed::{Flow, Proxy};

use super::process::Process;

/// What the kernel holds for a client that may become slow.
const SLOW_BUFFER_BYTES: u32 = 64 * 1024;

/// One instance on its address, whichever process runs there.
pub(crate) struct Instance {
    pub(crate) process: Process,
    /// Between it and Redis; leads nowhere if there is none, or if a Sentinel shows the way.
    pub(crate) back: Proxy,
    /// Between most clients and it.
    pub(crate) front: Proxy,
    /// Between those clients and it that may become slow.
    pub(crate) slow_front: Proxy,
}

impl Instance {
    /// An instance that runs, with the way to its Redis.
    pub(crate) async fn behind(process: Process, back: Proxy) -> Self {
        let address = process.server.lock().await.address().to_owned();
        let front = Proxy::wide(&address).await;
        let slow_front = Proxy::holding(&address, Flow::Free, SLOW_BUFFER_BYTES).await;
        Self { process, back, front, slow_front }
    }
}
