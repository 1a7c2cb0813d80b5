-- The log in PostgreSQL, format 1. Run once, in the log's own schema, under the lock of migrations.

-- What is known about the log as a whole: log_id, format, created_at.
CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

-- Where the log ends. Whoever appends holds this row until its transaction is over, so that positions become visible in their
-- order, and none is given twice or left out: a sequence would give them at once, and show them at each commit.
CREATE TABLE head (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    position   bigint NOT NULL,   -- of the newest event
    link       bytea NOT NULL,    -- of the newest append: the end of the hash chain
    compatible integer NOT NULL   -- the lowest format whose servers may still append
) WITH (fillfactor = 10);

-- Streams and actors by number, so that no row of `appends` repeats a name.
CREATE TABLE names (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text COLLATE "C" NOT NULL UNIQUE,
    floor bigint NOT NULL DEFAULT 0  -- of a stream: the version up to which it was forgotten
);

-- One row for each append, whose events are a batch of records in `body`. Event i of n has position `position - n + 1 + i`
-- and version `version - n + 1 + i`.
CREATE TABLE appends (
    position    bigint PRIMARY KEY,  -- of its last event
    stream      bigint NOT NULL,     -- names.id
    version     bigint NOT NULL,     -- of its last event
    recorded_at bigint NOT NULL,     -- microseconds since 1970-01-01 UTC
    actor       bigint NOT NULL,     -- names.id
    epoch       bigint,              -- the journal that a runner's events come from
    first_seq   bigint,              -- the first event's record in that journal
    count       integer NOT NULL,    -- of its events
    append_id   bytea NOT NULL,      -- 'h' and 16 bytes for 32 hexadecimal digits, 't' and the text for any other
    link        bytea,               -- sha256(link before || digest || int8send(position) || int8send(version)); NULL in a copy without
    body        bytea NOT NULL       -- JSON: [[type, schema, data], ...]
);

-- A stream is read in order, and its head is found, by this one.
CREATE UNIQUE INDEX appends_by_version ON appends (stream, version);

-- An append that comes again is found by this one.
CREATE UNIQUE INDEX appends_by_id ON appends (stream, append_id);

-- Positions that were given and whose events were removed, in as few ranges as there can be.
CREATE TABLE forgotten (
    first bigint PRIMARY KEY,
    last  bigint NOT NULL UNIQUE,  -- included
    link  bytea                    -- of the append that ended there
);

-- Who leads the servers on this log. Lost in a crash of the database, like `signs`, which costs a lease and nothing else.
CREATE UNLOGGED TABLE leader (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    server text NOT NULL,
    term   bigint NOT NULL
);

