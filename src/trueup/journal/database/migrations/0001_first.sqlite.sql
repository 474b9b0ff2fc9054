-- Without a rowid the rows lie in the order of their positions, in one tree: an append writes one
-- page where it would write two.
CREATE TABLE journal_events (
    stream TEXT NOT NULL,
    position BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL,
    intent_id TEXT,
    hash BLOB NOT NULL,
    CONSTRAINT pk_journal_events PRIMARY KEY (stream, position),
    CONSTRAINT ck_journal_events_position CHECK (position > 0),
    CONSTRAINT ck_journal_events_batch CHECK (batch >= position),
    CONSTRAINT ck_journal_events_kind CHECK (kind <> ''),
    CONSTRAINT ck_journal_events_hash CHECK (length(hash) = 32)
) WITHOUT ROWID;

-- Most events have no intent, and an index that leaves those out is not touched by them.
CREATE UNIQUE INDEX ix_journal_events_stream_intent_id
    ON journal_events (stream, intent_id) WHERE intent_id IS NOT NULL;

-- Who writes a stream, and where its chain ended at that writer's last append.
CREATE TABLE journal_writers (
    stream TEXT NOT NULL,
    token BIGINT NOT NULL,
    holder TEXT NOT NULL,
    since_ns BIGINT NOT NULL,
    position BIGINT NOT NULL,
    hash BLOB NOT NULL,
    CONSTRAINT pk_journal_writers PRIMARY KEY (stream),
    CONSTRAINT ck_journal_writers_stream CHECK (stream <> ''),
    CONSTRAINT ck_journal_writers_token CHECK (token > 0)
);

CREATE TABLE journal_checkpoints (
    stream TEXT NOT NULL,
    position BIGINT NOT NULL,
    digest BLOB NOT NULL,
    state BLOB NOT NULL,
    CONSTRAINT pk_journal_checkpoints PRIMARY KEY (stream, position),
    CONSTRAINT ck_journal_checkpoints_position CHECK (position > 0)
);

-- Rows of a last transaction that was not whole, set aside as they were found.
CREATE TABLE journal_torn (
    stream TEXT NOT NULL,
    found_ns BIGINT NOT NULL,
    position BIGINT NOT NULL,
    batch BIGINT,
    at_ns BIGINT,
    kind TEXT,
    payload BLOB,
    intent_id TEXT,
    hash BLOB,
    CONSTRAINT pk_journal_torn PRIMARY KEY (stream, found_ns, position)
);

-- The number of the last migration that ran, in one row.
CREATE TABLE journal_revision (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT journal_revision_pkc PRIMARY KEY (version_num)
);
