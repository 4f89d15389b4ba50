-- People with an account, and the events that tell of changes.

-- A row stays for ever, so that nobody gets the username of a deleted account.
CREATE TABLE accounts (
    id TEXT COLLATE "C" PRIMARY KEY,
    username TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    -- The mail address, once it is verified.
    email TEXT UNIQUE,
    -- A hash in the PHC format. None: nobody can sign in with a password.
    password TEXT,
    administrator BIGINT NOT NULL DEFAULT 0,
    -- 'active', 'disabled' or 'deleted'.
    state TEXT NOT NULL DEFAULT 'active',
    -- Grows with each change of the rooms that the person is in.
    rev BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);

-- Events that stand for changes of the same transaction, and have not been met in the log yet.
CREATE TABLE outbox (
    id TEXT COLLATE "C" PRIMARY KEY,
    room_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    -- The record of the event, as it stands in the log.
    record TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
