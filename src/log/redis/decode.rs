//! Replies of the scripts, as types. Whatever has another shape is an error, never a guess.

use fred::types::Value;
use hubbub_protocol::{Count, Seq};

use crate::backend::{Appended, BackendError, LogEntry, Receipt, Snapshot, Tally};
use crate::ring::Marker;

fn malformed() -> BackendError {
    BackendError("a reply of a script has not the shape it must have".to_owned())
}

fn number(value: &Value) -> Option<Seq> {
    value.as_str()?.parse().ok()
}

/// The reply of append.lua to a batch of this length.
pub(super) fn receipt(places: &[Value], length: usize) -> Result<Receipt, BackendError> {
    if places.is_empty() {
        return Ok(Receipt::Fenced);
    }
    let all: Option<Vec<_>> = places.iter().map(appended).collect();
    all.filter(|all| all.len() == length).map(Receipt::Placed).ok_or_else(malformed)
}

fn appended(place: &Value) -> Option<Appended> {
    let place = place.as_str()?;
    let first = place.strip_prefix('-');
    Some(Appended { seq: first.unwrap_or(&place).parse().ok()?, duplicate: first.is_some() })
}

/// The reply of sync.lua.
pub(super) fn snapshot(reply: Value) -> Result<Snapshot, BackendError> {
    try_snapshot(reply).ok_or_else(malformed)
}

fn try_snapshot(reply: Value) -> Option<Snapshot> {
    let mut parts = reply.into_array().into_iter();
    let (base, seq) = (number(&parts.next()?)?, number(&parts.next()?)?);
    let markers = parts.next()?.as_str()?.split_terminator(' ').map(marker).collect::<Option<_>>()?;
    // what somebody else has written into the stream has no place in the log
    let entries = parts.next()?.into_array().into_iter().filter_map(entry).collect();
    Some(Snapshot { base, seq, markers, entries })
}

/// A marker as the meta hash has it.
fn marker(text: &str) -> Option<Marker> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    let (cut, base, low) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Marker { base, cut, low })
}

/// Whether the reply of sync.lua cannot name the server process.
pub(super) fn is_anonymous(reply: &Value) -> bool {
    let Value::Array(parts) = reply else { return false };
    parts.last().and_then(Value::as_str).is_some_and(|process| process == "-")
}

/// An entry as XRANGE gives it: its id, then its fields and values in turn.
fn entry(entry: Value) -> Option<LogEntry> {
    let mut parts = entry.into_array().into_iter();
    let seq = parts.next()?.as_str()?.strip_suffix("-0")?.parse().ok()?;
    let mut fields = parts.next()?.into_array().into_iter();
    let (mut record, mut was, mut cut, mut low) = (None, 0, None, None);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_str()?.as_ref() {
            "m" => record = Some(value.into_bytes()?),
            "w" => was = number(&value)?,
            "cut" => cut = Some(number(&value)?),
            "low" => low = Some(number(&value)?),
            // of a later release
            _ => (),
        }
    }
    match (record, cut, low) {
        (None, Some(cut), Some(low)) => Some(LogEntry::Marker(Marker { base: seq, cut, low })),
        // without a record it takes its place all the same
        (record, ..) => Some(LogEntry::Message { seq, was, record: record.unwrap_or_default() }),
    }
}

/// The reply of census.lua.
pub(super) fn tally(reply: &[u64]) -> Result<Tally, BackendError> {
    match *reply {
        [version, connections, instances, settling] => {
            Ok(Tally { version, count: Count { connections, instances, settling: settling != 0 } })
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    fn list(values: Vec<Value>) -> Value {
        Value::Array(values)
    }

    #[test]
    fn a_receipt_tells_new_places_from_old_ones() {
        assert_eq!(receipt(&[], 2).unwrap(), Receipt::Fenced);
        let placed = receipt(&[text("1764000000000001"), text("-1764000000000000")], 2).unwrap();
        let expected = [
            Appended { seq: 1_764_000_000_000_001, duplicate: false },
            Appended { seq: 1_764_000_000_000_000, duplicate: true },
        ];
        assert_eq!(placed, Receipt::Placed(expected.to_vec()));
        assert!(receipt(&[text("1")], 2).is_err());
        assert!(receipt(&[text("x")], 1).is_err());
    }

    #[test]
    fn a_snapshot_reads_messages_and_markers() {
        let marker = list(vec![text("100-0"), list(vec![text("cut"), text("12"), text("low"), text("5")])]);
        let message = list(vec![text("101-0"), list(vec![text("m"), text("{}"), text("w"), text("7")])]);
        let reply = list(vec![text("100"), text("101"), text("3:9:4 12:100:5 "), list(vec![marker, message])]);
        let read = snapshot(reply).unwrap();
        assert_eq!((read.base, read.seq), (100, 101));
        let (first, open) = (Marker { base: 9, cut: 3, low: 4 }, Marker { base: 100, cut: 12, low: 5 });
        assert_eq!(read.markers, [first, open]);
        assert!(matches!(read.entries[0], LogEntry::Marker(Marker { base: 100, cut: 12, low: 5 })));
        assert!(matches!(&read.entries[1], LogEntry::Message { seq: 101, was: 7, record } if record == "{}"));
        assert!(snapshot(list(vec![text("1")])).is_err());
    }
}
