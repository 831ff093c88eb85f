-- When the user was shown to read mail at their address; and a state for users who were deleted. Their rows stay as empty shells:
-- what refers to them (sessions that were ended, above all) must outlive them for as long as an access token may.
ALTER TABLE auth.users ADD COLUMN email_verified_at timestamptz;
ALTER TABLE auth.users DROP CONSTRAINT users_state_check;
ALTER TABLE auth.users ADD CONSTRAINT users_state_check CHECK (state IN ('active', 'suspended', 'deleted'));
