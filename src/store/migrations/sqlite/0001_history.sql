-- The history of rooms. Places, bases and times are integers: the `seq` of the log, and milliseconds since 1970.
-- A release reads the schema of the release after it: add tables and columns with defaults, rename and remove nothing.

PRAGMA application_id = 1215652450; -- "Hubb"

-- The lowest schema version whose release can use this database. A migration that an older release cannot bear raises it.
CREATE TABLE compatibility (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    oldest INTEGER NOT NULL
) STRICT;
INSERT INTO compatibility (id, oldest) VALUES (1, 1);

-- The clock of the database, the same for all instances.
CREATE VIEW clock AS SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS millis;

-- Which log is recorded, and how far. At most one row.
CREATE TABLE recorder (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    log_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    base INTEGER NOT NULL,
    touched INTEGER NOT NULL
) STRICT;

CREATE TABLE rooms (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    last_seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `seq` is the place of a message: the first one at which anybody may have seen it.
CREATE TABLE messages (
    seq INTEGER NOT NULL,
    room_id TEXT NOT NULL,
    sender_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_identity ON messages (room_id, sender_id, client_id);
CREATE INDEX messages_place ON messages (room_id, seq);
CREATE INDEX messages_age ON messages (at);

-- What could not be recorded.
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    record BLOB NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Parts of the log that were lost before they were recorded.
CREATE TABLE gaps (
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (first_seq, last_seq)
) STRICT, WITHOUT ROWID;
