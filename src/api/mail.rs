//! Sends mails over SMTP.

use std::{fmt, time::Duration};

use hubbub_lifecycle::{Shutdown, Throttle, metric};
use hubbub_messenger::mail::{Mail, Post};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::AsyncSmtpTransportBuilder,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::warn;

/// Mails that may wait.
const WAITING: usize = 256;
/// How long the server may take for one mail.
const DEADLINE: Duration = Duration::from_secs(30);
/// The pauses between the attempts to send a mail. After the last one it is given up.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2)];

static LOST: Throttle = Throttle::new();

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// What is wrong with a setting of mails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMail {
    /// The URL of the server.
    #[error("a mail server is smtp://HOST, smtp://USER:PASSWORD@HOST:587?tls=required or smtps://…: {0}")]
    Url(String),
    /// The sender.
    #[error("a sender is chat@example.com or `Chat <chat@example.com>`")]
    Sender,
}

/// A mail server.
pub struct MailServer {
    /// Not built yet: that starts a task.
    transport: AsyncSmtpTransportBuilder,
    sender: Mailbox,
}

/// A mail server that is used.
struct Postman {
    transport: Transport,
    sender: Mailbox,
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer").finish_non_exhaustive()
    }
}

impl MailServer {
    /// The server at this URL, for mails from this sender. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// One of the two is wrong.
    pub fn new(url: &str, sender: &str) -> Result<Self, InvalidMail> {
        let builder = Transport::from_url(url).map_err(|error| InvalidMail::Url(error.to_string()))?;
        let sender = sender.parse().map_err(|_| InvalidMail::Sender)?;
        Ok(Self { transport: builder.timeout(Some(DEADLINE)), sender })
    }

    /// Sends what is handed to the returned post, until the process ends.
    pub fn start(self, shutdown: &Shutdown) -> SmtpPost {
        let (sender, mails) = mpsc::channel(WAITING);
        let postman = Postman { transport: self.transport.build(), sender: self.sender };
        shutdown.spawn_until_shutdown(postman.work(mails));
        SmtpPost(sender)
    }
}

impl Postman {
    async fn work(self, mut mails: mpsc::Receiver<Mail>) {
        while let Some(mail) = mails.recv().await {
            self.deliver(mail).await;
        }
    }

    async fn deliver(&self, mail: Mail) {
        let Mail { to, subject, text } = mail;
        let Ok(recipient) = to.as_str().parse::<Mailbox>() else { return lost("the address cannot be mailed to") };
        let message = Message::builder().from(self.sender.clone()).to(recipient).subject(subject);
        let Ok(message) = message.header(ContentType::TEXT_PLAIN).body(text) else {
            return lost("the mail cannot be written");
        };
        let mut pauses = PAUSES.iter();
        loop {
            let error = match timeout(DEADLINE, self.transport.send(message.clone())).await {
                Ok(Ok(_)) => return metrics::counter!(metric::MAILS, "outcome" => "sent").increment(1),
                Ok(Err(error)) if error.is_permanent() => return lost(&error.to_string()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {DEADLINE:?}"),
            };
            let Some(pause) = pauses.next() else { return lost(&error) };
            sleep(*pause).await;
        }
    }
}

fn lost(why: &str) {
    metrics::counter!(metric::MAILS, "outcome" => "lost").increment(1);
    if let Some(held_back) = LOST.pass() {
        warn!(why, held_back, "a mail is not sent: see --smtp-url");
    }
}

/// Where mails are handed in.
#[derive(Clone, Debug)]
pub struct SmtpPost(mpsc::Sender<Mail>);

impl Post for SmtpPost {
    fn send(&self, mail: Mail) {
        if self.0.try_send(mail).is_err() {
            lost("too many mails wait");
        }
    }
}
