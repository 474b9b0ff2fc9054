-- What the nodes tell of each account. A row counts while its epoch is that of the account's shard,
-- and the node of that claim is alive.
CREATE TABLE fleet_accounts (
    account TEXT PRIMARY KEY,
    shard INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    state TEXT NOT NULL,
    sentence TEXT NOT NULL,
    paused_by TEXT NOT NULL,
    paused_why TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL
);

-- What persons have asked of the fleet, in the order in which they asked.
CREATE TABLE fleet_acts (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    verb TEXT NOT NULL,
    account TEXT NOT NULL DEFAULT '',
    node TEXT NOT NULL DEFAULT '',
    who TEXT NOT NULL,
    why TEXT NOT NULL
);
