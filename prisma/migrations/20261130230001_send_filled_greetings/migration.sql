-- Ultravox still has the placeholders of these greetings, and would speak them in inbound calls. The sweep of agents that
-- are out of sync sends them again. One whose latest revision Ultravox refused is left alone until it is edited.
UPDATE agents SET revision = revision + 1
WHERE deleted_at IS NULL AND refused_revision IS DISTINCT FROM revision
  AND greeting_settings->>'text' LIKE '%{{%';
