-- Windows in a row that were filled with wrong codes. Each makes the next one twice as long: whoever has a password and guesses codes at
-- ten in five minutes would else try a tenth of all codes within a month.
ALTER TABLE auth.code_attempts ADD COLUMN n_filled integer NOT NULL DEFAULT 0;
