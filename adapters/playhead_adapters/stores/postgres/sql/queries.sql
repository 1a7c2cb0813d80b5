-- A batch of appends in one round trip and one transaction.
-- name: append
SELECT * FROM append_1(
    %(ability)s, %(channel)s, %(streams)s, %(actors)s, %(stream_of)s, %(actor_of)s, %(first_like)s, %(expected)s, %(counts)s,
    %(recorded_ats)s, %(epochs)s, %(first_seqs)s, %(append_ids)s, %(digests)s, %(bodies)s
)

-- The same for a batch whose places are known.
-- name: extend
SELECT * FROM extend_1(
    %(ability)s, %(channel)s, %(before)s, %(before_link)s, %(head)s, %(link)s, %(lasts)s, %(streams)s, %(versions)s, %(recorded_ats)s,
    %(actors)s, %(epochs)s, %(first_seqs)s, %(counts)s, %(append_ids)s, %(links)s, %(bodies)s, %(missed_streams)s, %(missed_ids)s
)

-- What stands at these places, to compare with what came again.
-- name: read_bodies
SELECT position, count, epoch, first_seq, body FROM appends WHERE position = ANY(%(positions)s)

-- The appends that hold the events behind `after`: those up to the one in which the last wanted event lies. Positions are dense
-- but for what was forgotten, so that this is found by two looks into the index, and no row is read in vain.
-- name: read_all
SELECT a.position, a.stream, a.version, a.count, a.recorded_at, a.actor, a.epoch, a.first_seq, a.append_id, a.body
FROM appends a
WHERE a.position > %(after)s AND a.position <= coalesce((
    SELECT z.position FROM appends z
    WHERE z.position >= %(limit)s + greatest(%(after)s, (
        SELECT f.position - f.count FROM appends f WHERE f.position > %(after)s ORDER BY f.position LIMIT 1
    ))
    ORDER BY z.position LIMIT 1
), 9223372036854775807)
ORDER BY a.position

-- The same within one stream, by version.
-- name: read_stream
WITH s AS MATERIALIZED (SELECT id FROM names WHERE name = %(stream)s)
SELECT a.position, a.stream, a.version, a.count, a.recorded_at, a.actor, a.epoch, a.first_seq, a.append_id, a.body
FROM appends a
WHERE a.stream = (SELECT id FROM s) AND a.version > %(after)s AND a.version <= coalesce((
    SELECT z.version FROM appends z
    WHERE z.stream = (SELECT id FROM s) AND z.version >= %(limit)s + greatest(%(after)s, (
        SELECT f.version - f.count FROM appends f
        WHERE f.stream = (SELECT id FROM s) AND f.version > %(after)s ORDER BY f.version LIMIT 1
    ))
    ORDER BY z.version LIMIT 1
), 9223372036854775807)
ORDER BY a.version

-- Names by number: a reader asks for those that it does not know yet, which costs less than to join them to each row.
-- name: read_names
SELECT id, name FROM names WHERE id = ANY(%(numbers)s)

-- name: sizes
SELECT sum(pg_table_size(c.oid))::bigint AS tables, sum(pg_indexes_size(c.oid))::bigint AS indexes
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = quote_ident(current_schema())::regnamespace

-- A name that is missing leaves no append out: it is told.
-- name: read_kept
SELECT a.position, s.name, a.version, a.count, a.recorded_at, w.name, a.epoch, a.first_seq, a.append_id, a.body, a.link
FROM appends a LEFT JOIN names s ON s.id = a.stream LEFT JOIN names w ON w.id = a.actor
WHERE a.position > %(after)s ORDER BY a.position LIMIT %(limit)s

-- name: forget
SELECT forget_1(%(stream)s, %(upto)s)

-- name: is_forgotten
SELECT EXISTS (SELECT FROM forgotten WHERE first <= %(position)s AND last >= %(position)s)

-- name: forgotten
SELECT first, last, link FROM forgotten ORDER BY first

-- What a copy is to be put behind. Held until the copy is in.
-- name: lock_head
SELECT (SELECT value FROM meta WHERE key = 'log_id'), position FROM head FOR UPDATE

-- name: restore_appends
WITH s AS MATERIALIZED (SELECT numbers_1(%(streams)s) AS numbers), w AS MATERIALIZED (SELECT numbers_1(%(actors)s) AS numbers)
INSERT INTO appends (position, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body)
SELECT n.last, s.numbers[n.stream], n.version, n.recorded_at, w.numbers[n.actor], nullif(n.epoch, -1), nullif(n.first_seq, -1), n.count,
       n.append_id, nullif(n.link, ''), n.body
