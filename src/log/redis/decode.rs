//! The replies of the scripts as types. A reply of another shape is an error.

use bytes::Bytes;
use fred::types::Value;
use hubbub_protocol::{Count, Seq};

use crate::backend::{AppendOutcome, BackendError, Lease, LogEntry, Placement, Snapshot, VersionedCount};
use crate::{kind::Kind, marker::Marker};

fn malformed() -> BackendError {
    BackendError("Redis gave an unexpected reply to a script".to_owned())
}

fn number(value: &Value) -> Option<Seq> {
    value.as_str()?.parse().ok()
}

/// The reply of append.lua to a batch of this length.
pub(super) fn append_outcome(places: &[Value], length: usize) -> Result<AppendOutcome, BackendError> {
    if places.is_empty() {
        return Ok(AppendOutcome::Fenced);
    }
    if places.iter().any(|place| place.as_str().as_deref() == Some("full")) {
        return Ok(AppendOutcome::Full);
    }
    let all: Option<Vec<_>> = places.iter().map(placement).collect();
    all.filter(|all| all.len() == length).map(AppendOutcome::Placed).ok_or_else(malformed)
}

fn placement(place: &Value) -> Option<Placement> {
    let place = place.as_str()?;
    let outcome = |mark: char, outcome: fn(Seq) -> Placement| Some(outcome(place.strip_prefix(mark)?.parse().ok()?));
    let duplicate = outcome('-', Placement::Duplicate);
    duplicate.or_else(|| outcome('!', Placement::IdReused)).or_else(|| Some(Placement::Appended(place.parse().ok()?)))
}

/// The reply of sync.lua.
pub(super) fn snapshot(reply: Value) -> Result<Snapshot, BackendError> {
    try_snapshot(reply).ok_or_else(malformed)
}

fn try_snapshot(reply: Value) -> Option<Snapshot> {
    let mut parts = reply.into_array().into_iter();
    let (base, seq) = (number(&parts.next()?)?, number(&parts.next()?)?);
    let markers = parts.next()?.as_str()?.split_terminator(' ').map(marker).collect::<Option<_>>()?;
    // an entry of another program in the stream is skipped
    let entries = parts.next()?.into_array().into_iter().filter_map(entry).collect();
    Some(Snapshot { base, seq, markers, entries })
}

/// A marker as the meta hash has it: `cut:base:low`.
fn marker(text: &str) -> Option<Marker> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    let (cut, base, low) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Marker { base, cut, low })
}

/// The reply of lease.lua.
pub(super) fn lease(reply: Value) -> Result<Lease, BackendError> {
    let lease = try_lease(reply).ok_or_else(malformed)?;
    if lease.log_id.is_empty() {
        return Err(BackendError("no epoch of the log has opened yet".to_owned()));
    }
    Ok(lease)
}

fn try_lease(reply: Value) -> Option<Lease> {
    let mut parts = reply.into_array().into_iter();
    let (mine, log_id) = (parts.next()?.as_u64()?, parts.next()?);
    let (recorded, base) = (number(&parts.next()?)?, number(&parts.next()?)?);
    Some(Lease { is_held: mine == 1, log_id: (&*log_id.as_str()?).into(), recorded, base })
}

/// The server process, as sync.lua tells it; "-" if it could not find out.
pub(super) fn process(reply: &Value) -> String {
    let Value::Array(parts) = reply else { return String::new() };
    parts.last().and_then(Value::as_string).unwrap_or_default()
}

/// An entry as XRANGE returns it: its id, then its fields and values in turn.
fn entry(entry: Value) -> Option<LogEntry> {
    let mut parts = entry.into_array().into_iter();
    let seq = parts.next()?.as_str()?.strip_suffix("-0")?.parse().ok()?;
    let mut fields = parts.next()?.into_array().into_iter();
    let (mut record, mut was, mut cut, mut low, mut kind) = (None, 0, None, None, Some(Kind::Message));
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_str()?.as_ref() {
            "m" | "e" => record = Some(value.into_bytes()?),
            "k" => kind = Kind::named(&value.as_str()?),
            "w" => was = number(&value)?,
            "cut" => cut = Some(number(&value)?),
            "low" => low = Some(number(&value)?),
            // a field of a later release
            _ => (),
        }
    }
    match (record, cut, low, kind) {
        (None, Some(cut), Some(low), _) => Some(LogEntry::Marker(Marker { base: seq, cut, low })),
        (Some(record), _, _, Some(kind)) => Some(LogEntry::of_kind(kind, seq, was, record)),
        // one without a record or a kind keeps its seq
        _ => Some(LogEntry::Message { seq, was, record: Bytes::new() }),
    }
}

/// The reply of census.lua.
pub(super) fn versioned_count(reply: &[u64]) -> Result<VersionedCount, BackendError> {
    match *reply {
        [version, connections, instances, settling] => {
            Ok(VersionedCount { version, count: Count { connections, instances, settling: settling != 0 } })
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
    fn the_outcome_of_an_append_distinguishes_new_messages_duplicates_and_refusals() {
        assert_eq!(append_outcome(&[], 2).unwrap(), AppendOutcome::Fenced);
        assert_eq!(append_outcome(&[text("full")], 1).unwrap(), AppendOutcome::Full);
        let places = ["1764000000000001", "-1764000000000000", "!1763000000000000"].map(text);
        let placed = append_outcome(&places, 3).unwrap();
        let expected = [
            Placement::Appended(1_764_000_000_000_001),
            Placement::Duplicate(1_764_000_000_000_000),
            Placement::IdReused(1_763_000_000_000_000),
        ];
        assert_eq!(placed, AppendOutcome::Placed(expected.to_vec()));
        assert!(append_outcome(&[text("1")], 2).is_err());
        for malformed in ["x", "", "-", "!", "-!7", "7!"] {
            assert!(append_outcome(&[text(malformed)], 1).is_err(), "{malformed}");
        }
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
