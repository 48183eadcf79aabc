"""The tables of the product store, one script per version. A released script never changes; the next goes below."""

APPLICATION_ID = 0x53554253  # "SUBS"

MIGRATIONS = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, number REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE decisions (slot INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
CREATE TABLE tiles (
    slot INTEGER NOT NULL, frame_id TEXT NOT NULL,
    row_px INTEGER NOT NULL, col_px INTEGER NOT NULL, edge_px INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'shed', 'failed')), reason TEXT NOT NULL,
    PRIMARY KEY (slot, frame_id, row_px, col_px, edge_px)
) STRICT, WITHOUT ROWID;
CREATE TABLE products (
    product_id TEXT PRIMARY KEY, slot INTEGER NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL,
    score REAL NOT NULL, value REAL NOT NULL, footprint TEXT, captured_unix_s REAL NOT NULL,
    frame_id TEXT NOT NULL, row_px INTEGER NOT NULL, col_px INTEGER NOT NULL, edge_px INTEGER NOT NULL,
    package_id TEXT NOT NULL, package_sha256 TEXT NOT NULL, truth TEXT,
    size_byte INTEGER NOT NULL,
    rank REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'delivered')),
    transfer INTEGER, batch INTEGER, attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX products_waiting ON products (rank DESC, product_id, size_byte) WHERE state != 'delivered';
CREATE INDEX products_transfer ON products (transfer, batch) WHERE state = 'sent';
CREATE INDEX products_delivered ON products (slot) WHERE state = 'delivered';
CREATE TABLE transfers (
    transfer INTEGER PRIMARY KEY, slot INTEGER NOT NULL, first_sequence INTEGER NOT NULL, packet INTEGER NOT NULL,
    batch INTEGER NOT NULL, product INTEGER NOT NULL, sent_byte INTEGER NOT NULL, delivered_product INTEGER NOT NULL
) STRICT;
CREATE TABLE tally (state TEXT PRIMARY KEY, product INTEGER NOT NULL, byte INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO tally VALUES ('queued', 0, 0), ('sent', 0, 0), ('delivered', 0, 0);
CREATE TRIGGER tally_insert AFTER INSERT ON products BEGIN
    UPDATE tally SET product = product + 1, byte = byte + NEW.size_byte WHERE state = NEW.state;
END;
CREATE TRIGGER tally_delete AFTER DELETE ON products BEGIN
    UPDATE tally SET product = product - 1, byte = byte - OLD.size_byte WHERE state = OLD.state;
END;
CREATE TRIGGER tally_update AFTER UPDATE OF state ON products WHEN OLD.state != NEW.state BEGIN
    UPDATE tally SET product = product - 1, byte = byte - OLD.size_byte WHERE state = OLD.state;
    UPDATE tally SET product = product + 1, byte = byte + NEW.size_byte WHERE state = NEW.state;
END;
""",
    """
ALTER TABLE products ADD COLUMN bare INTEGER NOT NULL DEFAULT 0 CHECK (bare IN (0, 1, 2));
CREATE INDEX products_bare ON products (rank DESC, product_id) WHERE bare > 0;
""",
    """
ALTER TABLE tally ADD COLUMN value REAL NOT NULL DEFAULT 0;
UPDATE tally SET value = (SELECT coalesce(sum(value), 0) FROM products WHERE products.state = tally.state);
DROP TRIGGER tally_insert;
DROP TRIGGER tally_delete;
DROP TRIGGER tally_update;
CREATE TRIGGER tally_insert AFTER INSERT ON products BEGIN
    UPDATE tally SET product = product + 1, byte = byte + NEW.size_byte, value = value + NEW.value
    WHERE state = NEW.state;
END;
CREATE TRIGGER tally_delete AFTER DELETE ON products BEGIN
    UPDATE tally SET product = product - 1, byte = byte - OLD.size_byte, value = value - OLD.value
    WHERE state = OLD.state;
END;
CREATE TRIGGER tally_update AFTER UPDATE OF state, value ON products
WHEN OLD.state != NEW.state OR OLD.value != NEW.value BEGIN
    UPDATE tally SET product = product - 1, byte = byte - OLD.size_byte, value = value - OLD.value
    WHERE state = OLD.state;
    UPDATE tally SET product = product + 1, byte = byte + NEW.size_byte, value = value + NEW.value
    WHERE state = NEW.state;
END;
""",
)
"""``bare``: 1 where a product went down without its outline, 2 while the outline is on its way.

``tally.value`` is a sum of differences: right to about 1e-12 of what has passed through, and nothing is decided by it.
"""
