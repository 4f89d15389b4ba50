-- The history of rooms. Places, bases and times are integers: the `seq` of the log, and milliseconds since 1970.
-- A release reads the schema of the release after it: add tables and columns with defaults, rename and remove nothing.
-- Ids are compared byte by byte (COLLATE "C"), so that their indexes do not depend on the system's locales.

-- The lowest schema version whose release can use this database. A migration that an older release cannot bear raises it.
CREATE TABLE compatibility (
    id SMALLINT PRIMARY KEY CHECK (id = 1),
    oldest BIGINT NOT NULL
);
INSERT INTO compatibility (id, oldest) VALUES (1, 1);

-- The clock of the database, the same for all instances.
CREATE VIEW clock AS SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS millis;

-- Which log is recorded, and how far. At most one row.
CREATE TABLE recorder (
    id SMALLINT PRIMARY KEY CHECK (id = 1),
    log_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    base BIGINT NOT NULL,
    touched BIGINT NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE rooms (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT NOT NULL,
    last_seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITH (fillfactor = 70);

-- `seq` is the place of a message: the first one at which anybody may have seen it.
CREATE TABLE messages (
    seq BIGINT NOT NULL,
    room_id TEXT COLLATE "C" NOT NULL,
    sender_id TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    sender_name TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX messages_identity ON messages (room_id, sender_id, client_id);
CREATE INDEX messages_place ON messages (room_id, seq);
CREATE INDEX messages_age ON messages (at);

-- What could not be recorded.
CREATE TABLE dead_letters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    record BYTEA NOT NULL,
    error TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- Parts of the log that were lost before they were recorded.
CREATE TABLE gaps (
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (first_seq, last_seq)
);
