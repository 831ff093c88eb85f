//! Checking a tenant's audit log against its checkpoints, from the rows up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{frontier, link};
use crate::actors::secrets::TenantKeys;
use crate::db::audit_seal::{self, CheckpointRow, MAX_DELAY, StoredLeaf};
use crate::db::{Db, DbError, TenantTx};
use crate::domain::audit_seal::mac;
use crate::domain::ids::TenantId;
use crate::domain::merkle::{Frontier, Hash};
use crate::domain::token;

/// Rows read at once.
const BATCH: i64 = 1_000;
/// Findings of a tenant that are told one by one.
const MAX_FINDINGS: usize = 100;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Leaves that were checked.
    pub n_sealed: i64,
    /// Checkpoints that were checked.
    pub n_checkpoints: usize,
    /// Rows that are not sealed yet.
    pub n_unsealed: i64,
    /// What is wrong, a sentence each; none if all is well.
    pub findings: Vec<String>,
    /// Further findings.
    pub n_more: usize,
}

impl Report {
    fn find(&mut self, text: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(text);
        } else {
            self.n_more += 1;
        }
    }
}

/// Recomputes every leaf and tree of a tenant and checks every checkpoint.
///
/// # Errors
/// [`DbError`]: nothing is known then.
pub async fn verify(db: &Db, keys: &TenantKeys, tenant: TenantId) -> Result<Report, DbError> {
    let mut report = Report::default();
    let mut tx = TenantTx::begin_read(db, tenant).await?;
    let checkpoints = all_checkpoints(&mut tx).await?;
    report.n_checkpoints = checkpoints.len();
    let mut before = None;
    for checkpoint in &checkpoints {
        for complaint in complaints(checkpoint, before, keys, tenant) {
            report.find(format!("checkpoint {}: {complaint}", checkpoint.tree_size));
        }
        before = Some(checkpoint);
    }
    let roots = roots(&checkpoints);
    let size = checkpoints.last().map_or(0, |last| last.tree_size);
    let mut tree = Frontier::default();
    let mut expected = 0;
    loop {
        let leaves = audit_seal::list_leaves(&mut tx, expected, BATCH).await?;
        let Some(last) = leaves.last().map(|leaf| leaf.leaf_index) else { break };
        for leaf in &leaves {
            if leaf.leaf_index != expected {
                report.find(format!("leaves {expected} to {} are missing", leaf.leaf_index - 1));
            }
            expected = leaf.leaf_index + 1;
            check_leaf(&mut report, leaf, &checkpoints);
            tree.push(leaf.row.as_ref().map_or_else(|| stored_hash(leaf), |row| row.leaf.hash()));
            if let Some(root) = roots.get(&expected)
                && *root != hex::encode(tree.root())
            {
                report.find(format!("checkpoint {expected}: the rows below it give another root"));
            }
        }
        expected = last + 1;
    }
    report.n_sealed = expected;
    // A round of the sealer may have ended since the checkpoints were read.
    let size = audit_seal::find_latest(&mut tx).await?.map_or(size, |latest| latest.tree_size);
    if expected < size {
        report.find(format!("leaves {expected} to {} are missing", size - 1));
    } else if expected > size {
        report.find(format!("leaves {size} to {} are under no checkpoint", expected - 1));
    }
    let newest = checkpoints.last().map_or(DateTime::<Utc>::UNIX_EPOCH, |last| last.newest_at);
    let (n_unsealed, added) = audit_seal::list_added(&mut tx, newest, BATCH).await?;
    tx.finish();
    report.n_unsealed = n_unsealed;
    for id in added {
        report.find(format!("row {id} was added below what is sealed"));
    }
    Ok(report)
}

async fn all_checkpoints(tx: &mut TenantTx) -> Result<Vec<CheckpointRow>, DbError> {
    let mut all: Vec<CheckpointRow> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.tree_size);
        let mut page = audit_seal::list_checkpoints(tx, after, BATCH).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.append(&mut page);
    }
}

/// What each checkpoint's signature says of its root; what is not signed says nothing.
fn roots(checkpoints: &[CheckpointRow]) -> BTreeMap<i64, String> {
    let root = |checkpoint: &CheckpointRow| token::verify_checkpoint(&checkpoint.jwk, &checkpoint.jws).ok();
    checkpoints.iter().filter_map(|row| root(row).map(|claims| (row.tree_size, claims.root))).collect()
}

fn stored_hash(leaf: &StoredLeaf) -> Hash {
    Hash::try_from(leaf.leaf_hash.as_slice()).unwrap_or_default()
}

fn check_leaf(report: &mut Report, leaf: &StoredLeaf, checkpoints: &[CheckpointRow]) {
    let StoredLeaf { leaf_index, audit_id, row, .. } = leaf;
    let Some(row) = row else {
        report.find(format!("row {audit_id} (leaf {leaf_index}) is missing"));
        return;
    };
    if row.leaf.hash() != stored_hash(leaf) {
        report.find(format!("row {audit_id} (leaf {leaf_index}) was changed"));
    }
    let before = checkpoints.iter().rev().find(|checkpoint| checkpoint.tree_size <= *leaf_index);
    if before.is_some_and(|before| row.at < before.newest_at - MAX_DELAY) {
        report.find(format!("row {audit_id} (leaf {leaf_index}) is dated before what was sealed when it came"));
    }
}

/// What is wrong with a checkpoint itself.
fn complaints(
    checkpoint: &CheckpointRow,
    before: Option<&CheckpointRow>,
    keys: &TenantKeys,
    tenant: TenantId,
) -> Vec<&'static str> {
    let mut found = Vec::new();
    let expected = mac(&keys.audit, &checkpoint.jws, &checkpoint.jwk);
    if aws_lc_rs::constant_time::verify_slices_are_equal(&expected, &checkpoint.mac).is_err() {
        found.push("it was not made by this installation");
    }
    let Ok(claims) = token::verify_checkpoint(&checkpoint.jwk, &checkpoint.jws) else {
        found.push("its signature does not verify");
        return found;
    };
    if claims.tid != tenant {
        found.push("it is of another tenant");
    }
    if claims.size != checkpoint.tree_size
        || claims.newest != checkpoint.newest_at.timestamp_micros()
        || claims.iat != checkpoint.sealed_at.timestamp()
    {
        found.push("its columns are not what was signed");
    }
    if frontier(checkpoint).is_none_or(|tree| hex::encode(tree.root()) != claims.root) {
        found.push("its subtrees do not give its root");
    }
    if claims.prev != before.map(|before| link(&before.jws)) {
        found.push("it does not follow the one before it");
    }
    found
}
