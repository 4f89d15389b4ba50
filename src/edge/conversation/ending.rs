//! Says why a connection ended: as a metric, and as a log line.

use std::{net::IpAddr, time::Duration};

use hubbub_lifecycle::metric;
use hubbub_protocol::{ConnectionId, UserId};
use tracing::debug;

use crate::socket::{Ending, Socket};

/// Counts an ending by code and reason. A peer may send any code: codes sent by the peer are counted by thousands, to
/// bound the labels.
pub(super) fn count(ending: Ending) {
    let code = match ending {
        Ending::Ours(reason) => reason.code().to_string(),
        Ending::Theirs(Some(code @ 1000..=1015)) => code.to_string(),
        Ending::Theirs(Some(code)) => format!("{}xxx", code / 1000),
        Ending::Theirs(None) => "1005".to_owned(),
        Ending::Lost => "1006".to_owned(),
    };
    metrics::counter!(metric::CLOSES, "code" => code, "reason" => reason(ending)).increment(1);
}

/// Logs what there is to say about a connection that has ended. `who` is None if it was not admitted.
pub(super) fn explain(
    ending: Ending,
    socket: &Socket,
    who: Option<(ConnectionId, UserId)>,
    address: IpAddr,
    lasted: Duration,
) {
    let (connection, person) = who.unzip();
    debug!(
        connection = connection.map(ConnectionId::number),
        user.id = person.as_ref().map(UserId::as_str),
        net.address = %address,
        seconds = lasted.as_secs_f64(),
        frames_in = socket.frames_in(),
        frames_out = socket.link().frames_out(),
        reason = reason(ending),
        "a connection ended"
    );
}

const fn reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Ours(reason) => reason.name(),
        Ending::Theirs(_) => "closed_by_client",
        Ending::Lost => "lost",
    }
}
