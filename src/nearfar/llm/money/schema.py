"""The ledger's tables in nearfar.db. Sums are kept as lines come, never added up anew."""

from nearfar.storage import Migration

PART = "ledger"

MIGRATIONS = (
    Migration.sql(
        "ledger",
        """CREATE TABLE ledger_entries (
            id INTEGER PRIMARY KEY,
            at REAL NOT NULL,                -- seconds since 1970
            day TEXT NOT NULL,               -- of UTC, as 2026-01-31
            run_id TEXT,
            model TEXT NOT NULL,
            provider TEXT NOT NULL,
            outcome TEXT NOT NULL,           -- answered, abandoned, broken, lost
            input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            cost_nano INTEGER,               -- NULL: nobody knows the price
            price_source TEXT,
            estimated INTEGER NOT NULL,      -- 1: the provider did not say how many tokens
            budget TEXT,
            period TEXT,
            reservation INTEGER
        )""",
        "CREATE INDEX ledger_entries_lost ON ledger_entries (reservation) WHERE outcome = 'lost'",
        "CREATE INDEX ledger_entries_run ON ledger_entries (run_id) WHERE run_id IS NOT NULL",
        """CREATE TABLE ledger_reservations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a late settlement must not meet another's id
            at REAL NOT NULL,
            expires_at REAL NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started REAL NOT NULL,           -- of the process: its id may be used again
            budget TEXT NOT NULL,
            period TEXT NOT NULL,
            amount_nano INTEGER NOT NULL,
            prompt_nano INTEGER NOT NULL,    -- of it, the part that is owed once the prompt was sent
            prompt_tokens INTEGER NOT NULL,
            run_id TEXT,
            model TEXT NOT NULL,
            provider TEXT NOT NULL,
            price_source TEXT NOT NULL
        )""",
        """CREATE TABLE ledger_days (        -- the lines, added up
            day TEXT NOT NULL,
            model TEXT NOT NULL,
            requests INTEGER NOT NULL,       -- answered or abandoned
            input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            cost_nano INTEGER NOT NULL,
            unpriced INTEGER NOT NULL,       -- lines whose price nobody knows
            PRIMARY KEY (day, model)
        ) WITHOUT ROWID""",
        """CREATE TABLE ledger_sums (
            budget TEXT NOT NULL,
            period TEXT NOT NULL,
            spent_nano INTEGER NOT NULL DEFAULT 0,
            reserved_nano INTEGER NOT NULL DEFAULT 0,
            allowed_nano INTEGER NOT NULL DEFAULT 0,  -- what a person allowed beyond the limit
            alerted REAL NOT NULL DEFAULT 0,          -- the highest share that was told
            PRIMARY KEY (budget, period)
        ) WITHOUT ROWID""",
    ),
    Migration.sql(
        "receipts",
        """CREATE TABLE receipts (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            at REAL NOT NULL,                -- seconds since 1970
            router TEXT NOT NULL,
            receipt TEXT NOT NULL            -- JSON: no content of requests or replies
        )""",
    ),
)
