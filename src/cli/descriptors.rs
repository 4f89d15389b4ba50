//! How many connections the limit of open files allows: each needs a descriptor.

/// Descriptors kept for Redis, files and the admin listener, but at most a quarter of the limit.
const RESERVED: usize = 256;
/// Descriptors kept for those and for connections that are not WebSockets (plain HTTP, or waiting for the handshake), but
/// at most half of the limit.
const NOT_WEBSOCKETS: usize = 1280;
/// The limit to assume if it cannot be read from the system.
const ASSUMED_LIMIT: u64 = 1024;

/// The connections that the limit of open files allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Connections to the public listener, of any kind.
    pub(crate) clients: usize,
    /// How many of them may be WebSockets.
    pub(crate) websockets: usize,
}

impl Descriptors {
    /// Raises the limit of this process as far as the system allows, and divides it.
    pub(crate) fn claim() -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|_| rlimit::Resource::NOFILE.get_soft());
        let limit = limit.unwrap_or(ASSUMED_LIMIT);
        Self::divide(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn divide(limit: usize) -> Self {
        Self { clients: limit - RESERVED.min(limit / 4), websockets: limit - NOT_WEBSOCKETS.min(limit / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_leaves_room_for_connections_that_are_not_websockets() {
        assert_eq!(Descriptors::divide(1_048_576), Descriptors { clients: 1_048_320, websockets: 1_047_296 });
        assert_eq!(Descriptors::divide(1024), Descriptors { clients: 768, websockets: 512 });
        for limit in 4..10_000 {
            let Descriptors { clients, websockets } = Descriptors::divide(limit);
            assert!(0 < websockets && websockets < clients && clients < limit, "of {limit}: {websockets} of {clients}");
        }
    }
}
