//! What second factors a user has, in one look.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::factor::Factors;
use crate::domain::identity::Role;
use crate::domain::ids::UserId;

/// The user's confirmed factors.
///
/// # Errors
/// [`DbError`].
pub async fn get(tx: &mut TenantTx, user: UserId) -> Result<Factors, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM auth.totp_factors
                          WHERE tenant_id = $1 AND user_id = $2 AND state = 'active') AS "totp!",
                  (SELECT count(*) FROM auth.recovery_codes
                   WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL) AS "n_recovery_codes!",
                  (SELECT count(*) FROM auth.passkeys WHERE tenant_id = $1 AND user_id = $2) AS "n_passkeys!""#,
        tenant,
        user.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok(Factors { totp: row.totp, n_passkeys: row.n_passkeys, n_recovery_codes: row.n_recovery_codes })
}

/// The active users of a role who have a password and a second factor.
///
/// # Errors
/// [`DbError`].
pub async fn list_able_with_factor(tx: &mut TenantTx, role: Role) -> Result<Vec<UserId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT u.id FROM auth.users u
           WHERE u.tenant_id = $1 AND u.role = $2 AND u.state = 'active' AND u.password_hash IS NOT NULL
                 AND (EXISTS (SELECT FROM auth.totp_factors f
                              WHERE f.tenant_id = $1 AND f.user_id = u.id AND f.state = 'active')
                      OR EXISTS (SELECT FROM auth.passkeys p WHERE p.tenant_id = $1 AND p.user_id = u.id))
           ORDER BY u.id",
        tenant,
        role.as_str()
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(UserId::from).collect())
}
