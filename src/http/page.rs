//! A page of history as the body of an answer: bounded in bytes, and in how many are written at the same time.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hubbub_lifecycle::{Permit, Quota, Throttle, metric};
use hubbub_protocol::{ErrorCode, Frame, Refusal, Seq};
use hyper::body::{Body as HttpBody, Frame as Piece, SizeHint};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::warn;

use super::{
    address::quota_key,
    history::History,
    listener::{
        Cutter,
        parking::{Parking, Place, make_room},
    },
    problem::Problem,
};

/// Upper bound for the messages of a page, in bytes. One message always fits.
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Pages that are written at the same time. Each keeps its messages in memory until it is written.
const MAX_PAGES: usize = 64;
/// Those of one address.
const MAX_PAGES_OF_ADDRESS: usize = 16;
/// While others wait for a page: how long the writing of one may take.
const GRACE: Duration = Duration::from_secs(5);
/// How long a request waits for its page.
const PATIENCE: Duration = Duration::from_secs(6);
/// Bytes of a page that are copied at a time.
const CHUNK: usize = 64 * 1024;
/// The pause before a refused client should ask again, in milliseconds.
const RETRY_MS: u64 = 1000;

/// Counts the pages that are written. When others wait, the one that has taken longest makes way.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pages: Arc<Semaphore>,
    addresses: Quota<IpAddr>,
    written: Arc<Parking<Cutter>>,
}

/// The right to write a page.
#[derive(Debug)]
pub(super) struct PagePermit {
    _page: OwnedSemaphorePermit,
    _share: Permit<IpAddr>,
    _place: Place<Cutter>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            addresses: Quota::new(MAX_PAGES_OF_ADDRESS),
            written: Arc::new(Parking::new(GRACE)),
        }
    }

    /// Waits for one more page for this address. `cutter` ends the exchange that writes it.
    ///
    /// # Errors
    ///
    /// 503: too many are written.
    pub(super) async fn take(&self, address: IpAddr, cutter: Cutter) -> Result<PagePermit, Problem> {
        let key = quota_key(address);
        let Some(share) = self.addresses.take(key) else {
            // The next request of this address finds room.
            self.written.evict_from(key).iter().for_each(Cutter::cut);
            return Err(too_many(address));
        };
        let page = make_room(Arc::clone(&self.pages).acquire_owned(), || self.written.evict());
        // The semaphore is never closed.
        let page = timeout(PATIENCE, page).await.ok().and_then(Result::ok).ok_or_else(|| too_many(address))?;
        Ok(PagePermit { _page: page, _share: share, _place: self.written.enter(key, cutter) })
    }
}

fn too_many(address: IpAddr) -> Problem {
    static TOO_MANY: Throttle = Throttle::new();
    metrics::counter!(metric::HTTP_REFUSALS, "reason" => "history").increment(1);
    if let Some(held_back) = TOO_MANY.pass() {
        warn!(net.client = %address, held_back, "refusing a page of history: too many are being written");
    }
    let detail = "too many pages of history are being written; ask again";
    Refusal::new(ErrorCode::Overloaded, detail).retry_after_ms(RETRY_MS).into()
}

impl History {
    /// Drops the oldest messages beyond the bound in bytes. The next page begins with them. Messages that share a place
    /// are not parted.
    fn within(mut self, bound: usize) -> Self {
        let mut bytes = 0;
        let newest = self.messages.iter().rev().take_while(|(_, frame)| {
            bytes += frame.len();
            bytes <= bound
        });
        let dropped = self.messages.len().saturating_sub(newest.count().max(1));
        if let Some(&(lowest, _)) = self.messages.get(dropped).filter(|_| dropped > 0) {
            self.messages.retain(|(place, _)| *place >= lowest);
            self.next = Some(lowest);
        }
        self
    }
}

