-- The log in one SQLite file. Format 2; `PRAGMA application_id` says that the file is a Playhead log.

-- What is known about the file as a whole: log_id, format, created_at; history, once an older copy was put in its place;
-- aside, while this is a copy that was kept (backup or archive) and that nobody has opened as a log.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Streams and actors by number, so that no row of `appends` repeats a name.
CREATE TABLE names (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- One row for each append, whose events are a batch of records in `body`. Event i of n has position `position - n + 1 + i`
-- and version `version - n + 1 + i`. AUTOINCREMENT, because a rowid is otherwise given again after its row was deleted.
CREATE TABLE appends (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,  -- of its last event
    stream      INTEGER NOT NULL,                   -- names.id
    version     INTEGER NOT NULL,                   -- of its last event
    count       INTEGER NOT NULL,                   -- of its events
    recorded_at INTEGER NOT NULL,                   -- microseconds since 1970-01-01 UTC
    actor       INTEGER NOT NULL,                   -- names.id
    epoch       INTEGER,                            -- the journal that a runner's events come from
    first_seq   INTEGER,                            -- the first event's record in that journal
    append_id   NOT NULL,                           -- text; 32 hexadecimal digits are kept as their 16 bytes
    body        BLOB NOT NULL,                      -- JSON: [[type, schema, data], ...]
    link        BLOB                                -- of the hash chain; NULL in what was appended in format 1
);

-- A stream is read in order, and its head is found, by this one.
CREATE UNIQUE INDEX appends_by_version ON appends (stream, version);

-- An append that comes again is found by this one.
CREATE UNIQUE INDEX appends_by_id ON appends (stream, append_id);

-- Positions whose events were removed, as ranges that do not touch. A reader that stood there goes on behind them.
CREATE TABLE forgotten (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL,
    link  BLOB                                      -- of the append that ended there: the chain goes on from it
);

-- The newest version of a stream that was removed: versions are counted on from there, even if nothing stands behind it.
CREATE TABLE floors (
    stream  INTEGER PRIMARY KEY,                    -- names.id
    version INTEGER NOT NULL
);
