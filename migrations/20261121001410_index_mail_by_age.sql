-- Invitations are counted before another is sent.
CREATE INDEX mail_outbox_created_idx ON platform.mail_outbox (tenant_id, kind, created_at);
