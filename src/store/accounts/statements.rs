//! The statements of accounts and sessions, for both engines.

use crate::account_rows::select_account;

pub(super) const COUNT: &str = "SELECT count(*) FROM (SELECT 1 AS one FROM accounts LIMIT 1) AS found";
/// Two first accounts at the same moment: the second one waits here, and then finds the first one.
pub(super) const LOCK: &str = "UPDATE compatibility SET oldest = oldest WHERE id = 1";
pub(super) const USE_INVITE: &str = "UPDATE server_invites SET uses_left = uses_left - 1 \
     WHERE token = $1 AND uses_left > 0 AND expires_at > (SELECT millis FROM clock)";
pub(super) const MAKE: &str = "INSERT INTO accounts (id, username, name, password, administrator, created_at) \
     VALUES ($1, $2, $3, $4, $5, (SELECT millis FROM clock)) ON CONFLICT (username) DO NOTHING";
pub(super) const BY_ID: &str = select_account!(", a.password", "accounts AS a WHERE a.id = $1");
pub(super) const BY_USERNAME: &str = select_account!(", a.password", "accounts AS a WHERE a.username = $1");
pub(super) const BY_EMAIL: &str = select_account!(", a.password", "accounts AS a WHERE a.email = $1");
pub(super) const LIST: &str = select_account!("", "accounts AS a WHERE a.username > $1 ORDER BY a.username LIMIT $2");
/// Whoever changes an account waits here for whoever signs in to it, and the other way round.
pub(super) const PROVE: &str = "UPDATE accounts SET password = $3 WHERE id = $1 AND state = 'active' AND password = $2";
pub(super) const OPEN: &str = "INSERT INTO sessions (id, account_id, handle, token, rotated_at, user_agent, address, created_at, used_at) \
     VALUES ($1, $2, $3, $4, (SELECT millis FROM clock), $5, $6, (SELECT millis FROM clock), (SELECT millis FROM clock))";
/// The sessions of an account beyond so many end, those that were not used for longest first.
pub(super) const END_SURPLUS: &str = "UPDATE sessions SET ended_at = (SELECT millis FROM clock) \
     WHERE account_id = $1 AND ended_at IS NULL AND id IN (SELECT id FROM sessions \
       WHERE account_id = $1 AND ended_at IS NULL ORDER BY used_at DESC, id LIMIT 1000 OFFSET $2)";
pub(super) const REFRESHABLE: &str = select_account!(
    ", s.id, s.token, s.former_token, clock.millis - s.rotated_at, \
     CAST(CASE WHEN s.ended_at IS NULL AND s.used_at > clock.millis - $2 THEN 0 ELSE 1 END AS BIGINT)",
    "sessions AS s JOIN accounts AS a ON a.id = s.account_id CROSS JOIN clock WHERE s.handle = $1"
);
pub(super) const ROTATE: &str = "UPDATE sessions SET former_token = token, token = $3, rotated_at = (SELECT millis FROM clock), \
     used_at = (SELECT millis FROM clock) WHERE id = $1 AND token = $2 AND ended_at IS NULL";
pub(super) const STANDING: &str = select_account!(
    ", clock.millis - s.used_at",
    "sessions AS s JOIN accounts AS a ON a.id = s.account_id CROSS JOIN clock \
     WHERE s.id = $1 AND s.ended_at IS NULL AND s.used_at > clock.millis - $2 AND a.state = 'active'"
);
pub(super) const TOUCH: &str = "UPDATE sessions SET used_at = (SELECT millis FROM clock) \
     WHERE id = $1 AND ended_at IS NULL AND used_at < (SELECT millis FROM clock) - $2";
pub(super) const SESSIONS: &str = "SELECT id, user_agent, address, created_at, used_at FROM sessions CROSS JOIN clock \
     WHERE account_id = $1 AND ended_at IS NULL AND used_at > millis - $2 ORDER BY used_at DESC, id";
pub(super) const HOLD: &str = "UPDATE accounts SET state = state WHERE id = $1";
pub(super) const SET_PASSWORD: &str = "UPDATE accounts SET password = $2 WHERE id = $1 AND state <> 'deleted'";
pub(super) const SET_ADMINISTRATOR: &str =
    "UPDATE accounts SET administrator = $2 WHERE id = $1 AND state <> 'deleted'";
/// Programs of an account that is closed have to get other tokens.
pub(super) const REVOKE_ALL: &str = "UPDATE personal_tokens SET revoked_at = (SELECT millis FROM clock) \
     WHERE account_id = $1 AND revoked_at IS NULL";
/// Links that were mailed before the password changed count no more.
pub(super) const SPEND: &str = "UPDATE mail_tokens SET used_at = (SELECT millis FROM clock) \
     WHERE account_id = $1 AND used_at IS NULL";
pub(super) const SET_STATE: &str = "UPDATE accounts SET state = $2 WHERE id = $1 AND state <> 'deleted'";
pub(super) const DELETE: [&str; 5] = [
    "UPDATE accounts SET state = 'deleted', name = 'Deleted account', about = '', email = NULL, password = NULL, \
     administrator = 0 WHERE id = $1",
    "UPDATE sessions SET user_agent = '', address = '' WHERE account_id = $1",
    REVOKE_ALL,
    "UPDATE personal_tokens SET name = '' WHERE account_id = $1",
    "DELETE FROM mail_tokens WHERE account_id = $1",
];
pub(super) const SET_PROFILE: &str = "UPDATE accounts SET name = coalesce($2, name), about = coalesce($3, about), \
     email = CASE WHEN $4 = 1 THEN NULL ELSE email END WHERE id = $1 AND state = 'active'";
pub(super) const ENDED: &str = "SELECT clock.millis, s.id, s.ended_at FROM clock \
     LEFT JOIN (SELECT id, ended_at FROM sessions WHERE ended_at >= $1 \
       UNION ALL SELECT id, revoked_at FROM personal_tokens WHERE revoked_at >= $1) AS s ON s.ended_at > clock.millis - $2";
pub(super) const SWEEP: [&str; 4] = [
    "UPDATE sessions SET ended_at = (SELECT millis FROM clock) \
     WHERE ended_at IS NULL AND used_at <= (SELECT millis FROM clock) - $1",
    "DELETE FROM sessions WHERE ended_at IS NOT NULL AND ended_at <= (SELECT millis FROM clock) - $1",
    "DELETE FROM mail_tokens WHERE created_at <= (SELECT millis FROM clock) - $1",
    "DELETE FROM server_invites WHERE expires_at <= (SELECT millis FROM clock) - $1",
];
