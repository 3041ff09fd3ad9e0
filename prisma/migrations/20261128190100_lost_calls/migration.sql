ALTER TABLE calls RENAME COLUMN settle_by TO lost_at;
