//! The sealer: takes settled rows of the audit log into each tenant's Merkle tree, and has the tenant's key sign the tree.
//!
//! Writers of the log wait for nothing: no row names the one before it. What has not been sealed yet, a minute's rows at most,
//! is protected by grants and triggers alone.

mod verify;

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use verify::{Report, verify};

use super::ask::{ActorRef, AskError};
use super::secrets::{KeysError, SecretsActor, TenantKeys, UnlockTenant};
use crate::clock;
use crate::db::audit_seal::{self, CheckpointRow, LeafRow};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx};
use crate::domain::audit_seal::{CheckpointClaims, mac};
use crate::domain::ids::TenantId;
use crate::domain::merkle::{self, Frontier, Hash};
use crate::domain::token::{self, TokenError};

/// Tenants that are looked up at once; a round takes page after page.
const PAGE: i64 = 1_000;
/// Rows of one transaction.
const BATCH: i64 = 1_000;
/// Transactions for one tenant in one round.
const MAX_BATCHES: usize = 20;
/// Longest wait for a tenant's keys.
const UNLOCK_DEADLINE: Duration = Duration::from_secs(5);

/// A tenant's rows were not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The database did not answer.
    #[error("the audit log could not be sealed")]
    Db(#[from] DbError),
    /// The tenant's keys could not be opened.
    #[error("the tenant's keys could not be opened")]
    Keys(#[from] AskError<KeysError>),
    /// The tenant's key cannot sign.
    #[error("the checkpoint could not be signed")]
    Signing(#[from] TokenError),
    /// The latest checkpoint cannot be gone on from.
    #[error("the latest checkpoint is damaged")]
    Damaged,
}

/// Not everything was sealed; the rest is.
#[derive(Debug, thiserror::Error)]
pub enum SealAllError {
    /// The tenants cannot be found.
    #[error("the database did not answer")]
    Db(#[from] DbError),
    /// Some tenants' rows were not sealed, as the log says.
    #[error("the audit logs of {0} tenants were not sealed; see the log")]
    Some(u64),
}

/// Seals whatever is new, of all tenants; returns of how many.
///
/// # Errors
/// [`SealAllError`].
pub async fn seal_all(db: &Db, secrets: &ActorRef<SecretsActor>) -> Result<u64, SealAllError> {
    let system = SystemTx::new(db, SystemReason::SealAudit);
    let mut after = TenantId::from(Uuid::nil());
    let (mut n_sealed, mut n_failed) = (0, 0);
    loop {
        let page = audit_seal::list_unsealed_tenants(&system, after, PAGE).await?;
        for tenant in &page {
            match seal_tenant(db, secrets, *tenant).await {
                Ok(()) => n_sealed += 1,
                Err(error) => {
                    n_failed += 1;
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(tenant.id = %tenant, error, "the audit log was not sealed");
                }
            }
        }
        // Each tenant has its turn in each round, whatever became of those before it.
        match page.last() {
            Some(last) => after = *last,
            None if n_failed > 0 => return Err(SealAllError::Some(n_failed)),
            None => return Ok(n_sealed),
        }
    }
}

async fn seal_tenant(db: &Db, secrets: &ActorRef<SecretsActor>, tenant: TenantId) -> Result<(), SealError> {
    let keys = secrets.ask(UnlockTenant { tenant }, UNLOCK_DEADLINE).await?;
    for _ in 0..MAX_BATCHES {
        match seal_batch(db, &keys, tenant).await? {
            Batch::Full => {}
            Batch::Last { horizon } => {
                let system = SystemTx::new(db, SystemReason::SealAudit);
                audit_seal::clear_marks(&system, tenant, &horizon).await?;
                return Ok(());
            }
            Batch::Locked => return Ok(()),
        }
    }
    Ok(())
}

enum Batch {
    /// There may be more.
    Full,
    /// Everything before the transaction `horizon` is sealed.
    Last { horizon: String },
    /// Another node is at it.
    Locked,
}

async fn seal_batch(db: &Db, keys: &TenantKeys, tenant: TenantId) -> Result<Batch, SealError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    if !audit_seal::try_lock(&mut tx).await? {
        tx.finish();
        return Ok(Batch::Locked);
    }
    let latest = audit_seal::find_latest(&mut tx).await?;
    let horizon = audit_seal::horizon(&mut tx).await?;
    let newest = latest.as_ref().map(|latest| latest.newest_at);
    let rows = audit_seal::list_settled(&mut tx, newest, &horizon, BATCH).await?;
    let is_last = i64::try_from(rows.len()).unwrap_or(BATCH) < BATCH;
    if !rows.is_empty() {
        let size = latest.as_ref().map_or(0, |latest| latest.tree_size);
        let leaves: Vec<_> = rows.iter().map(|row| (row.id, row.leaf.hash())).collect();
        let checkpoint = checkpoint(keys, tenant, latest.as_ref(), &rows, &leaves)?;
        audit_seal::insert(&mut tx, size, &leaves, &checkpoint).await?;
    }
    tx.commit().await?;
    Ok(if is_last { Batch::Last { horizon: horizon.0 } } else { Batch::Full })
}

/// The signed statement about the tree with these leaves added.
fn checkpoint(
    keys: &TenantKeys,
    tenant: TenantId,
    latest: Option<&CheckpointRow>,
    rows: &[LeafRow],
    leaves: &[(Uuid, Hash)],
) -> Result<CheckpointRow, SealError> {
    let mut tree = match latest {
        None => Frontier::default(),
        Some(latest) => frontier(latest).ok_or(SealError::Damaged)?,
    };
    for (_, hash) in leaves {
        tree.push(*hash);
    }
    let before = latest.map(|latest| latest.newest_at);
    let newest_at = rows.iter().map(|row| row.at).chain(before).max().unwrap_or(DateTime::<Utc>::MIN_UTC);
    let sealed_at = clock::now();
    let claims = CheckpointClaims {
        tid: tenant,
        size: i64::try_from(tree.size()).unwrap_or(i64::MAX),
        root: hex::encode(tree.root()),
        prev: latest.map(|latest| link(&latest.jws)),
        newest: newest_at.timestamp_micros(),
        iat: sealed_at.timestamp(),
    };
    let jws = token::sign_checkpoint(&keys.signing, &claims)?;
    let public = keys.verifying.iter().find(|key| key.kid() == keys.signing.kid()).ok_or(TokenError::UnknownKey)?;
    let jwk = public.jwk().clone();
    Ok(CheckpointRow {
        tree_size: claims.size,
        sealed_at,
        newest_at,
        peaks: tree.peaks().iter().map(|peak| peak.to_vec()).collect(),
        mac: mac(&keys.audit, &jws, &jwk).to_vec(),
        jws,
        jwk,
    })
}

/// The tree that a checkpoint kept.
fn frontier(checkpoint: &CheckpointRow) -> Option<Frontier> {
    let peaks: Option<Vec<Hash>> = checkpoint.peaks.iter().map(|peak| Hash::try_from(peak.as_slice()).ok()).collect();
    Frontier::restore(u64::try_from(checkpoint.tree_size).ok()?, peaks?)
}

/// How a checkpoint names the one before.
fn link(jws: &str) -> String {
    hex::encode(merkle::sha256(&[jws.as_bytes()]))
}
