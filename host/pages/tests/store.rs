//! What is stored is what the memory held, and the same memory gets the same numbers.

use proptest::prelude::*;
use wrr_pages::{Dirty, PAGE_BYTES, Page, PageError, PageId, PageMap, PageStore, Run};

/// Page contents from a small number, 0 for zeros, so that equal pages are frequent.
fn memory(pages: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; pages.len() * PAGE_BYTES];
    for (page, &value) in bytes.chunks_mut(PAGE_BYTES).zip(pages) {
        page[PAGE_BYTES - 1] = value;
        page[value as usize] = value;
    }
    bytes
}

/// The memory that a map describes, out of a file that pages were appended to.
fn read_back(map: &PageMap, file: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; map.bytes()];
    for run in map.runs() {
        let from = (run.id.0 as usize - 1) * PAGE_BYTES;
        let to = run.page as usize * PAGE_BYTES;
        let len = run.count as usize * PAGE_BYTES;
        bytes[to..to + len].copy_from_slice(&file[from..from + len]);
    }
    bytes
}

fn page(value: u8) -> Box<Page> {
    Box::new(memory(&[value]).try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_version_of_a_memory_reads_back(
        first in prop::collection::vec(0u8..5, 0..300),
        steps in prop::collection::vec(
            (prop::collection::vec((0u32..4000, 0u8..20), 0..200), 0usize..100), 0..6),
    ) {
        let mut contents = first;
        let (mut store, mut file) = (PageStore::new(), Vec::new());
        let mut map = PageMap::from_memory(&memory(&contents), &mut store).unwrap();
        let mut versions = vec![(contents.clone(), map.clone())];
        for (writes, grow) in steps {
            contents.resize(contents.len() + grow, 0);
            let mut dirty = Dirty::new();
            for (page, value) in writes {
                if let Some(content) = contents.get_mut(page as usize) {
                    *content = value;
                    dirty.insert(page..page + 1);
                }
            }
            map.update(&dirty, &memory(&contents), &mut store).unwrap();
            file.extend(store.take_new());
            versions.push((contents.clone(), map.clone()));
        }
        file.extend(store.take_new());
        prop_assert_eq!(file.len(), store.last_id().0 as usize * PAGE_BYTES);

        for (contents, map) in &versions {
            let bytes = memory(contents);
            prop_assert!(read_back(map, &file) == bytes);
            let runs: Vec<Run> = map.runs().collect();
            let maximal = |pair: &[Run]| {
                let (page, id) = (pair[0].page + pair[0].count, pair[0].id.0 + pair[0].count);
                pair[1].page > page || (pair[1].page == page && pair[1].id.0 != id)
            };
            prop_assert!(runs.windows(2).all(maximal));
            prop_assert_eq!(&PageMap::from_runs(bytes.len(), runs, store.last_id()).unwrap(), map);

            // What differs between two versions is what a comparison of their bytes finds.
            let (last_contents, last) = versions.last().unwrap();
            let content = |contents: &[u8], page: usize| contents.get(page).copied().unwrap_or(0);
            let differ = (0..last_contents.len() as u32)
                .filter(|&page| content(contents, page as usize) != content(last_contents, page as usize));
            prop_assert!(map.differences(last).iter().eq(differ));
        }

        // A continued trace gives the same numbers to the same pages.
        let mut continued = PageStore::new();
        for page in file.as_chunks::<PAGE_BYTES>().0 {
            continued.seed(page).unwrap();
        }
        prop_assert_eq!(continued.last_id(), store.last_id());
        let again = PageMap::from_memory(&memory(&contents), &mut continued).unwrap();
        prop_assert_eq!(&again, &map);
        prop_assert!(continued.take_new().is_empty());
    }

    #[test]
    fn runs_from_outside_never_panic(
        pages in 0usize..40,
        stored in 0u32..40,
        runs in prop::collection::vec(
            (prop_oneof![0u32..50, any::<u32>()], prop_oneof![0u32..50, any::<u32>()],
             prop_oneof![0u32..9, any::<u32>()]), 0..6),
    ) {
        let runs: Vec<_> =
            runs.into_iter().map(|(page, id, count)| Run { page, id: PageId(id), count }).collect();
        if let Ok(map) = PageMap::from_runs(pages * PAGE_BYTES, runs.iter().copied(), PageId(stored)) {
            let count: u32 = runs.iter().map(|run| run.count).sum();
            prop_assert_eq!(map.stored_pages().count(), count as usize);
            prop_assert!(map.stored_pages().all(|(page, id)| (page as usize) < pages && id.0 <= stored));
        }
    }
}

#[test]
fn numbers_do_not_depend_on_how_many_cores_hash() {
    let contents: Vec<u8> = (0..5000u32).map(|page| (page * 7 % 251) as u8).collect();
    let bytes = memory(&contents);
    let pages: Vec<&Page> = bytes.as_chunks::<PAGE_BYTES>().0.iter().collect();
    let mut one_by_one = PageStore::new();
    let expected: Vec<PageId> = pages.iter().map(|page| one_by_one.insert(page).unwrap()).collect();
    let mut all = PageStore::new();
    assert_eq!(all.insert_all(&pages).unwrap(), expected);
    assert_eq!(all.take_new(), one_by_one.take_new());
    assert_eq!(all.last_id(), PageId(250));
}

#[test]
fn pages_of_zeros_cost_nothing() {
    let mut store = PageStore::new();
    let map = PageMap::from_memory(&vec![0; 16 << 20], &mut store).unwrap();
    assert_eq!(store.insert(&page(0)).unwrap(), PageId::ZERO);
    assert_eq!((store.last_id(), store.new_bytes(), map.runs().count()), (PageId::ZERO, 0, 0));
}

#[test]
fn a_seeded_store_keeps_its_numbers_even_if_a_page_is_stored_twice() {
    let mut store = PageStore::new();
    for (value, id) in [(1, 1), (2, 2), (1, 3), (0, 4), (3, 5)] {
        assert_eq!(store.seed(&page(value)).unwrap(), PageId(id));
    }
    assert_eq!(store.insert(&page(1)).unwrap(), PageId(1));
    assert_eq!(store.insert(&page(3)).unwrap(), PageId(5));
    assert_eq!(store.insert(&page(0)).unwrap(), PageId::ZERO);
    assert_eq!(store.insert(&page(4)).unwrap(), PageId(6));
    assert_eq!(store.take_new(), page(4).as_slice());
}

#[test]
fn a_memory_that_shrinks_and_grows_again_is_zero_behind_the_cut() {
    let mut store = PageStore::new();
    let mut map = PageMap::from_memory(&memory(&[1; 3000]), &mut store).unwrap();
    map.resize(1500 * PAGE_BYTES).unwrap();
    map.resize(3000 * PAGE_BYTES).unwrap();
    assert_eq!(map.runs().map(|run| run.count).sum::<u32>(), 1500);
    assert_eq!(map.get(1499), PageId(1));
    assert_eq!(map.get(1500), PageId::ZERO);
    assert_eq!(map.get(u32::MAX), PageId::ZERO);
}

#[test]
fn impossible_maps_are_errors_that_say_where() {
    let run = |page, id, count| Run { page, id: PageId(id), count };
    let from = |runs: &[Run]| {
        PageMap::from_runs(10 * PAGE_BYTES, runs.iter().copied(), PageId(5)).unwrap_err()
    };
    assert_eq!(from(&[run(1, 1, 0)]), PageError::EmptyRun { page: 1, id: 1, count: 0 });
    assert_eq!(from(&[run(1, 0, 1)]), PageError::EmptyRun { page: 1, id: 0, count: 1 });
    assert_eq!(from(&[run(0, 1, 3), run(2, 1, 1)]), PageError::RunOverlaps { page: 2, end: 3 });
    assert_eq!(from(&[run(9, 1, 2)]), PageError::RunOutside { page: 9, count: 2, pages: 10 });
    assert_eq!(
        from(&[run(4, 2, u32::MAX)]),
        PageError::RunOutside { page: 4, count: u32::MAX, pages: 10 }
    );
    assert_eq!(from(&[run(0, 5, 2)]), PageError::NotStored { page: 0, id: 5, count: 2, stored: 5 });

    let mut store = PageStore::new();
    let mut map = PageMap::from_memory(&memory(&[1, 2]), &mut store).unwrap();
    let before = map.clone();
    let odd = map.update(&Dirty::new(), &[0; 100], &mut store);
    assert_eq!(odd, Err(PageError::BadMemorySize { bytes: 100 }));
    let outside = map.update(&Dirty::from(1..4), &memory(&[3, 4]), &mut store);
    assert_eq!(outside, Err(PageError::DirtyOutside { page: 3, pages: 2 }));
    assert_eq!(map, before);
    assert!(map.resize(usize::MAX / PAGE_BYTES * PAGE_BYTES).is_err());
}

#[test]
fn pages_that_are_known_to_be_stored_keep_their_numbers() {
    let mut store = PageStore::after(PageId(10));
    let pages = [page(1), page(2), page(0), page(3)];
    // Zeros need no number, and one after the last is not believed.
    let numbers = [PageId(4), PageId(9), PageId(7), PageId(11)];
    let known: Vec<(PageId, &Page)> =
        numbers.into_iter().zip(&pages).map(|(id, page)| (id, &**page)).collect();
    store.know(&known);
    let found: Vec<u32> = pages.iter().map(|page| store.insert(page).unwrap().0).collect();
    assert_eq!(found, [4, 9, 0, 11]);
    assert_eq!(store.take_new(), pages[3].to_vec());
    assert_eq!(store.insert(&page(4)).unwrap(), PageId(12));
}
