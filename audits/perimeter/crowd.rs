//! The people from other addresses: they come in, talk in small rooms, and measure.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures_util::future::join_all;
use hubbub_client::{Closed, Connection, Upgrade};
use hubbub_protocol::{ClientFrame, GuestSecret, Hello, Publish, RoomId, ServerFrame};
use hubbub_testbed::dial;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

/// People in a room.
const ROOM: usize = 20;
/// People at an address.
const ADDRESS: usize = 10;
/// How often a person says something.
const PACE: Duration = Duration::from_secs(2);
/// How long a person waits to come in before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the last message has been said: how long everybody listens on.
const LISTEN: Duration = Duration::from_secs(2);

/// What one person saw, or everybody.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// How long each took to come in.
    pub(crate) entered: Vec<Duration>,
    /// How long each message took to each person.
    pub(crate) delays: Vec<Duration>,
    /// Messages that should have come to somebody.
    pub(crate) due: usize,
    /// What should not have happened.
    pub(crate) wrong: Vec<String>,
}

/// So many people come in at once, talk for this long when all are there, and go.
pub(crate) async fn visit(address: &str, people: usize, time: Duration) -> Account {
    let (tasks, began) = (TaskTracker::new(), Instant::now());
    let arriving: Vec<_> =
        (0..people).map(|number| tasks.spawn(Person { number, address: address.to_owned(), began }.arrive())).collect();
    let (mut account, mut present) = (Account::default(), Vec::new());
    for arrival in join_all(arriving).await {
        match arrival.unwrap() {
            Ok((person, connection, took)) => {
                account.entered.push(took);
                present.push((person, connection));
            }
            Err(error) => account.wrong.push(format!("a person could not come in: {error}")),
        }
    }
    let mut rooms: HashMap<RoomId, usize> = HashMap::new();
    for (person, _) in &present {
        *rooms.entry(person.room()).or_default() += 1;
    }
    let until = Instant::now() + time;
    let talking: Vec<JoinHandle<Account>> = present
        .into_iter()
        .map(|(person, connection)| {
            let company = rooms.get(&person.room()).copied().unwrap_or_default();
            tasks.spawn(person.stay(connection, company, until))
        })
        .collect();
    for one in join_all(talking).await {
        let Account { delays, due, wrong, .. } = one.unwrap();
        account.delays.extend(delays);
        account.due += due;
        account.wrong.extend(wrong);
    }
    account
}

#[derive(Debug)]
struct Person {
    number: usize,
    address: String,
    /// The zero of the times that messages carry.
    began: Instant,
}

impl Person {
    /// Comes in. Returns how long that took.
    async fn arrive(self) -> Result<(Self, Connection, Duration), String> {
        let came = Instant::now();
        let connection = timeout(PATIENCE, self.enter()).await.map_err(|_| format!("not within {PATIENCE:?}"))??;
        Ok((self, connection, came.elapsed()))
    }

    /// Talks until it is time. So many people are in the room.
    async fn stay(self, connection: Connection, company: usize, until: Instant) -> Account {
        let mut account = Account::default();
        if let Err(closed) = self.talk(connection, company, until, &mut account).await {
            account.wrong.push(format!("a person was disconnected: {closed}"));
        }
        account
    }

    fn room(&self) -> RoomId {
        format!("room-{}", self.number / ROOM).parse().unwrap()
    }

    async fn enter(&self) -> Result<Connection, String> {
        let host = u8::try_from(2 + self.number / ADDRESS % 200).unwrap();
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        let stream = dial(from, &self.address).await.map_err(|error| error.to_string())?;
        let opened = Connection::over(stream, &self.address, &Upgrade::default()).await;
        let mut connection = opened.map_err(|error| error.to_string())?;
        let hello = Hello {
            name: format!("Person {}", self.number).parse().unwrap(),
            session: Some(GuestSecret::random()),
            rooms: vec![self.room()],
            resume: None,
        };
        connection.send(&ClientFrame::Hello(hello)).await.map_err(|error| error.to_string())?;
        while !matches!(connection.next().await.map_err(|error| error.to_string())?, ServerFrame::Live { .. }) {}
        Ok(connection)
    }

    /// Talks until it is time, then listens for a moment.
    async fn talk(
        &self,
        mut connection: Connection,
        company: usize,
        until: Instant,
        account: &mut Account,
    ) -> Result<(), Closed> {
        // not all at once
        let first = Instant::now() + PACE.mul_f64(rand::random());
        let mut ticks = interval_at(first, PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut said, mut end) = (0, std::pin::pin!(sleep_until(until + LISTEN)));
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = ticks.tick(), if Instant::now() < until => {
                    said += 1;
                    connection.send(&self.say(said)).await?;
                    account.due += company;
                }
                frame = connection.next() => match frame? {
                    ServerFrame::Message(message) => {
                        let sent = Duration::from_nanos(message.record.body.parse().unwrap());
                        account.delays.push(self.began.elapsed().saturating_sub(sent));
                    }
                    ServerFrame::Error(refusal) => account.wrong.push(format!("a person was refused: {refusal:?}")),
                    ServerFrame::Reset { .. } => account.wrong.push("a person was reset".to_owned()),
                    _ => (),
                },
            }
        }
        let _closed = connection.close(Duration::from_secs(1)).await;
        Ok(())
    }

    fn say(&self, number: usize) -> ClientFrame {
        let body = self.began.elapsed().as_nanos().to_string();
        let id = format!("{}-{number}", self.number).parse().unwrap();
        ClientFrame::Publish(Publish { id, room: self.room(), body })
    }
}
