//! The first place of an event: the lowest `seq` at which anybody may have seen it. Pure: no clock, no I/O.
//!
//! An event that the log has lost gets a new `seq` when it is appended again. History keeps it where it was seen first, so
//! whoever appends it again writes that place into its record, unless the record has one already. [`ContentHash`] leaves the
//! field out, so the event stays the same.
//!
//! [`ContentHash`]: crate::ContentHash

use bytes::Bytes;
use hubbub_protocol::Seq;
use serde::Deserialize;

/// The field of the record.
pub(crate) const FIELD: &str = "first";

#[derive(Deserialize)]
struct Outline {
    first: Option<Seq>,
}

/// The first place of an event with this record, its former `seq` (or 0), and its `seq`.
pub(crate) fn first_place(record: &str, was: Seq, seq: Seq) -> Seq {
    let seen = if was == 0 { seq } else { was };
    written(record).unwrap_or(seen)
}

fn written(record: &str) -> Option<Seq> {
    // most records have no such word, and need not be parsed
    record.contains(FIELD).then(|| serde_json::from_str::<Outline>(record).ok()?.first)?
}

/// The record with its first place in it.
pub(crate) fn with_first_place(record: Bytes, was: Seq, seq: Seq) -> Bytes {
    let Ok(text) = std::str::from_utf8(&record) else { return record };
    match text.strip_suffix('}') {
        Some(open) if !open.ends_with('{') && written(text).is_none() => {
            format!(r#"{open},"{FIELD}":{}}}"#, first_place(text, was, seq)).into()
        }
        _ => record,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"room":"a","body":"\"first\":1}"}"#;

    #[test]
    fn the_first_place_is_the_one_in_the_record_or_else_the_former_or_else_the_present_seq() {
        let lost_before = r#"{"room":"a","first":100}"#;
        for (record, was, seq, place) in
            [(RECORD, 0, 300, 300), (RECORD, 200, 300, 200), (lost_before, 200, 300, 100), (lost_before, 0, 300, 100)]
        {
            assert_eq!(first_place(record, was, seq), place, "{record} {was} {seq}");
        }
        for unreadable in ["", "first", r#"{"first":"x"}"#, r#"{"first":-1}"#] {
            assert_eq!(first_place(unreadable, 0, 300), 300, "{unreadable}");
        }
    }

    #[test]
    fn an_event_that_is_lost_several_times_keeps_the_place_of_the_first_time() {
        let once = with_first_place(RECORD.into(), 0, 100);
        assert_eq!(once, r#"{"room":"a","body":"\"first\":1}","first":100}"#);
        let twice = with_first_place(once.clone(), 100, 200);
        assert_eq!(twice, once);
        assert_eq!(with_first_place(RECORD.into(), 100, 200), once, "an instance of the release before wrote none");
    }

    #[test]
    fn a_record_that_is_no_object_with_fields_stays_as_it_is() {
        for record in ["", "{}", "[1]", "{\"a\":1} "] {
            assert_eq!(with_first_place(record.into(), 0, 100), record);
        }
    }
}
