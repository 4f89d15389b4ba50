-- Messages that the service wrote: what has changed in a room.

-- 'message', or the kind of the event.
ALTER TABLE messages ADD COLUMN kind TEXT NOT NULL DEFAULT 'message';
-- What an event says, in JSON.
ALTER TABLE messages ADD COLUMN fields TEXT;

-- A dead letter is looked for before it is written.
CREATE INDEX dead_letters_seq ON dead_letters (seq);
CREATE INDEX outbox_age ON outbox (created_at);
