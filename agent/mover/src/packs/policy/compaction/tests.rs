use super::*;
use proptest::prelude::*;

fn pack(id: u64, size: u64, live: u64) -> Pack<u64> {
    Pack { id, size, live, written: 1 }
}

#[test]
fn packs_grow_with_the_volume() {
    assert_eq!([0, 64 << 30, 128 << 30, 1 << 50].map(pack_size), [16 * MIB, 16 * MIB, 32 * MIB, 64 * MIB]);
}

#[test]
fn the_sparsest_are_rewritten_until_two_thirds_live() {
    let packs = [pack(1, 100, 100), pack(2, 100, 10), pack(3, 100, 60), pack(4, 100, 50), pack(5, 100, 20)];
    // 240 of 500 live: without 2, 240 of 410, and without 5, 240 of 330.
    assert_eq!(Compaction::default().choose(&packs, 9, 0), [2, 5]);
    // Of those that are alike, the order of the names decides.
    let alike = [pack(3, 100, 10), pack(1, 100, 10), pack(2, 100, 10), pack(4, 400, 400)];
    assert_eq!(Compaction::default().choose(&alike, 9, 0), [1]);
    assert_eq!(Compaction::default().choose(&[alike[2], alike[0], alike[3], alike[1]], 9, 0), [1]);
    // What the push itself has written is not touched, nor is anything when two thirds are live.
    let written = packs.map(|pack| Pack { written: 9, ..pack });
    assert_eq!(Compaction::default().choose(&written, 9, 0), Vec::<u64>::new());
    assert_eq!(Compaction::default().choose(&[pack(1, 300, 200)], 9, 0), Vec::<u64>::new());
}

#[test]
fn the_smallest_of_too_many_become_one() {
    let packs = |count: u64| -> Vec<_> { (0..count).map(|id| pack(id, 1_000 - id, 1_000 - id)).collect() };
    assert_eq!(Compaction::default().choose(&packs(128), 9, 0), Vec::<u64>::new());
    let merged = Compaction::default().choose(&packs(129), 9, 0);
    assert_eq!(merged, (33..129).rev().collect::<Vec<u64>>());
}

#[test]
fn no_more_is_moved_than_the_budget() {
    let packs: Vec<_> = (0..20).map(|id| pack(id, 16 * MIB, 8 * MIB)).collect();
    assert_eq!(Compaction::default().choose(&packs, 9, 0).len(), 8);
    // A push of more data may move as much.
    assert_eq!(Compaction::default().choose(&packs, 9, 81 * MIB).len(), 10);
}

#[test]
fn the_youngest_content_is_moved_first() {
    let mut moved = [(3, 1), (7, 4), (3, 0), (7, 2), (9, 8)];
    moved.sort_by_key(|(born, place)| moved_order(*born, *place));
    assert_eq!(moved, [(9, 8), (7, 2), (7, 4), (3, 0), (3, 1)]);
}

fn any_packs() -> impl Strategy<Value = Vec<Pack<u64>>> {
    let one = prop_oneof![1..=64 * MIB, 1..=MIB].prop_flat_map(|size| (Just(size), 0..=size, 1..10_u64));
    prop::collection::vec(one, 0..300).prop_map(|all| {
        let pack = |(id, (size, live, written))| Pack { id, size, live, written };
        (0..).zip(all).map(pack).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_chosen_is_old_once_and_within_the_budget(packs in any_packs(), generation in 1..11_u64, data in 0..200 * MIB) {
        let rules = Compaction::default();
        let chosen = rules.choose(&packs, generation, data);
        let of = |id: &u64| packs.iter().find(|pack| pack.id == *id).unwrap();
        prop_assert!(chosen.iter().map(|id| of(id).live).sum::<u64>() <= rules.budget.max(data));
        prop_assert!(chosen.iter().all(|id| of(id).written < generation && of(id).live > 0));
        let mut once = chosen.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), chosen.len());
        // The order of the table does not matter.
        let other: Vec<_> = packs.into_iter().rev().collect();
        prop_assert_eq!(rules.choose(&other, generation, data), chosen);
    }

    /// When nothing changes, compaction ends, and leaves packs that are dense and few.
    #[test]
    fn it_ends(packs in any_packs()) {
        let rules = Compaction::default();
        let (mut packs, mut next) = (packs.into_iter().filter(|pack| pack.live > 0).collect::<Vec<_>>(), 1_000);
        let mut all = Bytes::default();
        for generation in 10..2_000 {
            all = Bytes::of(&packs);
            let chosen = rules.choose(&packs, generation, 0);
            if chosen.is_empty() {
                let small = packs.iter().filter(|pack| pack.live < pack_size(all.live) / 2).count();
                prop_assert!(rules.is_dense(all) && small <= rules.small_packs, "{all:?} {small}");
                return Ok(());
            }
            let mut moved: u64 = packs.iter().filter(|pack| chosen.contains(&pack.id)).map(|pack| pack.live).sum();
            packs.retain(|pack| !chosen.contains(&pack.id));
            while moved > 0 {
                let live = moved.min(pack_size(all.live));
                packs.push(Pack { id: next, size: live, live, written: generation });
                (next, moved) = (next + 1, moved - live);
            }
        }
        prop_assert!(false, "it goes on for ever: {all:?}");
    }
}
