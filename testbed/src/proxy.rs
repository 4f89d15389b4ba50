//! A TCP proxy that fails on demand.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::interval,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Bytes the kernel holds between the server and the proxy: few, so that a stall is felt soon.
const RECEIVE_BUFFER_BYTES: u32 = 8 * 1024;
/// How often a throttled direction moves.
const TICK: Duration = Duration::from_millis(20);

/// How bytes flow from the server to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Free,
    /// Not at all; nothing is read from the server.
    Stalled,
    /// At most so many bytes a second.
    Throttled(usize),
    /// As they come, but a connection is cut after so many bytes. Counted for each connection.
    CutAfter(usize),
}

/// Forwards connections to one address. The other direction always flows freely.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    flow: watch::Sender<Flow>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy on a port of its own.
    pub async fn to(target: &str, flow: Flow) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, receiver) = watch::channel(flow);
        let target = target.to_owned();
        let task = TaskTracker::new().spawn(async move {
            let links = Links::default();
            while let Ok((client, _)) = listener.accept().await {
                links.add(forward(client, target.clone(), receiver.clone()));
            }
        });
        Self { address, flow: sender, _task: AbortOnDropHandle::new(task) }
    }

    /// `host:port` to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// For the connections there are and for those to come.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

/// The forwarding tasks; they end with the proxy.
#[derive(Default)]
struct Links {
    tracker: TaskTracker,
    open: Arc<parking_lot::Mutex<Vec<AbortOnDropHandle<()>>>>,
}

impl Links {
    fn add(&self, link: impl Future<Output = ()> + Send + 'static) {
        let handle = AbortOnDropHandle::new(self.tracker.spawn(link));
        let mut open = self.open.lock();
        open.retain(|link| !link.is_finished());
        open.push(handle);
    }
}

async fn forward(client: TcpStream, target: String, flow: watch::Receiver<Flow>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    let Ok(server) = socket.connect(target.parse().unwrap()).await else { return };
    // The end of either direction cuts both, without a goodbye.
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = shape(from_server, to_client, flow) => {}
    }
}

async fn shape(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; 4096];
    let mut passed = 0;
    let mut ticks = interval(TICK);
    loop {
        let now = *flow.borrow_and_update();
        let room = match now {
            Flow::Free => buffer.len(),
            Flow::CutAfter(bytes) if passed >= bytes => return,
            Flow::CutAfter(bytes) => buffer.len().min(bytes - passed),
            Flow::Throttled(bytes_a_second) => {
                ticks.tick().await;
                buffer.len().min((bytes_a_second / 50).max(1))
            }
            Flow::Stalled => {
                if flow.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(window) = buffer.get_mut(..room) else { return };
        let read = tokio::select! {
            read = from.read(window) => read,
            Ok(()) = flow.changed() => continue,
        };
        let Ok(bytes @ 1..) = read else { return };
        passed += bytes;
        let Some(data) = buffer.get(..bytes) else { return };
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}
