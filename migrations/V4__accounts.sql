-- The application's own key, where an edit has given the failure another one.
ALTER TABLE sync_failures ADD COLUMN recorded_key TEXT;

-- What a deed was done to, as it was then: the audit outlives the failure.
ALTER TABLE audit_log ADD COLUMN seq INTEGER;
ALTER TABLE audit_log ADD COLUMN entity_type TEXT;
ALTER TABLE audit_log ADD COLUMN entity_id TEXT;
ALTER TABLE audit_log ADD COLUMN action TEXT;
-- What an edit changed beside the payload: a JSON object, to each name the old and the new value.
ALTER TABLE audit_log ADD COLUMN changes TEXT;

-- The history of an entity, and of a span of time; what was delivered in it is counted in the index.
CREATE INDEX sync_attempts_entity ON sync_attempts (entity_type, entity_id, started_at);
CREATE INDEX sync_attempts_time ON sync_attempts (started_at, class);
CREATE INDEX audit_log_entity ON audit_log (entity_type, entity_id, at) WHERE entity_id IS NOT NULL;
CREATE INDEX audit_log_time ON audit_log (at);
