//! Merkle trees as in Certificate Transparency (RFC 6962 §2.1): SHA-256, a leaf is hashed behind a 0x00 and a node behind a
//! 0x01, so that neither passes for the other.

use aws_lc_rs::digest::{Context, SHA256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// SHA-256 of parts one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = Hash::default();
    for (slot, byte) in hash.iter_mut().zip(context.finish().as_ref()) {
        *slot = *byte;
    }
    hash
}

/// Hash of a leaf.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    sha256(&[&[0], bytes])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// A tree that grows at its right end, of which only the roots of its whole subtrees are kept: as many as its size has ones in
/// binary, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A tree that was kept somewhere; `None` if it has not as many subtrees as its size says.
    #[must_use]
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let n = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == n).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the whole subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut size = self.size;
        // Each one at the end of the size is a subtree as large as what is being added.
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree's root; of an empty one SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962 §2.1, word for word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [only] => *only,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node(&naive(&leaves[..k]), &naive(&leaves[k..]))
            }
        }
    }

    fn grown(leaves: &[Hash]) -> Frontier {
        let mut tree = Frontier::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    #[test]
    fn hashes_are_those_of_certificate_transparency() {
        assert_eq!(hex::encode(grown(&[]).root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex::encode(leaf(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn a_tree_with_the_wrong_number_of_subtrees_is_not_restored() {
        assert!(Frontier::restore(3, vec![leaf(b"a")]).is_none());
        assert!(Frontier::restore(0, vec![]).is_some());
    }

    proptest! {
        #[test]
        fn a_growing_tree_has_the_root_of_the_naive_one(leaves in prop::collection::vec(any::<[u8; 32]>(), 0..70), cut in 0_usize..70) {
            prop_assert_eq!(grown(&leaves).root(), naive(&leaves));
            // Kept and taken up again at any point.
            let cut = cut.min(leaves.len());
            let first = grown(&leaves[..cut]);
            let mut tree = Frontier::restore(first.size(), first.peaks().to_vec()).expect("whole");
            leaves[cut..].iter().for_each(|leaf| tree.push(*leaf));
            prop_assert_eq!(tree.root(), naive(&leaves));
        }

        #[test]
        fn two_leaves_that_change_places_change_the_root(leaves in prop::collection::vec(any::<[u8; 32]>(), 2..40), i: prop::sample::Index, j: prop::sample::Index) {
            let mut other = leaves.clone();
            other.swap(i.index(leaves.len()), j.index(leaves.len()));
            prop_assert_eq!(other == leaves, grown(&other).root() == grown(&leaves).root());
        }
    }
}
