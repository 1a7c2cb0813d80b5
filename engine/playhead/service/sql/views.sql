-- The read models: tables that answer queries, made from the log and kept with the position up to which they have seen it.
-- All of it can be dropped and made again. A change of these tables is a new SCHEMA number in read_models.py.

-- name: schema
CREATE TABLE seen (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    schema   INTEGER NOT NULL,
    form     TEXT NOT NULL,             -- of the states in snapshots: another one folds or writes them otherwise
    log_id   TEXT NOT NULL,
    position INTEGER NOT NULL,          -- the log was read up to here, included
    mark     TEXT NOT NULL,             -- the log's first bytes at that position: a restored log has others
    clean    INTEGER NOT NULL           -- 1 while nobody has the file open
);
CREATE TABLE flows (
    flow           TEXT PRIMARY KEY,
    version        INTEGER NOT NULL,    -- of the newest registration, which is what the row shows
    registered_at  INTEGER NOT NULL,
    schedule_id    TEXT,
    schedule_since INTEGER NOT NULL,    -- since when the flow has had this schedule without a break
    registered     TEXT NOT NULL        -- the event's fields, JSON
) WITHOUT ROWID;
CREATE TABLE agents (
    agent     TEXT PRIMARY KEY,
    joined_at INTEGER NOT NULL,
    state     TEXT NOT NULL,            -- joined, draining or left
    joined    TEXT NOT NULL             -- the event's fields, JSON
) WITHOUT ROWID;
CREATE TABLE tokens (
    token      TEXT PRIMARY KEY,
    version    INTEGER NOT NULL,        -- of its stream
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    created    TEXT NOT NULL            -- the event's fields, JSON
) WITHOUT ROWID;
CREATE TABLE runs (
    run           TEXT PRIMARY KEY,
    created       INTEGER NOT NULL,     -- position of its first event: the order of `runs`
    version       INTEGER NOT NULL,     -- of its stream, as the row shows it
    flow          TEXT NOT NULL,
    state         TEXT NOT NULL,
    agent         TEXT,
    schedule_id   TEXT,
    scheduled_for INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    summary       TEXT NOT NULL         -- RunSummary, JSON
) WITHOUT ROWID;
CREATE TABLE snapshots (                -- states of long runs, each as what changed since another one
    stream   TEXT NOT NULL,
    version  INTEGER NOT NULL,          -- of the state
    since    INTEGER NOT NULL,          -- the version of the snapshot that it goes on from; 0: it is whole
    event    TEXT NOT NULL,             -- the log's event of that version: where the log has another, the snapshot is of another log
    weight   INTEGER NOT NULL,          -- task states to be read for it, with all that it goes on from
    checksum INTEGER NOT NULL,          -- CRC-32 of the piece
    piece    BLOB NOT NULL,
    PRIMARY KEY (stream, version)
);
CREATE UNIQUE INDEX runs_created ON runs (created);
CREATE INDEX runs_flow ON runs (flow, created);
CREATE INDEX runs_fired ON runs (flow, schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;
CREATE INDEX runs_waiting ON runs (scheduled_for) WHERE state = 'scheduled';
CREATE INDEX runs_active ON runs (agent, created) WHERE state IN ('claimed', 'running', 'cancelling');

CREATE TABLE forgotten (
    run           TEXT PRIMARY KEY,     -- its events were removed from the log; it is in no list, and can be shown by its id
    flow          TEXT NOT NULL,
    schedule_id   TEXT,
    scheduled_for INTEGER NOT NULL      -- so that the clockwork does not ask for it again
) WITHOUT ROWID;
CREATE INDEX forgotten_fired ON forgotten (flow, schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL;

-- name: begin
INSERT INTO seen (only, schema, form, log_id, position, mark, clean) VALUES (1, :schema, :form, :log_id, 0, '', 0);

-- name: seen
SELECT schema, form, log_id, position, mark, clean FROM seen;

-- name: move
UPDATE seen SET position = :position, mark = :mark;

-- name: set_clean
UPDATE seen SET clean = :clean;

-- name: keep_flow
INSERT INTO flows (flow, version, registered_at, schedule_id, schedule_since, registered)
VALUES (:flow, :version, :registered_at, :schedule_id, :registered_at, :registered)
ON CONFLICT (flow) DO UPDATE SET
    version = excluded.version,
    registered_at = excluded.registered_at,
    schedule_since = CASE WHEN flows.schedule_id IS excluded.schedule_id
                          THEN flows.schedule_since ELSE excluded.registered_at END,
    schedule_id = excluded.schedule_id,
    registered = excluded.registered;

-- name: keep_agent
INSERT INTO agents (agent, joined_at, state, joined) VALUES (:agent, :joined_at, 'joined', :joined)
ON CONFLICT (agent) DO UPDATE SET joined_at = excluded.joined_at, state = 'joined', joined = excluded.joined;

-- name: set_agent_state
UPDATE agents SET state = :state WHERE agent = :agent;

-- name: keep_token
INSERT INTO tokens (token, version, created_at, created) VALUES (:token, :version, :created_at, :created)
ON CONFLICT (token) DO UPDATE SET
    version = excluded.version, created_at = excluded.created_at, revoked_at = NULL, created = excluded.created;

-- name: revoke_token
UPDATE tokens SET version = :version, revoked_at = :revoked_at WHERE token = :token;

-- name: keep_run
-- The state may come from a command that is ahead of the position, so a row never goes back to an older version.
INSERT INTO runs (run, created, version, flow, state, agent, schedule_id, scheduled_for, created_at, summary)
VALUES (:run, :created, :version, :flow, :state, :agent, :schedule_id, :scheduled_for, :created_at, :summary)
ON CONFLICT (run) DO UPDATE SET
    version = excluded.version, state = excluded.state, agent = excluded.agent, summary = excluded.summary
WHERE excluded.version > runs.version;

-- name: drop_run
DELETE FROM runs WHERE run = :run;

-- name: keep_forgotten
INSERT OR REPLACE INTO forgotten (run, flow, schedule_id, scheduled_for) VALUES (:run, :flow, :schedule_id, :scheduled_for);

-- name: flows
SELECT f.flow, f.version, f.registered_at, f.schedule_since, f.registered,
       nullif(max(
           ifnull((SELECT max(r.scheduled_for) FROM runs AS r
                    WHERE r.flow = f.flow AND r.schedule_id = f.schedule_id AND r.schedule_id IS NOT NULL), -1),
           ifnull((SELECT max(g.scheduled_for) FROM forgotten AS g
                    WHERE g.flow = f.flow AND g.schedule_id = f.schedule_id AND g.schedule_id IS NOT NULL), -1)
       ), -1) AS newest_fired
  FROM flows AS f
 WHERE :flow IS NULL OR f.flow = :flow
 ORDER BY f.flow;

-- name: scheduled_flows
SELECT f.flow, f.version, f.registered_at, f.schedule_since, f.registered,
       nullif(max(
           ifnull((SELECT max(r.scheduled_for) FROM runs AS r
                    WHERE r.flow = f.flow AND r.schedule_id = f.schedule_id AND r.schedule_id IS NOT NULL), -1),
           ifnull((SELECT max(g.scheduled_for) FROM forgotten AS g
                    WHERE g.flow = f.flow AND g.schedule_id = f.schedule_id AND g.schedule_id IS NOT NULL), -1)
       ), -1) AS newest_fired
  FROM flows AS f
 WHERE f.schedule_id IS NOT NULL
 ORDER BY f.flow;

-- name: waiting
SELECT run, scheduled_for FROM runs WHERE state = 'scheduled' ORDER BY scheduled_for LIMIT :limit;

-- name: agents
SELECT agent, joined_at, state, joined FROM agents ORDER BY agent;

-- name: tokens
SELECT token, version, created_at, revoked_at, created FROM tokens ORDER BY token;

-- name: active
SELECT run, agent FROM runs WHERE state IN ('claimed', 'running', 'cancelling') ORDER BY agent, created;

-- name: similar_runs
SELECT run FROM (
    SELECT run FROM runs WHERE run >= :low AND run < :high
    UNION ALL
    SELECT run FROM forgotten WHERE run >= :low AND run < :high
) LIMIT :limit;

-- name: page_of_runs
SELECT created, summary FROM runs
 WHERE created < :before
   AND (:agent IS NULL OR agent = :agent)
   AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
   AND (:since IS NULL OR created_at >= :since)
   AND run >= :low AND run < :high
 ORDER BY created DESC LIMIT :limit;

-- name: page_of_runs_of_flow
SELECT created, summary FROM runs
 WHERE flow = :flow AND created < :before
   AND (:agent IS NULL OR agent = :agent)
   AND (:states IS NULL OR state IN (SELECT value FROM json_each(:states)))
   AND (:since IS NULL OR created_at >= :since)
   AND run >= :low AND run < :high
 ORDER BY created DESC LIMIT :limit;

-- name: keep_snapshot
-- Nothing, where what it goes on from is gone by now.
INSERT OR REPLACE INTO snapshots (stream, version, since, event, weight, checksum, piece)
SELECT :stream, :version, :since, :event, :weight, :checksum, :piece
 WHERE :since = 0 OR EXISTS (SELECT 1 FROM snapshots WHERE stream = :stream AND version = :since);

-- name: forget_snapshots
DELETE FROM snapshots WHERE stream = :stream;

-- name: newest_snapshots
SELECT stream, max(version) AS version, event, weight FROM snapshots GROUP BY stream;

-- name: snapshot_upto
-- The newest one up to a version, and all that it goes on from, in order.
WITH RECURSIVE chain (version, since) AS (
    SELECT version, since FROM snapshots
     WHERE stream = :stream AND version = (SELECT max(version) FROM snapshots WHERE stream = :stream AND version <= :upto)
    UNION ALL
    SELECT s.version, s.since FROM chain AS c JOIN snapshots AS s ON s.stream = :stream AND s.version = c.since
)
SELECT s.version, s.since, s.event, s.weight, s.checksum, s.piece
  FROM chain AS c JOIN snapshots AS s ON s.stream = :stream AND s.version = c.version
 ORDER BY s.version;
