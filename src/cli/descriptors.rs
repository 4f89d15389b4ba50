//! How many connections the system lets a process have: each needs a descriptor.

/// Descriptors for Redis, files and the admin listener; at most a quarter.
const SPARE: usize = 256;
/// Those and the ones for clients that speak plain HTTP or wait for their handshake; at most half.
const WITHOUT_WEBSOCKET: usize = 1280;
/// What the limit is taken for where the system does not tell.
const USUAL_LIMIT: u64 = 1024;

/// What the limit of descriptors affords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections of clients, whatever they speak.
    pub(crate) clients: usize,
    /// Those of them that may be WebSockets.
    pub(crate) websockets: usize,
}

impl Descriptors {
    /// Raises the limit of this process as far as it goes and shares it out.
    pub(crate) fn claim() -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|_| rlimit::Resource::NOFILE.get_soft());
        let limit = limit.unwrap_or(USUAL_LIMIT);
        Self::share(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn share(limit: usize) -> Self {
        Self { clients: limit - SPARE.min(limit / 4), websockets: limit - WITHOUT_WEBSOCKET.min(limit / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_websockets_there_is_room_for_others_at_any_limit() {
        assert_eq!(Descriptors::share(1_048_576), Descriptors { clients: 1_048_320, websockets: 1_047_296 });
        assert_eq!(Descriptors::share(1024), Descriptors { clients: 768, websockets: 512 });
        for limit in 4..10_000 {
            let Descriptors { clients, websockets } = Descriptors::share(limit);
            assert!(0 < websockets && websockets < clients && clients < limit, "of {limit}: {websockets} of {clients}");
        }
    }
}