/// The answer with this page. The permit is kept until it is written.
pub(super) fn respond(history: History, permit: PagePermit) -> Response {
    let History { messages, next, seq, gaps } = history.within(MAX_PAGE_BYTES);
    let next = next.map_or_else(|| "null".to_owned(), |next| next.to_string());
    let gaps = if gaps.is_empty() { String::new() } else { format!(r#","gaps":{}"#, json!(gaps)) };
    let body = Page::new(messages, format!(r#"],"next":{next},"seq":{seq}{gaps}}}"#), permit);
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::new(body)).into_response()
}

/// The body: made piece by piece as the client reads it.
struct Page {
    /// The ring keeps every message as the JSON that clients get.
    messages: vec::IntoIter<(Seq, Frame)>,
    /// What goes before the next message.
    before: &'static str,
    end: String,
    rest: usize,
    _permit: PagePermit,
}

const BEGIN: &str = r#"{"messages":["#;

impl Page {
    fn new(messages: Vec<(Seq, Frame)>, end: String, permit: PagePermit) -> Self {
        let bytes: usize = messages.iter().map(|(_, frame)| frame.payload().len()).sum();
        let rest = BEGIN.len() + bytes + messages.len().saturating_sub(1) + end.len();
        Self { messages: messages.into_iter(), before: BEGIN, end, rest, _permit: permit }
    }

    fn chunk(&mut self) -> Vec<u8> {
        let mut chunk = Vec::with_capacity(self.rest.min(CHUNK));
        for (_, frame) in self.messages.by_ref() {
            chunk.extend_from_slice(self.before.as_bytes());
            chunk.extend_from_slice(frame.payload());
            self.before = ",";
            if chunk.len() >= CHUNK {
                return chunk;
            }
        }
        if self.before == BEGIN {
            chunk.extend_from_slice(BEGIN.as_bytes());
        }
        chunk.extend_from_slice(self.end.as_bytes());
        chunk
    }
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Piece<Bytes>, Infallible>>> {
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        let chunk = self.chunk();
        self.rest = self.rest.saturating_sub(chunk.len());
        Poll::Ready(Some(Ok(Piece::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn history(bodies: &[String]) -> History {
        let messages = (1..).zip(bodies.iter().map(|body| Frame::text(&format!("{body:?}")))).collect();
        History { messages, seq: 9, ..History::default() }
    }

    async fn text(history: History) -> String {
        let permit = Desk::new().take([127, 0, 0, 1].into(), Cutter::default()).await.unwrap();
        let body = respond(history, permit).into_body();
        let announced = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), announced);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_page_is_json_whatever_its_length() {
        assert_eq!(text(history(&[])).await, r#"{"messages":[],"next":null,"seq":9}"#);
        let two = ["a".to_owned(), "b".to_owned()];
        assert_eq!(text(history(&two)).await, r#"{"messages":["a","b"],"next":null,"seq":9}"#);
        let long = vec!["x".repeat(50_000); 5];
        let page: serde_json::Value = serde_json::from_str(&text(history(&long)).await).unwrap();
        assert_eq!(page["messages"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn the_newest_messages_within_the_bound_are_kept_and_at_least_one() {
        let five = history(&vec!["x".repeat(1000); 5]);
        let kept = five.within(2500);
        assert_eq!(kept.messages.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(kept.next, Some(4));
        assert_eq!(kept.within(10).messages.len(), 1);
        assert_eq!(history(&vec!["x".to_owned(); 5]).within(2500).next, None);
    }

    #[tokio::test]
    async fn an_address_that_reads_slowly_leaves_pages_to_others() {
        let desk = Desk::new();
        let take = async |host| desk.take([127, 0, 0, host].into(), Cutter::default()).await;
        let mut held = Vec::new();
        for _ in 0..MAX_PAGES_OF_ADDRESS {
            held.push(take(1).await.unwrap());
        }
        assert!(take(1).await.is_err());
        assert!(take(2).await.is_ok());
        drop(held);
        assert!(take(1).await.is_ok());
    }
}