-- When each key gave its newest sign of life: by the number of the counting, which goes up with each, and by the clock. The row of the
-- empty key holds the newest number, and whoever counts holds that row until the end: no number becomes visible below one that was
-- read. Numbers begin at the clock's microseconds, so that those behind a loss of this table are above those before it.
CREATE UNLOGGED TABLE signs (
    key    text PRIMARY KEY,
    number bigint NOT NULL,
    at     timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX signs_by_number ON signs (number);

-- The numbers of these names, new ones included. Only under the lock of `head`.
CREATE FUNCTION numbers_1(wanted text[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[];
BEGIN
    SELECT array_agg(n.id ORDER BY w.place) INTO numbers
    FROM unnest(wanted) WITH ORDINALITY AS w (name, place) LEFT JOIN names n ON n.name = w.name;
    IF array_position(numbers, NULL) IS NOT NULL THEN
        INSERT INTO names (name)
        SELECT w.name FROM unnest(wanted, numbers) AS w (name, number) WHERE w.number IS NULL;
        SELECT array_agg(n.id ORDER BY w.place) INTO STRICT numbers
        FROM unnest(wanted) WITH ORDINALITY AS w (name, place) JOIN names n ON n.name = w.name;
    END IF;
    RETURN numbers;
END $$;

-- What is true of a session that may append.
CREATE FUNCTION check_session_1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('playhead.schema', true) IS DISTINCT FROM current_schema() THEN
        RAISE EXCEPTION USING ERRCODE = 'PH003', MESSAGE = 'this session was not prepared by Playhead';
    END IF;
    IF current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off' OR current_setting('synchronous_commit') = 'off' THEN
        RAISE EXCEPTION USING ERRCODE = 'PH002', MESSAGE = 'commits of this server are not durable';
    END IF;
END $$;

-- A batch whose places its writer knows, because nobody else has written since it knew the log's end: append i has element i of every
-- array. `fits` is false, and nothing is done, where the log does not end at `before`; then only `append_1` can place them.
-- An append that is there already is refused by the index on ids, which ends the transaction: that, too, is for `append_1`.
-- `missed` are appends of the batch that do not fit their stream, and are not among the arrays: known_at and known_version tell where
-- each is under its id, NULL where it is not.
CREATE FUNCTION extend_1(
    ability integer, channel text, before bigint, before_link bytea, head_position bigint, head_link bytea,
    lasts bigint[], streams bigint[], versions bigint[], recorded_ats bigint[], actors bigint[], epochs bigint[], first_seqs bigint[],
    counts bigint[], append_ids bytea[], links bytea[], bodies bytea[], missed_streams bigint[], missed_ids bytea[],
    OUT fits boolean, OUT known_at bigint[], OUT known_version bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM check_session_1();
    UPDATE head h SET position = head_position, link = head_link
    WHERE h.position = before AND h.link = before_link AND h.compatible <= ability;
    fits := FOUND;
    IF NOT fits THEN
        RETURN;
    END IF;
    INSERT INTO appends (position, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body)
    SELECT n.last, n.stream, n.version, n.recorded_at, n.actor, nullif(n.epoch, -1), nullif(n.first_seq, -1), n.count, n.append_id, n.link,
           n.body
    FROM unnest(lasts, streams, versions, recorded_ats, actors, epochs, first_seqs, counts, append_ids, links, bodies)
        AS n (last, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body);
    IF cardinality(missed_ids) > 0 THEN
        SELECT array_agg(a.position ORDER BY m.place), array_agg(a.version ORDER BY m.place) INTO known_at, known_version
        FROM unnest(missed_streams, missed_ids) WITH ORDINALITY AS m (stream, append_id, place)
        LEFT JOIN appends a ON a.stream = m.stream AND a.append_id = m.append_id;
    END IF;
    PERFORM pg_notify(channel, head_position::text);
END $$;

-- A batch of appends: one outcome for each, in order. Append i of the batch has element i of every array, but of `streams` and `actors`,
-- which name each stream and actor once; `stream_of` and `actor_of` say which. `first_like` is the first append of the batch with the
-- same stream and id. -1 stands for any expected version, and for no epoch and no record.
-- kinds: 0 appended, 1 conflict, 2 duplicate. lasts and versions: of the append's last event; at a conflict the stream's version.
CREATE FUNCTION append_1(
    ability integer, channel text,
    streams text[], actors text[],
    stream_of bigint[], actor_of bigint[], first_like bigint[],
    expected bigint[], counts bigint[], recorded_ats bigint[], epochs bigint[], first_seqs bigint[],
    append_ids bytea[], digests bytea[], bodies bytea[],
    OUT kinds bigint[], OUT lasts bigint[], OUT versions bigint[],
    OUT head_position bigint, OUT chained bytea,  -- the log's end behind this batch, and its link
    OUT before bigint,  -- its end before
    OUT stream_numbers bigint[], OUT heads bigint[],  -- of the streams: their numbers, and their versions behind this batch
    OUT actor_numbers bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    size     integer := cardinality(counts);
    needed   integer;
    known_at bigint[];    -- where an append under the same id is, or NULL
    known_version bigint[];
    placed   integer[] := array_fill(NULL::integer, ARRAY[size]);  -- by the first of the same id: the one of them that was appended
    links    bytea[] := array_fill(NULL::bytea, ARRAY[size]);
    actual   bigint;
    twin     integer;
    repeated boolean := false;
BEGIN
    PERFORM check_session_1();
    SELECT h.position, h.link, h.compatible INTO STRICT before, chained, needed FROM head h FOR UPDATE;
    IF needed > ability THEN
        RAISE EXCEPTION USING ERRCODE = 'PH001', MESSAGE = 'the log is of format ' || needed;
    END IF;
    stream_numbers := numbers_1(streams);
    actor_numbers := numbers_1(actors);
    SELECT array_agg(coalesce(
        (SELECT a.version FROM appends a WHERE a.stream = s.number ORDER BY a.version DESC LIMIT 1),
        (SELECT n.floor FROM names n WHERE n.id = s.number)
    ) ORDER BY s.place) INTO heads FROM unnest(stream_numbers) WITH ORDINALITY AS s (number, place);
    SELECT array_agg(a.position ORDER BY b.place), array_agg(a.version ORDER BY b.place) INTO known_at, known_version
    FROM unnest(stream_of, append_ids) WITH ORDINALITY AS b (stream, append_id, place)
    LEFT JOIN appends a ON a.stream = stream_numbers[b.stream] AND a.append_id = b.append_id;

    head_position := before;
    kinds := array_fill(0::bigint, ARRAY[size]);
    lasts := kinds;
    versions := kinds;
    FOR i IN 1..size LOOP
        IF known_at[i] IS NOT NULL THEN
            kinds[i] := 2;
            lasts[i] := known_at[i];
            versions[i] := known_version[i];
            repeated := true;
            CONTINUE;
        END IF;
        twin := placed[first_like[i]];
        actual := heads[stream_of[i]];
        IF twin IS NOT NULL THEN
            kinds[i] := 2;
            lasts[i] := lasts[twin];
            versions[i] := versions[twin];
        ELSIF expected[i] <> -1 AND expected[i] <> actual THEN
            kinds[i] := 1;
            versions[i] := actual;
        ELSE
            head_position := head_position + counts[i];
            actual := actual + counts[i];
            heads[stream_of[i]] := actual;
            lasts[i] := head_position;
            versions[i] := actual;
            placed[first_like[i]] := i;
            chained := sha256(chained || digests[i] || int8send(head_position) || int8send(actual));
            links[i] := chained;
        END IF;
    END LOOP;

    IF head_position > before THEN
        INSERT INTO appends (position, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body)
        SELECT n.last, stream_numbers[n.stream], n.version, n.recorded_at, actor_numbers[n.actor], nullif(n.epoch, -1),
               nullif(n.first_seq, -1), n.count, n.append_id, n.link, n.body
        FROM unnest(lasts, stream_of, versions, recorded_ats, actor_of, epochs, first_seqs, counts, append_ids, links, bodies)
            AS n (last, stream, version, recorded_at, actor, epoch, first_seq, count, append_id, link, body)
        WHERE n.link IS NOT NULL;
        PERFORM pg_notify(channel, head_position::text);
    END IF;
    -- Also for what is there already, where it says nothing new: so that to be told "it is there" waits for the standbys as the
    -- first commit would have, had it not been cut off.
    IF head_position > before OR repeated THEN
        UPDATE head SET position = head_position, link = chained;
    END IF;
END $$;

-- Remove a stream's events up to a version, which an append ends with; how many there were, 0 if that was done before, and NULL where no
-- append ends there.
CREATE FUNCTION forget_1(wanted text, upto bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    number  bigint;
    done    bigint;
    removed bigint;
BEGIN
    PERFORM FROM head FOR UPDATE;
    SELECT n.id, n.floor INTO number, done FROM names n WHERE n.name = wanted;
    IF upto <= done THEN
        RETURN 0;
    END IF;
    PERFORM FROM appends a WHERE a.stream = number AND a.version = upto;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM appends a WHERE a.stream = number AND a.version <= upto
        RETURNING a.position - a.count + 1 AS first, a.position AS last, a.link
    ), kept AS (
        SELECT keep_forgotten_1(array_agg(g.first), array_agg(g.last), array_agg(g.link)), sum(g.last - g.first + 1) AS events FROM gone g
    )
    SELECT kept.events INTO removed FROM kept;
    UPDATE names n SET floor = upto WHERE n.id = number;
    RETURN removed;
END $$;

-- Add ranges to `forgotten`, merged with each other and with those beside them.
CREATE FUNCTION keep_forgotten_1(firsts bigint[], lasts bigint[], links bytea[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    all_firsts bigint[];
    all_lasts  bigint[];
    all_links  bytea[];
BEGIN
    WITH beside AS (
        DELETE FROM forgotten f
        WHERE f.first IN (SELECT l.last + 1 FROM unnest(lasts) AS l (last))
           OR f.last IN (SELECT b.first - 1 FROM unnest(firsts) AS b (first))
        RETURNING f.first, f.last, f.link
    )
    SELECT array_agg(r.first), array_agg(r.last), array_agg(r.link) INTO all_firsts, all_lasts, all_links
    FROM (SELECT * FROM unnest(firsts, lasts, links) AS u (first, last, link) UNION ALL SELECT * FROM beside) r;

    INSERT INTO forgotten (first, last, link)
    SELECT min(i.first), max(i.last), (array_agg(i.link ORDER BY i.first DESC))[1]
    FROM (
        SELECT s.*, sum(s.begins) OVER (ORDER BY s.first) AS island
        FROM (
            SELECT r.*, CASE WHEN lag(r.last) OVER (ORDER BY r.first) + 1 = r.first THEN 0 ELSE 1 END AS begins
            FROM unnest(all_firsts, all_lasts, all_links) AS r (first, last, link)
        ) s
    ) i
    GROUP BY i.island;
END $$;
