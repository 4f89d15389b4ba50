//! How often sign-ins may fail, accounts may be made and mails be asked for.
//!
//! Nobody can lock others out: there is no limit for an account alone. Failures count by account *and* address, and by
//! address. A browser that has signed in before has limits of its own, which nobody else can use up.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use hubbub_lifecycle::{Buckets, Rate};

use crate::account::Login;

/// Names a browser that has signed in before.
pub(crate) type Browser = [u8; 16];

/// Whose turn a password takes in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// That of an address: an IPv4 address or an IPv6 /64.
    Address(IpAddr),
    /// That of a browser.
    Browser(Browser),
}

/// Failures of one account from one address, or of one browser.
const OF_ACCOUNT: Rate = Rate { per_second: 1.0 / 30.0, burst: 10.0 };

/// The limits.
#[derive(Debug)]
pub(crate) struct SignInLimits {
    accounts: Buckets<(Login, IpAddr)>,
    addresses: Buckets<IpAddr>,
    browsers: Buckets<Browser>,
    registrations: Buckets<IpAddr>,
    mails: Buckets<IpAddr>,
}

impl SignInLimits {
    /// Limits by the failures that one address may have each second, on average.
    pub(crate) fn new(per_second: f64) -> Self {
        let rate = |share: f64, burst: f64| {
            Buckets::new(Rate { per_second: per_second * share, burst: (burst * per_second).max(1.0) })
        };
        Self {
            accounts: Buckets::new(OF_ACCOUNT),
            addresses: rate(1.0, 60.0),
            browsers: Buckets::new(OF_ACCOUNT),
            registrations: rate(1.0 / 6.0, 20.0),
            mails: rate(1.0 / 12.0, 10.0),
        }
    }

    /// Takes the right to try a password. [`SignInLimits::succeeded`] gives it back.
    ///
    /// # Errors
    ///
    /// The time until the next try.
    pub(crate) fn try_password(&self, login: Option<&Login>, lane: Lane, address: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        match lane {
            Lane::Browser(browser) => self.browsers.take(&browser, now),
            Lane::Address(_) => {
                if let Some(login) = login {
                    self.accounts.take(&(login.clone(), address), now)?;
                }
                self.addresses.take(&address, now)
            }
        }
    }

    /// The password was right: the try does not count.
    pub(crate) fn succeeded(&self, login: &Login, lane: Lane, address: IpAddr) {
        let now = Instant::now();
        match lane {
            Lane::Browser(browser) => self.browsers.give_back(&browser, now),
            Lane::Address(_) => {
                self.accounts.give_back(&(login.clone(), address), now);
                self.addresses.give_back(&address, now);
            }
        }
    }

    /// Takes the right to make an account.
    ///
    /// # Errors
    ///
    /// The time until the next try.
    pub(crate) fn try_registration(&self, address: IpAddr) -> Result<(), Duration> {
        self.registrations.take(&address, Instant::now())
    }

    /// Takes the right to ask for a mail.
    ///
    /// # Errors
    ///
    /// The time until the next try.
    pub(crate) fn try_mail(&self, address: IpAddr) -> Result<(), Duration> {
        self.mails.take(&address, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn failures_count_by_account_and_address_and_lock_nobody_else_out() {
        let limits = SignInLimits::new(1.0);
        let [ann, ben] = ["ann", "ben"].map(|name| Login::read(name).unwrap());
        let at = |login: &Login, address| limits.try_password(Some(login), Lane::Address(address), address);
        assert_eq!((0..20).filter(|_| at(&ann, HERE).is_ok()).count(), 10);
        assert!(at(&ann, THERE).is_ok() && at(&ben, HERE).is_ok());
        assert!(limits.try_password(Some(&ann), Lane::Browser([1; 16]), HERE).is_ok());
    }

    #[test]
    fn an_address_that_tries_many_names_is_held_back_and_known_browsers_are_not() {
        let limits = SignInLimits::new(1.0);
        let name = |n: u32| Login::read(&format!("name-{n}"));
        let tries = (0..100).filter(|n| limits.try_password(name(*n).as_ref(), Lane::Address(HERE), HERE).is_ok());
        assert_eq!(tries.count(), 60);
        assert!(limits.try_password(None, Lane::Address(HERE), HERE).is_err());
        assert!(limits.try_password(name(1).as_ref(), Lane::Browser([1; 16]), HERE).is_ok());
        assert!(limits.try_password(name(1).as_ref(), Lane::Address(THERE), THERE).is_ok());
    }

    #[test]
    fn a_right_password_does_not_count() {
        let limits = SignInLimits::new(1.0);
        let ann = Login::read("ann").unwrap();
        for lane in [Lane::Address(HERE), Lane::Browser([1; 16])] {
            for _ in 0..100 {
                assert!(limits.try_password(Some(&ann), lane, HERE).is_ok());
                limits.succeeded(&ann, lane, HERE);
            }
        }
    }
}
