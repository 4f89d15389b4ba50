//! Who a client is, and what it asks for in its `hello`.

use std::{sync::Arc, time::Duration};

use hubbub_protocol::{AccessToken, ClientFrame, CloseReason, ErrorCode, Refusal, Resume, RoomId};
use tokio::time::timeout;

use crate::{node::Node, person::Person, ports::Denial, sessions::Belonging, socket::Link};

/// How long it may take to find out who sent a token.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(5);

/// A client that has said who it is.
pub(super) struct Introduction {
    pub(super) person: Person,
    pub(super) rooms: Vec<RoomId>,
    pub(super) resume: Option<Resume>,
}

/// What a first frame gets that introduces nobody.
pub(super) enum Unknown {
    /// An error. The client may send another `hello`.
    Refused(Refusal),
    /// The end of the connection.
    Closed(CloseReason),
}

impl Introduction {
    /// Reads the first frame of a client.
    pub(super) async fn read(frame: ClientFrame, node: &Node) -> Result<Self, Unknown> {
        let (person, rooms, resume) = match frame {
            ClientFrame::Hello(hello) => (Person::guest(hello.name, hello.session), hello.rooms, hello.resume),
            ClientFrame::AccountHello(hello) => (authenticate(&hello.token, node).await?, hello.rooms, hello.resume),
            _ => return Err(Unknown::Refused(Refusal::new(ErrorCode::HelloRequired, "send hello first"))),
        };
        rooms.iter().try_for_each(|room| node.ports().gate.may_enter(&person, room)).map_err(Unknown::Refused)?;
        Ok(Self { person, rooms, resume })
    }

    /// The socket of an account belongs to its session from now on. Asked again only then whether the session stands: an
    /// end that comes later finds the socket.
    pub(super) fn belong(&self, link: &Arc<Link>, node: &Node) -> Result<Option<Belonging>, CloseReason> {
        let Some(session) = self.person.session() else { return Ok(None) };
        let belonging = node.sessions().enter(session.clone(), link);
        if node.ports().identity.has_ended(session) { Err(CloseReason::SessionEnded) } else { Ok(Some(belonging)) }
    }
}

async fn authenticate(token: &AccessToken, node: &Node) -> Result<Person, Unknown> {
    let found = timeout(IDENTITY_DEADLINE, node.ports().identity.authenticate(token)).await;
    found.unwrap_or(Err(Denial::Unavailable)).map_err(|denial| match denial {
        Denial::Invalid => {
            Unknown::Refused(Refusal::new(ErrorCode::InvalidToken, "this is no token of an account of this server"))
        }
        Denial::Expired => Unknown::Closed(CloseReason::TokenExpired),
        Denial::SessionEnded => Unknown::Closed(CloseReason::SessionEnded),
        Denial::Unavailable => Unknown::Closed(CloseReason::TryAgainLater),
    })
}
