//! A TCP proxy that fails on demand.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Bytes the kernel holds between the server and the proxy: few, so that a stall is felt soon.
const RECEIVE_BUFFER_BYTES: u32 = 8 * 1024;
/// Bytes that may be on their way in a delayed direction.
const DELAYED_BYTES: usize = 1024 * 1024;
/// How often a throttled direction moves.
const TICK: Duration = Duration::from_millis(20);

/// How bytes flow in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Free,
    /// Not at all; nothing is read.
    Stalled,
    /// At most so many bytes a second.
    Throttled(usize),
    /// As they come, but so much later.
    Delayed(Duration),
    /// As they come, but a connection is cut after so many bytes. Counted for each connection, from when this is set.
    CutAfter(usize),
}

/// Forwards connections to one address.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    terms: watch::Sender<Terms>,
    _task: AbortOnDropHandle<()>,
}

/// What holds for the connections of a proxy.
#[derive(Clone, Copy, Debug)]
struct Terms {
    from_server: Flow,
    from_client: Flow,
    /// Connections with a lower number stand still.
    frozen_below: u64,
    /// The number of the next connection.
    next: u64,
    open: bool,
}

#[derive(Clone, Copy)]
enum Direction {
    FromServer,
    FromClient,
}

impl Terms {
    fn flow(&self, direction: Direction, number: u64) -> Flow {
        match direction {
            _ if number < self.frozen_below => Flow::Stalled,
            Direction::FromServer => self.from_server,
            Direction::FromClient => self.from_client,
        }
    }
}

impl Proxy {
    /// A proxy on a port of its own; `flow` is from the server to the client, the other direction flows freely. The kernel
    /// holds little for it, so that the server feels a stall soon.
    pub async fn to(target: &str, flow: Flow) -> Self {
        Self::holding(target, flow, RECEIVE_BUFFER_BYTES).await
    }

    /// The same, with another size of what the kernel holds. Below 64 KiB a connection that falls behind crawls on
    /// loopback, whose segments are as large as that.
    pub async fn holding(target: &str, flow: Flow, bytes: u32) -> Self {
        Self::over(Route { target: target.to_owned(), receive_buffer_bytes: Some(bytes) }, flow).await
    }

    /// A proxy that flows freely, and for which the kernel holds as much as for anyone.
    pub async fn wide(target: &str) -> Self {
        Self::over(Route { target: target.to_owned(), receive_buffer_bytes: None }, Flow::Free).await
    }

    async fn over(route: Route, flow: Flow) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let terms = Terms { from_server: flow, from_client: Flow::Free, frozen_below: 0, next: 0, open: true };
        let (terms, receiver) = watch::channel(terms);
        let numbers = terms.clone();
        let task = TaskTracker::new().spawn(async move {
            let links = Links::default();
            while let Ok((client, _)) = listener.accept().await {
                let number = numbers.borrow().next;
                numbers.send_modify(|terms| terms.next += 1);
                links.add(forward(client, route.clone(), number, receiver.clone()));
            }
        });
        Self { address, terms, _task: AbortOnDropHandle::new(task) }
    }

    /// `host:port` to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From the server to the client, for the connections there are and for those to come.
    pub fn set(&self, flow: Flow) {
        self.terms.send_modify(|terms| terms.from_server = flow);
    }

    /// From the client to the server, for the connections there are and for those to come.
    pub fn set_from_client(&self, flow: Flow) {
        self.terms.send_modify(|terms| terms.from_client = flow);
    }

    /// Stops both directions of the connections there are, without an end that either side could see. Those to come
    /// flow.
    pub fn freeze(&self) {
        self.terms.send_modify(|terms| terms.frozen_below = terms.next);
    }

    /// The frozen connections flow again, with everything that waited.
    pub fn thaw(&self) {
        self.terms.send_modify(|terms| terms.frozen_below = 0);
    }

    /// Ends the connections there are and, until [`restore`](Self::restore), each that comes.
    pub fn cut(&self) {
        self.terms.send_modify(|terms| terms.open = false);
    }

    /// Takes connections again.
    pub fn restore(&self) {
        self.terms.send_modify(|terms| terms.open = true);
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

/// Where a proxy leads.
#[derive(Clone)]
struct Route {
    target: String,
    receive_buffer_bytes: Option<u32>,
}

impl Route {
    async fn connect(&self) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.connect(self.target.parse().unwrap()).await.ok()
    }
}

async fn forward(client: TcpStream, route: Route, number: u64, mut terms: watch::Receiver<Terms>) {
    if !terms.borrow().open {
        return;
    }
    let Some(server) = route.connect().await else { return };
    // The end of either direction cuts both, without a close frame.
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = shape(from_client, to_server, |terms| terms.flow(Direction::FromClient, number), terms.clone()) => {}
        () = shape(from_server, to_client, |terms| terms.flow(Direction::FromServer, number), terms.clone()) => {}
        _ = terms.wait_for(|terms| !terms.open) => {}
    }
}

/// Forwards one direction until it ends.
async fn shape(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow_of: impl Fn(&Terms) -> Flow,
    mut terms: watch::Receiver<Terms>,
) {
    let mut buffer = vec![0; 4096];
    let mut passed = Passed { flow: Flow::Free, bytes: 0 };
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut delayed = Delayed::default();
    loop {
        let flow = flow_of(&terms.borrow_and_update());
        let before = passed.under(flow);
        let room = match flow {
            Flow::Delayed(_) if delayed.bytes >= DELAYED_BYTES => 0,
            Flow::Free | Flow::Delayed(_) => buffer.len(),
            Flow::CutAfter(bytes) if before >= bytes => return,
            Flow::CutAfter(bytes) => buffer.len().min(bytes - before),
            Flow::Throttled(bytes_a_second) => {
                ticks.tick().await;
                buffer.len().min((bytes_a_second / 50).max(1))
            }
            Flow::Stalled => {
                if terms.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(window) = buffer.get_mut(..room) else { return };
        let read = tokio::select! {
            biased;
            Ok(()) = terms.changed() => continue,
            // What was delayed goes before anything that is read now.
            data = delayed.due() => match to.write_all(&data).await {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(window), if room > 0 && (delayed.queue.is_empty() || matches!(flow, Flow::Delayed(_))) => read,
        };
        let Ok(bytes @ 1..) = read else { return };
        passed.bytes += bytes;
        let Some(data) = buffer.get(..bytes) else { return };
        if let Flow::Delayed(delay) = flow {
            delayed.push(delay, data);
        } else if to.write_all(data).await.is_err() {
            return;
        }
    }
}

/// Bytes that have passed since a flow was set.
struct Passed {
    flow: Flow,
    bytes: usize,
}

impl Passed {
    fn under(&mut self, flow: Flow) -> usize {
        if self.flow != flow {
            *self = Self { flow, bytes: 0 };
        }
        self.bytes
    }
}

/// Bytes on their way, and when they arrive.
#[derive(Default)]
struct Delayed {
    queue: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Delayed {
    fn push(&mut self, delay: Duration, data: &[u8]) {
        self.bytes += data.len();
        self.queue.push_back((Instant::now() + delay, data.to_owned()));
    }

    /// The next that arrives. Cancel safe.
    async fn due(&mut self) -> Vec<u8> {
        let Some((due, _)) = self.queue.front() else { return pending().await };
        sleep_until(*due).await;
        let (_, data) = self.queue.pop_front().unwrap_or_else(|| unreachable!("it was just there"));
        self.bytes -= data.len();
        data
    }
}
