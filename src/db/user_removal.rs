//! Emptying users. A deleted user's row stays as a shell, because ended sessions and API keys refer to it.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::UserId;

/// Empties a user: nothing personal is left, nobody can sign in, and the address is free. What was theirs to sign in with goes with
/// them: factors, recovery codes, passkeys, sign-ins and ceremonies that wait, links, known networks, and what SCIM said of them;
/// invitations that were sent to them are withdrawn and forget the address. API keys that they made stay: those are the tenant's, and
/// its programs go on. Who they were at an identity provider stays too, so that the provider makes nobody anew of a person who was
/// deleted; it is nobody's, and whoever brings the person back as another user takes it (`sso_identities::link`).
///
/// The user must be locked (`user_admin::lock`). Their row is emptied first and the rest after, as everywhere: the user before what
/// is theirs.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, id: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let email_norm = sqlx::query_scalar!(
        r#"WITH before AS (SELECT email_norm FROM auth.users WHERE tenant_id = $1 AND id = $2)
           UPDATE auth.users SET state = 'deleted', email = '', email_norm = 'deleted:' || id::text, name = NULL,
                  password_hash = NULL, email_verified_at = NULL, updated_at = clock_timestamp()
           WHERE tenant_id = $1 AND id = $2
           RETURNING (SELECT email_norm FROM before) AS "email_norm!""#,
        tenant,
        id.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?;
    sqlx::query!("DELETE FROM auth.account_links WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!(
        "UPDATE auth.invitations SET email = '', email_norm = 'deleted:' || id::text, name = NULL,
                revoked_at = CASE WHEN accepted_at IS NULL THEN coalesce(revoked_at, clock_timestamp()) ELSE revoked_at END
         WHERE tenant_id = $1 AND kind = 'user' AND (user_id = $2 OR email_norm = $3)",
        tenant,
        id.uuid(),
        email_norm
    )
    .execute(tx.connection()?)
    .await?;
    delete_factors(tx, id).await?;
    sqlx::query!("DELETE FROM auth.scim_users WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.known_networks WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Deletes everything that a user shows at sign-in besides the password, and what waits for it.
///
/// # Errors
/// [`DbError`].
pub async fn delete_factors(tx: &mut TenantTx, id: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.mfa_challenges WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.passkey_ceremonies WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.passkeys WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.recovery_codes WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    sqlx::query!("DELETE FROM auth.code_attempts WHERE tenant_id = $1 AND user_id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}
