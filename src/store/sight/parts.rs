//! Parts of lists.

use hubbub_messenger::sight::{Listing, Span};

/// One more than is wanted tells whether there are more.
pub(super) fn limit(span: &Span) -> i64 {
    i64::try_from(span.limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// The items of a part, and where the next one begins.
pub(super) fn listing<T>(mut items: Vec<T>, span: &Span, key: impl Fn(&T) -> String) -> Listing<T> {
    let has_more = items.len() > span.limit;
    items.truncate(span.limit);
    Listing { next: items.last().filter(|_| has_more).map(key), items }
}
