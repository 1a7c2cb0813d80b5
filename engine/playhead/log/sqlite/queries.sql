-- name: find_name
SELECT id FROM names WHERE name = ?;

-- name: insert_name
INSERT INTO names (name) VALUES (?);

-- name: find_append
SELECT position, version, count, epoch, first_seq, body FROM appends WHERE stream = ? AND append_id = ?;

-- name: stream_version
SELECT version FROM appends WHERE stream = ? ORDER BY version DESC LIMIT 1;

-- The sequence and not the greatest position, so that a position is never given twice, whatever was deleted.
-- name: head
SELECT seq FROM sqlite_sequence WHERE name = 'appends';

-- name: insert_append
INSERT INTO appends (position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- The cross join keeps the order of the tables: `appends` by its key first, then each name by its number.
-- name: read_all
SELECT a.position, s.name, a.version, a.count, a.recorded_at, w.name, a.epoch, a.first_seq, a.append_id, a.body
FROM appends a CROSS JOIN names s CROSS JOIN names w
WHERE a.position > ? AND s.id = a.stream AND w.id = a.actor
ORDER BY a.position LIMIT ?;

-- name: read_stream
SELECT a.position, s.name, a.version, a.count, a.recorded_at, w.name, a.epoch, a.first_seq, a.append_id, a.body
FROM names s CROSS JOIN appends a CROSS JOIN names w
WHERE s.name = ? AND a.stream = s.id AND a.version > ? AND w.id = a.actor
ORDER BY a.version LIMIT ?;

-- name: insert_meta
INSERT INTO meta (key, value) VALUES (?, ?);

-- name: set_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: read_meta
SELECT value FROM meta WHERE key = ?;
