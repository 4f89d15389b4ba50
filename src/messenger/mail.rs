//! Mails with links.

use std::{fmt, sync::Arc};

use crate::{account::MailAddress, account_store::MailPurpose, secret_token::SecretToken};

/// A mail. `Debug` does not show its text, which may have a secret.
pub struct Mail {
    /// To whom.
    pub to: MailAddress,
    /// Its subject.
    pub subject: &'static str,
    /// Its text.
    pub text: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Sends mails.
pub trait Post: fmt::Debug + Send + Sync + 'static {
    /// Takes a mail. Never blocks: it is sent later, or dropped with a warning if too many wait.
    fn send(&self, mail: Mail);
}

/// How mails are sent, and where their links lead.
#[derive(Clone, Debug)]
pub struct MailOptions {
    /// Sends them.
    pub post: Arc<dyn Post>,
    /// The URL of the page, up to the `#` of its fragment.
    pub page: String,
}

impl Mail {
    /// A mail with a link that has this secret.
    pub(crate) fn with_link(
        purpose: MailPurpose,
        to: MailAddress,
        username: &str,
        page: &str,
        token: &SecretToken,
    ) -> Self {
        let link = format!("{page}#{}={}", purpose.name(), token.reveal());
        let (subject, why, life) = match purpose {
            MailPurpose::Reset => ("Set another password", "sets another password for", "30 minutes"),
            MailPurpose::Verify => ("Confirm your mail address", "confirms this mail address for", "24 hours"),
        };
        let text = format!(
            "Hello,\n\nthis link {why} the account @{username}:\n\n{link}\n\nIt can be used once, within {life}. If you \
             did not ask for it, you need not do anything.\n"
        );
        Self { to, subject, text }
    }
}
