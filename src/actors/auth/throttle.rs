//! One attempt at a password, as throttling sees it: admitted before anything is hashed, then counted or forgiven.

use super::messages::AuthError;
use crate::db::sign_in_attempts::{self, Attempts};
use crate::db::{Db, DbError, TenantTx};
use crate::domain::audit::AuditSource;
use crate::domain::identity::EmailAddress;
use crate::domain::ids::{TenantId, UserId};
use crate::domain::throttle::{self, ALL_NETWORKS, Verdict};

/// Whose password is tried from where, whether there is such a user or not.
#[derive(Debug)]
pub(in crate::actors) struct Attempt {
    tenant: TenantId,
    account: Vec<u8>,
    network: String,
    standing: Attempts,
    is_known: bool,
    /// Counted in advance in its own network.
    is_claimed: bool,
}

impl Attempt {
    /// An attempt at the account of an address, as somebody typed it. `tx` may be one that only reads.
    ///
    /// # Errors
    /// [`DbError`].
    pub(in crate::actors) async fn look(
        tx: &mut TenantTx,
        email: &str,
        user: Option<UserId>,
        source: &AuditSource,
    ) -> Result<Self, DbError> {
        let norm = EmailAddress::parse(email).map_or_else(|_| email.to_lowercase(), |email| email.norm().to_owned());
        let tenant = tx.tenant();
        let (account, network) = (throttle::account(tenant, &norm), throttle::network(source.ip));
        let standing = sign_in_attempts::find(tx, &account, &network).await?;
        let verdict = throttle::decide(standing.here, standing.everywhere);
        let is_known = match (verdict, user) {
            (Verdict::KnownOnly { .. }, Some(user)) => sign_in_attempts::is_known(tx, user, &network).await?,
            _ => false,
        };
        Ok(Self { tenant, account, network, standing, is_known, is_claimed: false })
    }

    /// Lets the attempt go on, or says how long to wait. After a delay one attempt goes on, however many come at once.
    ///
    /// # Errors
    /// [`AuthError::TooManyAttempts`] or the database's.
    pub(in crate::actors) async fn admit(&mut self, db: &Db) -> Result<(), AuthError> {
        let n = match throttle::decide(self.standing.here, self.standing.everywhere) {
            Verdict::Free => return Ok(()),
            Verdict::One { n } => n,
            Verdict::KnownOnly { n, .. } if self.is_known => match n {
                None => return Ok(()),
                Some(n) => n,
            },
            Verdict::Wait { seconds } | Verdict::KnownOnly { seconds, .. } => {
                return Err(AuthError::TooManyAttempts { seconds });
            }
        };
        let mut tx = TenantTx::begin(db, self.tenant).await?;
        let is_mine = sign_in_attempts::claim(&mut tx, &self.account, &self.network, n).await?;
        tx.commit().await?;
        if !is_mine {
            return Err(AuthError::TooManyAttempts { seconds: throttle::delay_s(n + 1) });
        }
        self.is_claimed = true;
        Ok(())
    }

    /// Counts a wrong password; returns the seconds until the next attempt.
    ///
    /// # Errors
    /// [`DbError`].
    pub(in crate::actors) async fn record_failure(&self, tx: &mut TenantTx) -> Result<i64, DbError> {
        let n = if self.is_claimed {
            self.standing.here.n + 1
        } else {
            sign_in_attempts::record_failure(tx, &self.account, &self.network).await?
        };
        // After the network's own row, so that two never wait for each other.
        sign_in_attempts::record_failure(tx, &self.account, ALL_NETWORKS).await?;
        Ok(throttle::delay_s(n))
    }

    /// Forgives the account's failures: the password was right.
    ///
    /// # Errors
    /// [`DbError`].
    pub(in crate::actors) async fn forgive(&self, tx: &mut TenantTx) -> Result<(), DbError> {
        if self.standing == Attempts::default() {
            return Ok(());
        }
        sign_in_attempts::forget(tx, &self.account, &self.network).await
    }
}

/// Remembers that the user has signed in from this network, with everything that was asked of them.
///
/// # Errors
/// [`DbError`].
pub(super) async fn remember(tx: &mut TenantTx, user: UserId, source: &AuditSource) -> Result<(), DbError> {
    sign_in_attempts::remember(tx, user, &throttle::network(source.ip)).await
}
