-- name: find_name
SELECT id FROM names WHERE name = ?;

-- name: insert_name
INSERT INTO names (name) VALUES (?);

-- name: find_append
SELECT position, version, count, epoch, first_seq, body FROM appends WHERE stream = ? AND append_id = ?;

-- name: stream_version
SELECT coalesce(
    (SELECT version FROM appends WHERE stream = ?1 ORDER BY version DESC LIMIT 1),
    (SELECT version FROM floors WHERE stream = ?1)
);

-- The sequence and not the greatest position, so that a position is never given twice, whatever was deleted.
-- name: head
SELECT seq FROM sqlite_sequence WHERE name = 'appends';

-- No epoch and no record's number is -1: Python's sqlite3 takes longer to bind None than SQLite takes for the row.
-- name: insert_append
INSERT INTO appends (position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body, link)
VALUES (?, ?, ?, ?, ?, ?, nullif(?, -1), nullif(?, -1), ?, ?, ?);

-- The link that the next append's is made from: of the newest append, which may be forgotten.
-- name: last_link
SELECT link FROM (
    SELECT * FROM (SELECT position AS last, link FROM appends ORDER BY position DESC LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT last, link FROM forgotten ORDER BY first DESC LIMIT 1)
) ORDER BY last DESC LIMIT 1;

-- Names are left as numbers: a join looks each of them up again, and takes half as long as the rest of the row.
-- name: read_all
SELECT position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body
FROM appends WHERE position > ? ORDER BY position LIMIT ?;

-- name: read_stream
SELECT position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body
FROM appends WHERE stream = (SELECT id FROM names WHERE name = ?) AND version > ? ORDER BY version LIMIT ?;

-- name: read_name
SELECT name FROM names WHERE id = ?;

-- name: insert_meta
INSERT INTO meta (key, value) VALUES (?, ?);

-- name: set_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: read_meta
SELECT value FROM meta WHERE key = ?;

-- name: read_kept
SELECT position, stream, version, count, recorded_at, actor, epoch, first_seq, append_id, body, link
FROM appends WHERE position > ? ORDER BY position LIMIT ?;

-- What is to be removed of a stream, by position.
-- name: find_before
SELECT position, count, version, link FROM appends WHERE stream = ? AND version <= ? ORDER BY version;

-- name: remove_before
DELETE FROM appends WHERE stream = ? AND version <= ?;

-- name: read_floor
SELECT version FROM floors WHERE stream = ?;

-- name: keep_floor
INSERT INTO floors (stream, version) VALUES (?, ?) ON CONFLICT (stream) DO UPDATE SET version = excluded.version;

-- name: read_forgotten
SELECT first, last, link FROM forgotten ORDER BY first;

-- The ranges that a range may grow together with, one at each side.
-- name: forgotten_beside
SELECT first, last, link FROM (
    SELECT * FROM (SELECT first, last, link FROM forgotten WHERE first < ?1 ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT first, last, link FROM forgotten WHERE first = ?2 + 1
);

-- name: keep_forgotten
INSERT INTO forgotten (first, last, link) VALUES (?, ?, ?);

-- name: drop_forgotten
DELETE FROM forgotten WHERE first = ?;

-- name: is_forgotten
SELECT last >= ?1 FROM forgotten WHERE first <= ?1 ORDER BY first DESC LIMIT 1;

-- A restored log ends where the other did, even if its newest events were forgotten.
-- name: set_head
UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'appends';

-- name: begin_head
INSERT INTO sqlite_sequence (name, seq) SELECT 'appends', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'appends');

-- name: drop_meta
DELETE FROM meta WHERE key = ?;
