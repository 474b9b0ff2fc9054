-- The revision of these tables, and the number of shards, in one row.
CREATE TABLE fleet_revision (
    revision INTEGER NOT NULL,
    shards INTEGER NOT NULL
);

-- The nodes. A node is alive while its last heartbeat is younger than its lease.
CREATE TABLE fleet_nodes (
    name TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    host TEXT NOT NULL,
    process BIGINT NOT NULL,
    lease INTERVAL NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    beat TIMESTAMPTZ NOT NULL,
    drained_by TEXT NOT NULL DEFAULT '',
    drained_why TEXT NOT NULL DEFAULT '',
    report TEXT NOT NULL DEFAULT '{}'
);

-- The shards, and the node that runs the accounts of each. The epoch grows with every claim.
CREATE TABLE fleet_shards (
    number INTEGER PRIMARY KEY,
    node TEXT,
    run TEXT,
    epoch BIGINT NOT NULL DEFAULT 0,
    since TIMESTAMPTZ,
    pinned TEXT,
    pinned_by TEXT NOT NULL DEFAULT ''
);

-- What a person has paused: an account, or every account under the empty name.
CREATE TABLE fleet_pauses (
    account TEXT PRIMARY KEY,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL
);
