//! Merkle trees against the RFC's own vectors, a recomputation from the definition, and every kind of false proof.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use evenkeel_audit::Hash;
use evenkeel_audit::tree::{
    MAX_PATH, Tree, consistency, empty_root, inclusion, leaf_hash, node_hash, root, root_from_inclusion,
    verify_consistency,
};
use proptest::prelude::*;

/// The eight leaves of the vectors that Certificate Transparency's implementations share.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// The roots of the first one, two, … of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// `MTH` as RFC 6962, section 2.1, defines it.
fn defined(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            node_hash(&defined(&leaves[..half]), &defined(&leaves[half..]))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

fn proven(tree: &Tree, index: u64, size: u64) -> Vec<Hash> {
    let Ok(path) = inclusion(index, size, tree.hashes());
    path
}

#[test]
fn roots_are_those_of_the_shared_vectors() {
    let bytes = |text: &str| {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect::<Vec<_>>()
    };
    let mut tree = Tree::default();
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        tree.push(leaf_hash(&bytes(leaf)));
        assert_eq!(evenkeel_audit::hex(&tree.root()), root);
    }
    assert_eq!(
        evenkeel_audit::hex(&Tree::default().root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

/// RFC 6962, section 2.1.3: in the tree of seven leaves d0…d6, what proves what.
#[test]
fn proofs_are_those_of_the_rfc() {
    let d = leaves(7);
    let tree = d.iter().copied().collect::<Tree>();
    let pair = |left: usize| node_hash(&d[left], &d[left + 1]);
    let (g, h, i, j) = (pair(0), pair(2), pair(4), d[6]);
    let (k, l) = (node_hash(&g, &h), node_hash(&i, &j));
    assert_eq!(proven(&tree, 0, 7), [d[1], h, l]);
    assert_eq!(proven(&tree, 3, 7), [d[2], g, l]);
    assert_eq!(proven(&tree, 4, 7), [d[5], j, k]);
    assert_eq!(proven(&tree, 6, 7), [i, k]);
    let from = |old| {
        let Ok(path) = consistency(old, 7, tree.hashes());
        path
    };
    assert_eq!(from(3), [d[2], d[3], g, l]);
    assert_eq!(from(4), [l]);
    assert_eq!(from(6), [i, j, k]);
}

#[test]
fn every_proof_of_small_trees_holds_and_no_other() {
    let all = leaves(70);
    let tree = all.iter().copied().collect::<Tree>();
    for size in 1..=70_u64 {
        let Ok(top) = root(size, tree.hashes());
        assert_eq!(top, defined(&all[..size as usize]));
        for index in 0..size {
            let (leaf, path) = (all[index as usize], proven(&tree, index, size));
            assert_eq!(root_from_inclusion(index, size, leaf, &path), Ok(top));
            for other in (0..size).filter(|other| *other != index) {
                assert_ne!(root_from_inclusion(other, size, leaf, &path), Ok(top), "{index} as {other} of {size}");
            }
        }
        for old in 0..=size {
            let (Ok(before), Ok(path)) = (root(old, tree.hashes()), consistency(old, size, tree.hashes()));
            verify_consistency((old, &before), (size, &top), &path).unwrap();
            for wrong in (0..=size).filter(|wrong| *wrong != old) {
                assert!(
                    verify_consistency((wrong, &before), (size, &top), &path).is_err(),
                    "{old} as {wrong} of {size}"
                );
            }
        }
    }
}

#[test]
fn hostile_paths_are_refused() {
    let tree = leaves(70).into_iter().collect::<Tree>();
    let (top, leaf) = (tree.root(), leaf_hash(&3_u64.to_be_bytes()));
    let long = vec![[7; 32]; MAX_PATH + 1];
    assert!(root_from_inclusion(3, u64::MAX, leaf, &long).is_err());
    assert!(root_from_inclusion(3, 3, leaf, &[]).is_err());
    assert!(root_from_inclusion(0, 0, leaf, &[]).is_err());
    assert!(verify_consistency((3, &top), (u64::MAX, &top), &long).is_err());
    assert!(verify_consistency((8, &top), (70, &top), &[]).is_err());
    assert!(verify_consistency((7, &top), (70, &top), &[]).is_err());
    assert!(verify_consistency((71, &top), (70, &top), &[]).is_err());
    assert!(verify_consistency((70, &top), (70, &leaf), &[]).is_err());
    assert!(verify_consistency((70, &top), (70, &top), &[top]).is_err());
    assert!(verify_consistency((0, &top), (70, &top), &[]).is_err());
    // A node cannot pass for a leaf: leaves are hashed with another prefix.
    let node = node_hash(&leaf_hash(&0_u64.to_be_bytes()), &leaf_hash(&1_u64.to_be_bytes()));
    let above = proven(&tree, 0, 70)[1..].to_vec();
    assert_ne!(root_from_inclusion(0, 35, leaf_hash(&node), &above), Ok(top));
}

proptest! {
    /// Any change of a true proof makes it a false one.
    #[test]
    fn changed_paths_do_not_hold(size in 2_u64..300, at in any::<prop::sample::Index>(), bit in 0_usize..256, which in any::<prop::sample::Index>(), old in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let tree = all.iter().copied().collect::<Tree>();
        let (index, top) = (at.index(size as usize) as u64, tree.root());
        let mut path = proven(&tree, index, size);
        let changed = which.index(path.len());
        path[changed][bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root_from_inclusion(index, size, all[index as usize], &path), Ok(top));
        path.remove(changed);
        prop_assert!(root_from_inclusion(index, size, all[index as usize], &path) != Ok(top));

        let old = 1 + old.index(size as usize - 1) as u64;
        let (Ok(before), Ok(mut path)) = (root(old, tree.hashes()), consistency(old, size, tree.hashes()));
        let changed = which.index(path.len());
        path[changed][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency((old, &before), (size, &top), &path).is_err());
        path.remove(changed);
        prop_assert!(verify_consistency((old, &before), (size, &top), &path).is_err());
    }
}
