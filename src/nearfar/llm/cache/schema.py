"""The tables of cache.db. Prompts are not in them: keys are digests."""

from nearfar.storage import Migration

PART = "cache"

MIGRATIONS = (
    Migration.sql(
        "cache",
        """CREATE TABLE cache_entries (
            id INTEGER PRIMARY KEY,
            cache TEXT NOT NULL,             -- the name in the settings
            key BLOB NOT NULL,               -- sha256 of the whole request
            context BLOB,                    -- sha256 of all but the last turn; NULL: exact hits only
            tenant BLOB NOT NULL,            -- sha256 of the tenant's name
            model TEXT NOT NULL,             -- the id of the model that answered
            candidate TEXT NOT NULL,         -- its name in the router
            created REAL NOT NULL,           -- seconds since 1970
            used REAL NOT NULL,
            value TEXT NOT NULL,             -- the answer, as JSON
            vector BLOB,                     -- of the last turn: float32, of length 1
            words BLOB,                      -- sha256 of its words, sorted
            word_order BLOB,                 -- sha256 of its words as they stand
            bytes INTEGER NOT NULL
        )""",
        "CREATE UNIQUE INDEX cache_entries_key ON cache_entries (cache, key)",
        """CREATE INDEX cache_entries_context ON cache_entries (cache, context)
            WHERE context IS NOT NULL""",
        "CREATE INDEX cache_entries_used ON cache_entries (cache, used)",
        "CREATE INDEX cache_entries_created ON cache_entries (cache, created)",
        """CREATE TABLE cache_counts (
            cache TEXT PRIMARY KEY,
            entries INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0,
            hits INTEGER NOT NULL DEFAULT 0,
            misses INTEGER NOT NULL DEFAULT 0,
            stored INTEGER NOT NULL DEFAULT 0,
            evicted INTEGER NOT NULL DEFAULT 0  -- too old, or the least recently used
        ) WITHOUT ROWID""",
        # The sums follow every change, so that nothing is added up over the entries.
        """CREATE TRIGGER cache_entries_come AFTER INSERT ON cache_entries BEGIN
            INSERT OR IGNORE INTO cache_counts (cache) VALUES (NEW.cache);
            UPDATE cache_counts SET entries = entries + 1, bytes = bytes + NEW.bytes
                WHERE cache = NEW.cache;
        END""",
        """CREATE TRIGGER cache_entries_go AFTER DELETE ON cache_entries BEGIN
            UPDATE cache_counts SET entries = entries - 1, bytes = bytes - OLD.bytes
                WHERE cache = OLD.cache;
        END""",
    ),
)