FROM s, w, unnest(
    %(lasts)s, %(stream_of)s, %(versions)s, %(recorded_ats)s, %(actor_of)s, %(epochs)s, %(first_seqs)s, %(counts)s, %(append_ids)s,
    %(links)s, %(bodies)s
) AS n (last, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body)

-- name: restore_forgotten
SELECT keep_forgotten_1(%(firsts)s, %(lasts)s, ARRAY(SELECT nullif(l, '') FROM unnest(%(links)s) WITH ORDINALITY AS u (l, i) ORDER BY i))

-- name: restore_head
UPDATE head SET position = %(position)s, link = %(link)s

-- name: head
SELECT position FROM head

-- What a connection finds before it is used.
-- name: look
SELECT
    pg_is_in_recovery() AS standby,
    current_setting('server_version_num')::integer AS server_version,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('default_transaction_read_only') AS read_only,
    pg_backend_pid() AS process

-- Settings of the session: what our own statements need, and what must not change under them when the configuration is read again.
-- name: pin
SELECT
    set_config('search_path', quote_ident(%(schema)s) || ', pg_temp', false),
    set_config('playhead.schema', %(schema)s, false),
    set_config('playhead.session', %(session)s, false),
    set_config('synchronous_commit', %(synchronous_commit)s, false),
    set_config('statement_timeout', %(statement_ms)s, false),
    set_config('lock_timeout', %(lock_ms)s, false),
    set_config('idle_in_transaction_session_timeout', %(idle_ms)s, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false)

-- Which session of the server this is, and whether what was set in it is still set.
-- name: session
SELECT pg_backend_pid(), current_setting('playhead.session', true)

-- What a new connection must find again: this log, and in it the append that we know to be there.
-- name: witness
SELECT
    (SELECT value FROM meta WHERE key = 'log_id'),
    (SELECT position FROM head),
    (SELECT a.link FROM appends a WHERE a.position = %(position)s),
    EXISTS (SELECT FROM forgotten f WHERE f.first <= %(position)s AND f.last >= %(position)s)

-- The catalogs and not to_regnamespace: that answers from a cache which, behind a lock that was waited for, has not heard yet of what
-- its holder made.
-- name: find_schema
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s) AS there

-- name: find_table
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = 'meta'
) AS there

-- name: read_meta
SELECT key, value FROM meta

-- name: read_compatible
SELECT compatible FROM head

-- name: set_meta
INSERT INTO meta (key, value) VALUES (%(key)s, %(value)s) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: begin_log
INSERT INTO head (position, link, compatible) VALUES (0, %(link)s, %(compatible)s)

-- name: set_compatible
UPDATE head SET compatible = %(compatible)s

-- One migration at a time; whoever waited finds it done. A change of a large log may take its time.
-- name: lock_migrations
SELECT pg_advisory_xact_lock(hashtextextended('playhead/' || %(schema)s, 0)), set_config('statement_timeout', '0', true)

-- Nobody appends while the log is changed: who does takes this table first as well, and so they never wait for each other.
-- name: lock_log
LOCK TABLE head IN ACCESS EXCLUSIVE MODE

-- name: leading
SELECT server, term FROM leader

-- The first term begins at the clock's microseconds: one that a crash made the database forget does not come again.
-- name: lead
INSERT INTO leader (server, term) SELECT %(server)s, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint WHERE %(after)s = 0
ON CONFLICT (one) DO NOTHING
RETURNING term

-- name: lead_on
UPDATE leader SET server = %(server)s, term = term + 1 WHERE term = %(after)s RETURNING term

-- One after the other, as the row of the empty key has it.
-- name: hear
WITH counting AS (
    INSERT INTO signs (key, number, at) VALUES ('', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, now())
    ON CONFLICT (key) DO UPDATE SET number = signs.number + 1, at = excluded.at
    RETURNING number
)
INSERT INTO signs (key, number, at) SELECT k, c.number, now() FROM counting c, unnest(%(keys)s::text[]) AS u (k)
ON CONFLICT (key) DO UPDATE SET number = excluded.number, at = excluded.at

-- Some of the oldest each time: more than ever come anew with one request, and few to look at. Those that are being counted again stay.
-- name: forget_signs
DELETE FROM signs WHERE key IN (
    SELECT key FROM signs WHERE key <> '' ORDER BY number LIMIT 100 FOR UPDATE SKIP LOCKED
) AND at < now() - interval '1 day'

-- name: heard
SELECT key, number FROM signs WHERE key = ''
UNION ALL
SELECT key, number FROM signs WHERE number > %(after)s AND key <> ''
