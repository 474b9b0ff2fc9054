-- The anchors: what was archived of each stream, and the saved book from which the rest goes on.
CREATE TABLE IF NOT EXISTS journal_archives (
    stream TEXT NOT NULL,
    position BIGINT NOT NULL,
    hash BLOB NOT NULL,
    first_position BIGINT NOT NULL,
    hash_before BLOB NOT NULL,
    first_hash BLOB NOT NULL,
    newest_ns BIGINT NOT NULL,
    archived_ns BIGINT NOT NULL,
    file TEXT NOT NULL,
    file_digest BLOB NOT NULL,
    book_position BIGINT NOT NULL,
    book_digest BLOB NOT NULL,
    book BLOB NOT NULL,
    orders BLOB NOT NULL,
    CONSTRAINT pk_journal_archives PRIMARY KEY (stream, position),
    CONSTRAINT ck_journal_archives_first CHECK (first_position > 0),
    CONSTRAINT ck_journal_archives_position CHECK (position >= first_position),
    CONSTRAINT ck_journal_archives_book CHECK (book_position > position),
    CONSTRAINT ck_journal_archives_hash CHECK (length(hash) = 32)
);
