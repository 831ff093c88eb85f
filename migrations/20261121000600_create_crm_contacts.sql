-- The example service's table (examples/crm.rs): how a service of your own keeps tenant data beside the platform's.

CREATE SCHEMA crm;

CREATE TABLE crm.contacts (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    email      text CHECK (char_length(email) BETWEEN 3 AND 254),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT contacts_email_key UNIQUE (tenant_id, email)
);
SELECT platform.protect_table('crm.contacts');

-- The role is one of database.service_roles; an installation without the example may leave it out.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'crm_rw') THEN
        GRANT USAGE ON SCHEMA crm TO crm_rw;
        GRANT SELECT, INSERT, UPDATE, DELETE ON crm.contacts TO crm_rw;
    END IF;
END $$;
