-- The next migration would build this index anew while writers wait. It is created again afterwards.

-- DropIndex
DROP INDEX CONCURRENTLY IF EXISTS "calls_by_cost";
