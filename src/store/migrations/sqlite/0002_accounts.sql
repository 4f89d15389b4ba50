-- People with an account, and the events that tell of changes.

-- A row stays for ever, so that nobody gets the username of a deleted account.
CREATE TABLE accounts (
    id TEXT NOT NULL PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    -- The mail address, once it is verified.
    email TEXT UNIQUE,
    -- A hash in the PHC format. None: nobody can sign in with a password.
    password TEXT,
    administrator INTEGER NOT NULL DEFAULT 0,
    -- 'active', 'disabled' or 'deleted'.
    state TEXT NOT NULL DEFAULT 'active',
    -- Grows with each change of the rooms that the person is in.
    rev INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events that stand for changes of the same transaction, and have not been met in the log yet.
CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    room_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- The record of the event, as it stands in the log.
    record TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who is signed in, and where.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- Names the session in its refresh tokens, and nowhere else.
    handle TEXT NOT NULL UNIQUE,
    -- SHA-256 of the refresh token, and of the one before.
    token TEXT NOT NULL,
    former_token TEXT,
    rotated_at INTEGER NOT NULL,
    user_agent TEXT NOT NULL,
    address TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_account ON sessions (account_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_unused ON sessions (used_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Secrets that all instances share: keys of access tokens, and one from which others are derived.
CREATE TABLE secrets (
    id TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- SHA-256 of tokens that were mailed.
CREATE TABLE mail_tokens (
    token TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- 'reset' or 'verify'
    purpose TEXT NOT NULL,
    address TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_tokens_of_account ON mail_tokens (account_id, created_at);

-- Invitations to the server, by the SHA-256 of their tokens.
CREATE TABLE server_invites (
    token TEXT NOT NULL PRIMARY KEY,
    uses_left INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Personal access tokens of programs.
CREATE TABLE personal_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    may_write INTEGER NOT NULL,
    token TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX personal_tokens_of_account ON personal_tokens (account_id) WHERE revoked_at IS NULL;
CREATE INDEX personal_tokens_revoked ON personal_tokens (revoked_at) WHERE revoked_at IS NOT NULL;
