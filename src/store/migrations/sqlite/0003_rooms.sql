-- Rooms with members: direct rooms, and groups with their channels. Who is in them, and who knows whom.

-- Each change of a person's seats has a number by this clock.
CREATE VIEW fine_clock AS SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 AS micros;

-- What a room is, beside its history. A public room has a row once something was said in it.
ALTER TABLE rooms ADD COLUMN group_id TEXT;
ALTER TABLE rooms ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE rooms ADD COLUMN topic TEXT NOT NULL DEFAULT '';
-- 'open' or 'private'.
ALTER TABLE rooms ADD COLUMN visibility TEXT NOT NULL DEFAULT 'open';
-- Who may post: 'members' or 'admins'.
ALTER TABLE rooms ADD COLUMN posting TEXT NOT NULL DEFAULT 'members';
ALTER TABLE rooms ADD COLUMN archived_at INTEGER;
-- Grows with each change of what is above, and of its members.
ALTER TABLE rooms ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
-- Whether a public room is shown to people who look for one.
ALTER TABLE rooms ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
-- The two members of a direct room, the lower id first.
ALTER TABLE rooms ADD COLUMN direct_key TEXT;
-- Whether one of the two has blocked the other.
ALTER TABLE rooms ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;

CREATE UNIQUE INDEX rooms_direct ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE UNIQUE INDEX rooms_group ON rooms (group_id, name) WHERE group_id IS NOT NULL;
CREATE INDEX rooms_listed ON rooms (id) WHERE listed = 1;

CREATE TABLE groups (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    -- 'open' or 'private'.
    visibility TEXT NOT NULL,
    -- The channel that takes in every member.
    general TEXT NOT NULL,
    archived_at INTEGER,
    -- Grows with each change of the group, its channels and their members. Whoever changes them locks the row by it.
    rev INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX groups_open ON groups (id) WHERE visibility = 'open';

CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- 'owner', 'admin' or 'member'.
    role TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_user ON group_members (user_id, group_id);
CREATE INDEX group_members_rank ON group_members (group_id, role) WHERE role <> 'member';

CREATE TABLE group_bans (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    banned_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;

-- Links into a group. The token of a link is in its address only; here is its SHA-256, in base64url.
CREATE TABLE group_invites (
    id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    -- None: as many as there are.
    uses_left INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX group_invites_group ON group_invites (group_id, id);

-- Who is in a direct room or a channel. Who hears a room is read from this table alone.
CREATE TABLE room_members (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- 'admin' or 'member'.
    role TEXT NOT NULL DEFAULT 'member',
    joined_at INTEGER NOT NULL,
    -- 'all', 'mentions' or 'none'.
    notify TEXT NOT NULL DEFAULT 'all',
    muted_until INTEGER,
    pinned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_members_user ON room_members (user_id, room_id);

-- What one person says of another one. Two rows 'accepted' make a contact.
CREATE TABLE contacts (
    user_id TEXT NOT NULL,
    other_id TEXT NOT NULL,
    -- 'asked', 'accepted' or 'blocked'.
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, other_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX contacts_other ON contacts (other_id, user_id);

-- People are found by the beginning of their names.
CREATE INDEX accounts_name ON accounts (lower(name));
