"""The tables of the journal in SQLite."""

from nearfar.storage.migrations import Migration

PART = "journal"

MIGRATIONS = (
    Migration.sql(
        "runs and leases",
        """CREATE TABLE runs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            workflow TEXT NOT NULL,
            reference TEXT NOT NULL,
            folder TEXT NOT NULL,
            thread_id TEXT NOT NULL,
            input_form TEXT NOT NULL,
            input BLOB NOT NULL,
            digest TEXT NOT NULL,
            idempotency_key TEXT,
            tenant TEXT NOT NULL,
            priority TEXT NOT NULL,
            base TEXT,
            forked_from TEXT,
            status TEXT NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            crashes INTEGER NOT NULL DEFAULT 0,
            mark TEXT,
            fence INTEGER NOT NULL DEFAULT 0,
            home TEXT NOT NULL,
            answers_form TEXT,
            answers BLOB,
            approved TEXT,
            output TEXT,
            error TEXT,
            questions TEXT NOT NULL DEFAULT '[]',
            usage TEXT NOT NULL DEFAULT '{}',
            cost_usd REAL DEFAULT 0,
            head TEXT,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            expires_at REAL,
            wake_at REAL
        )""",
        "CREATE UNIQUE INDEX runs_by_key ON runs (tenant, idempotency_key)"
        " WHERE idempotency_key IS NOT NULL",
        "CREATE INDEX runs_by_thread ON runs (thread_id, seq)",
        "CREATE INDEX runs_open ON runs (status, seq)"
        " WHERE status NOT IN ('succeeded', 'failed', 'cancelled')",
        """CREATE TABLE leases (
            thread_id TEXT PRIMARY KEY,
            fence INTEGER NOT NULL,
            run_id TEXT NOT NULL,
            holder TEXT,
            expires REAL NOT NULL,
            length_s REAL NOT NULL,
            beats INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
        "CREATE TABLE fences (last INTEGER NOT NULL)",
        "INSERT INTO fences VALUES (0)",
    ),
    Migration.sql(
        "whether an attempt got to its work",
        "ALTER TABLE runs ADD COLUMN begun INTEGER NOT NULL DEFAULT 0",
    ),
    Migration.sql(
        "which parts of the output the checkpoints keep",
        "ALTER TABLE runs ADD COLUMN apart TEXT NOT NULL DEFAULT '[]'",
    ),
)
