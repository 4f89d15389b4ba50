//! Accounts at the `hello` of a WebSocket, and the sockets of sessions that end.

use futures_util::future::{BoxFuture, FutureExt};
use hubbub_edge::{
    node::Node,
    person::Person,
    ports::{Denial, Identity},
};
use hubbub_messenger::{
    access_token::TokenRefusal,
    accounts::{AccountError, Accounts, Sockets},
};
use hubbub_protocol::{AccessToken, SessionId};

/// Finds out by the accounts who sent a token.
#[derive(Clone, Debug)]
pub struct AccountIdentity(pub Accounts);

impl Identity for AccountIdentity {
    fn authenticate<'a>(&'a self, token: &'a AccessToken) -> BoxFuture<'a, Result<Person, Denial>> {
        async move {
            match self.0.enter(token.reveal()).await {
                Ok((account, session)) => Ok(Person::account(account.user(), session)),
                Err(AccountError::Token(TokenRefusal::Expired)) => Err(Denial::Expired),
                Err(AccountError::SessionEnded) => Err(Denial::SessionEnded),
                Err(AccountError::Token(_) | AccountError::NotAllowed) => Err(Denial::Invalid),
                Err(_) => Err(Denial::Unavailable),
            }
        }
        .boxed()
    }

    fn has_ended(&self, session: &SessionId) -> bool {
        self.0.has_ended(session)
    }
}

/// The sockets of this instance.
#[derive(Clone, Debug)]
pub struct NodeSockets(pub Node);

impl Sockets for NodeSockets {
    fn close(&self, sessions: &[SessionId]) {
        for session in sessions {
            let _closed = self.0.sessions().close(session);
        }
    }

    fn open(&self) -> Vec<SessionId> {
        self.0.sessions().open()
    }
}
