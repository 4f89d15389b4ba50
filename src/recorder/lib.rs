//! Moves events of the log into the database, in order, each once.
